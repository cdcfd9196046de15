/** One sequence: steps become actions, each is done by the host and by the model, and the answers must be the same. */
import assert from 'node:assert/strict';
import type { Answer } from '../../src/host/command.ts';
import type { HostView, ProcessView } from '../../src/host/views.ts';
import type { CallResult } from '../../src/kernel/uapi/calls.ts';
import { type Action, hex } from './actions.ts';
import { compareState, Frames } from './compare.ts';
import type { Demand, Host, Sequence } from './driver.ts';
import type { Hwpt } from './model/objects.ts';
import type { DmaResult, Model, Result } from './model.ts';
import { Picks } from './picks.ts';
import { MOVED, noteStates, PARTLY, type Statistics } from './statistics.ts';
import { STEPS } from './steps.ts';

export interface Step {
  step: string;
  numbers: readonly number[];
}

/** Processes that exist from the start. */
const PROCESSES = 2;

class Difference extends Error {}

export function* runSequence(host: Host, model: Model, steps: readonly Step[], statistics: Statistics): Sequence {
  const log: string[] = [];
  const met = new Set<string>();
  const frames = new Frames();
  try {
    const start = yield* memoryOf(host);
    for (let i = 0; i < PROCESSES; i++) yield* perform(host, model, frames, { kind: 'start' });
    for (const { step, numbers } of steps) {
      const action = STEPS[step]!(model, new Picks(numbers));
      log.push(describe(action));
      const before = areasOf(model);
      const result = yield* perform(host, model, frames, action);
      if (result !== null) {
        statistics.outcome(nameOf(action), result);
        if (isUnmap(action) && result !== 'ok' && areasOf(model) < before) met.add(PARTLY);
        if (result === 'moved') met.add(MOVED);
      }
      noteStates(model, met);
    }
    log.push('compare');
    yield* compareState(host, model, frames);
    yield* endAll(host, model, frames, steps, log);
    assert.deepEqual(yield* memoryOf(host), start, 'memory is as at the start when everything is closed');
  } catch (error) {
    const difference = error instanceof Error ? error : new Error(String(error));
    throw new Difference(`${difference.message}\n--- calls\n${log.join('\n')}`, { cause: difference });
  }
  statistics.sequence(met);
}

function* memoryOf(host: Host) {
  const { memory } = yield* host.query<HostView>({ view: 'host' });
  return { free: memory.free, owners: memory.owners };
}

/** Closes everything: descriptors one by one, or process by process. */
function* endAll(host: Host, model: Model, frames: Frames, steps: readonly Step[], log: string[]): Sequence {
  const picks = new Picks([steps.length, ...(steps.at(-1)?.numbers ?? [])]);
  while (model.processes.size > 0) {
    const pid = picks.one([...model.processes.keys()]);
    const open = [...model.processes.get(pid)!.descriptors.keys()];
    const exits = open.length === 0 || picks.rarely(3);
    const action: Action = exits
      ? { kind: 'exit', pid }
      : { kind: 'call', pid, call: { call: 'close', fd: picks.one(open) } };
    log.push(describe(action));
    yield* perform(host, model, frames, action);
  }
}

/** What came of it, or null where nothing can. */
function* perform(host: Host, model: Model, frames: Frames, action: Action): Generator<Demand, string | null, Answer> {
  switch (action.kind) {
    case 'call': {
      const { pid, call } = action;
      const moves = attachedNow(model, action);
      const wanted = model.call(pid, call);
      const answer = yield* host.execute({ op: 'calls', pid, calls: [call] });
      const { results } = contents<{ results: CallResult[] }>(answer);
      assert.deepEqual(withoutWords(results[0]!), wanted, `${JSON.stringify(call)} of process ${pid}`);
      if (wanted.errno) return wanted.errno;
      return moves && attachedNow(model, action) !== moves ? 'moved' : 'ok';
    }
    case 'dma': {
      const { fn, op, iova, data } = action;
      const wanted = model.dma(fn, op, iova, data.slice());
      const access = { op, iova: hex(iova), length: data.length, ...(op === 'write' && { data: data.toBase64() }) };
      const answer = yield* host.execute({ op: 'device.dma', bdf: fn.bdf, accesses: [access] });
      const { results } = contents<{ results: DmaResult[] }>(answer);
      assert.deepEqual(results[0], wanted, `DMA ${op} of ${fn.bdf} at ${hex(iova)}, ${data.length} bytes`);
      return wanted.ok ? 'ok' : wanted.fault.reason;
    }
    case 'reserve': {
      const { pid, fd, ioas, start, length } = action;
      const wanted = model.reserve(pid, fd, ioas, start, length);
      const answer = yield* host.execute({ op: 'ioas.reserve', pid, fd, ioas, start: hex(start), length: hex(length) });
      assert.equal(answer.kind === 'refused' ? answer.errno : null, wanted, 'a reserved range');
      return wanted ?? 'ok';
    }
    case 'exit':
      model.endProcess(action.pid);
      contents(yield* host.execute({ op: 'process.kill', pid: action.pid }));
      return null;
    case 'start': {
      const answer = yield* host.execute({ op: 'process.create' });
      assert.equal(contents<ProcessView>(answer).pid, model.startProcess());
      return null;
    }
    case 'compare':
      yield* compareState(host, model, frames);
      return null;
  }
}

function contents<T>(answer: Answer): T {
  if (answer.kind !== 'ok') throw new Error(`the command failed: ${JSON.stringify(answer)}`);
  return answer.value as T;
}

/** Sentences are not compared. */
function withoutWords({ where: _where, why: _why, rule: _rule, ...result }: CallResult): Result {
  return result as Result;
}

const areasOf = (model: Model): number => [...model.ioases()].reduce((sum, { space }) => sum + space.areas.length, 0);

const isUnmap = (action: Action): boolean =>
  action.kind === 'call' && ['IOMMU_IOAS_UNMAP', 'VFIO_IOMMU_UNMAP_DMA'].includes(String(action.call.request));

/** What the device of an attach is on. */
function attachedNow(model: Model, action: Action): Hwpt | null {
  if (action.kind !== 'call' || action.call.request !== 'VFIO_DEVICE_ATTACH_IOMMUFD_PT') return null;
  const file = model.processes.get(action.pid)?.descriptors.get(Number(action.call.fd));
  return file?.kind === 'cdev' ? model.attachment(file.fn) : null;
}

function nameOf(action: Action): string {
  if (action.kind !== 'call') return action.kind;
  const { call, request } = action.call;
  return call === 'ioctl' ? String(request) : call;
}

function describe(action: Action): string {
  switch (action.kind) {
    case 'call':
      return `${action.pid}: ${JSON.stringify(action.call)}`;
    case 'dma':
      return `dma ${action.op} of ${action.fn.bdf} at ${hex(action.iova)}, ${action.data.length} bytes`;
    case 'reserve':
      return `reserve ${hex(action.start)}+${hex(action.length)} in ${action.ioas} of ${action.pid}:${action.fd}`;
    case 'exit':
      return `exit of process ${action.pid}`;
    default:
      return action.kind;
  }
}
