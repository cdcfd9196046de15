/** Runs many sequences: in this process, or over HTTP. */
import * as fc from 'fast-check';
import { startService } from '../conformance/service.ts';
import { type Host, runInProcess, type Sequence } from './driver.ts';
import { runOverHttp } from './driver-http.ts';
import { hostBody, MACHINES, modelMachine } from './machines.ts';
import { Model } from './model.ts';
import { runSequence } from './sequence.ts';
import { Statistics } from './statistics.ts';
import { type Plan, plans } from './steps.ts';

export interface Run {
  sequences: number;
  seed?: number;
}

export interface Outcome {
  statistics: Statistics;
  /** The shortest sequence with a difference that was found, and the difference; or null. */
  failure: string | null;
}

type ModelClass = new (...machine: ConstructorParameters<typeof Model>) => Model;

/** `ModelToRun`: a wrong model, to see it found out; the shortest sequence is not searched for then. */
export function run(wanted: Run, ModelToRun?: ModelClass): Outcome {
  const statistics = new Statistics();
  const property = fc.property(fc.noBias(plans), (plan: Plan) => {
    const { body, sequence } = prepare(plan, statistics, ModelToRun ?? Model);
    runInProcess(body, sequence);
  });
  return outcome(statistics, fc.check(property, { ...parameters(wanted), endOnFailure: ModelToRun !== undefined }));
}

export async function runAllOverHttp(wanted: Run): Promise<Outcome> {
  const statistics = new Statistics();
  const service = await startService();
  const property = fc.asyncProperty(fc.noBias(plans), async (plan: Plan) => {
    const { body, sequence } = prepare(plan, statistics, Model);
    await runOverHttp(service.api, body, sequence);
  });
  const details = await fc.check(property, parameters(wanted));
  await service.stop();
  return outcome(statistics, details);
}

function parameters({ sequences, seed }: Run): fc.Parameters<[Plan]> {
  return { numRuns: sequences, ...(seed !== undefined && { seed }) };
}

function prepare({ machine, steps }: Plan, statistics: Statistics, ModelToRun: ModelClass) {
  const plan = MACHINES[machine]!;
  const model = new ModelToRun(modelMachine(plan));
  const sequence = (host: Host): Sequence => runSequence(host, model, steps, statistics);
  return { body: hostBody(plan), sequence };
}

function outcome(statistics: Statistics, details: fc.RunDetails<[Plan]>): Outcome {
  if (!details.failed) return { statistics, failure: null };
  const error = details.errorInstance;
  const message = error instanceof Error ? error.message : String(error);
  return { statistics, failure: `${fc.defaultReportMessage(details)}\n${message}` };
}
