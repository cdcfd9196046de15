/** Runs many sequences in this process. */
import * as fc from 'fast-check';
import { runInProcess } from './driver.ts';
import { hostBody, MACHINES, modelMachine } from './machines.ts';
import { Model } from './model.ts';
import { runSequence } from './sequence.ts';
import { Statistics } from './statistics.ts';
import { type Plan, plans } from './steps.ts';

export interface Run {
  sequences: number;
  seed?: number;
  /** Makes the model, for a test that makes a wrong one. */
  makeModel?: (machine: ReturnType<typeof modelMachine>) => Model;
}

/** The difference that was found, or null. */
export function run({ sequences, seed, makeModel = (machine) => new Model(machine) }: Run): {
  statistics: Statistics;
  failure: string | null;
} {
  const statistics = new Statistics();
  const property = fc.property(fc.noBias(plans), ({ machine, steps }: Plan) => {
    const plan = MACHINES[machine]!;
    const model = makeModel(modelMachine(plan));
    runInProcess(hostBody(plan), (host) => runSequence(host, model, steps, statistics));
  });
  const details = fc.check(property, { numRuns: sequences, ...(seed !== undefined && { seed }) });
  if (!details.failed) return { statistics, failure: null };
  const error = details.errorInstance;
  return {
    statistics,
    failure: `${fc.defaultReportMessage(details)}\n${error instanceof Error ? error.message : error}`,
  };
}
