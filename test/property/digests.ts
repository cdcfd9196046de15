/** However a host came about, its digest is the same: run and looked at, replayed, taken apart and put together. */
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import type { Answer, Command } from '../../src/host/command.ts';
import { Host as Engine } from '../../src/host/host.ts';
import { buildHostSpec, type HostRequest } from '../../src/host/host-spec.ts';
import { digestOf } from '../../src/lanes/state-digest.ts';
import { hostOf, snapshotOf } from '../support/snapshots.ts';
import { Host } from './driver.ts';
import { hostBody, MACHINES, modelMachine } from './machines.ts';
import { Model } from './model.ts';
import { runSequence } from './sequence.ts';
import { Statistics } from './statistics.ts';
import { type Plan, plans } from './steps.ts';

/** Commands from one look to the next. */
const STRIDE = 12;

interface Trace {
  /** As JSON, as journals keep them. */
  commands: string[];
  /** Behind every so many commands. */
  digests: string[];
}

/** Queries are in between, which must not be seen. */
function run(engine: Engine, { machine, steps }: Plan, statistics: Statistics): Trace {
  const trace: Trace = { commands: [], digests: [] };
  const model = new Model(modelMachine(MACHINES[machine]!));
  const running = runSequence(new Host(() => null), model, steps, statistics);
  for (let step = running.next(); !step.done; ) {
    const demand = step.value;
    let answer: Answer;
    if ('query' in demand) answer = engine.query(demand.query);
    else {
      ({ answer } = engine.execute(demand.command));
      if (trace.commands.push(JSON.stringify(demand.command)) % STRIDE === 0) trace.digests.push(digestOf(engine));
    }
    step = running.next(answer);
  }
  trace.digests.push(digestOf(engine));
  return trace;
}

function makeEngine(plan: Plan, throughJson = false): Engine {
  const built = buildHostSpec(hostBody(MACHINES[plan.machine]!) as HostRequest);
  assert.ok('spec' in built);
  return new Engine(throughJson ? JSON.parse(JSON.stringify(built.spec)) : built.spec);
}

/** The same commands; `reborn` where it is looked at. */
function replay(host: Engine, { commands }: Trace, reborn: boolean): string[] {
  const digests: string[] = [];
  let engine = host;
  for (const [at, command] of commands.entries()) {
    engine.execute(JSON.parse(command) as Command);
    if ((at + 1) % STRIDE !== 0) continue;
    digests.push(digestOf(engine));
    if (reborn) engine = hostOf(snapshotOf(engine));
  }
  return [...digests, digestOf(engine)];
}

/** Throws with the shortest sequence that was found whose hosts differ. */
export function compareDigests(sequences: number, seed?: number): Statistics {
  const statistics = new Statistics();
  const property = fc.property(fc.noBias(plans), (plan: Plan) => {
    const trace = run(makeEngine(plan), plan, statistics);
    assert.deepEqual(replay(makeEngine(plan, true), trace, false), trace.digests, 'replayed');
    assert.deepEqual(replay(makeEngine(plan, true), trace, true), trace.digests, 'snapshotted');
    if (trace.commands.length > STRIDE) assert.notEqual(trace.digests[0], trace.digests.at(-1));
  });
  fc.assert(property, { numRuns: sequences, ...(seed !== undefined && { seed }) });
  return statistics;
}
