/** How lanes make hosts, and hosts of snapshots. */
import { Accesses } from '../host/accesses.ts';
import { ok } from '../host/answers.ts';
import { Batch } from '../host/batch/batch.ts';
import { Calls } from '../host/calls.ts';
import type {
  Answer,
  BatchCommand,
  Command,
  EmittedEvent,
  Execution,
  HostSpec,
  PreflightQuery,
  Query,
  RestoreCommand,
  SweepQuery,
} from '../host/command.ts';
import { footprint, type HostUse } from '../host/footprint.ts';
import { Host } from '../host/host.ts';
import { mustHold } from '../host/invariants/walk.ts';
import type { SweepOutcome } from '../host/past-views.ts';
import { preflight } from '../host/preflight.ts';
import { StateGraph } from '../host/state/graph.ts';
import { CODEC } from '../host/state/state.ts';
import { type Upgrade, wayOf } from '../host/state/upgrades/upgrade.ts';
import { UPGRADES } from '../host/state/upgrades/upgrades.ts';
import { sweepPlan, sweepRun } from '../host/sweep.ts';
import { ENGINE } from './engine-version.ts';
import type { Engine, EngineSnapshot, MakeHost } from './replay.ts';
import { decodePieces, encodePieces } from './snapshot-bytes.ts';
import { decodeEngine6 } from './snapshot-bytes-6.ts';
import type { Restored, RestoreHost } from './snapshots.ts';
import { digesting } from './state-digest.ts';
import type { BatchRun, LongRun } from './work-off.ts';

export const makeHost: MakeHost = (spec) => new HostEngine(new Host(shared(spec)));

/** With the upgrade steps of this version, or others. */
export function restoring(upgrades: readonly Upgrade[]): RestoreHost {
  return function* restore(bytes, engine): Generator<void, Restored> {
    const { pieces, legacyEvents } = yield* upgraded(bytes, engine, upgrades);
    const host = (yield* CODEC.decode(pieces)) as Host;
    return { engine: new HostEngine(host), upgraded: engine !== ENGINE, legacyEvents };
  };
}

export const restoreHost: RestoreHost = restoring(UPGRADES);

/** What is stored, as this version would have stored it; whether that is true the codec finds out. */
function* upgraded(bytes: Uint8Array, engine: string, upgrades: readonly Upgrade[]) {
  const legacyEvents: EmittedEvent[] = [];
  if (engine === ENGINE) return { pieces: yield* decodePieces(bytes), legacyEvents };
  const way = wayOf(upgrades, engine, ENGINE);
  if (way === null)
    throw new Error(`it is of engine ${engine}, this is engine ${ENGINE}, and no upgrade step leads here`);
  const graph = engine === '6' ? yield* decodeEngine6(bytes) : yield* StateGraph.fromPieces(yield* decodePieces(bytes));
  for (const { step } of way) {
    legacyEvents.push(...(step(graph) ?? []));
    yield;
  }
  return { pieces: yield* graph.toPieces(), legacyEvents };
}

/** Another host that is the same, and shares nothing with it that changes. In steps, between which the host must not change. */
function* copyOf(host: Host): Generator<void, Host> {
  return (yield* CODEC.decode(yield* CODEC.encode(host))) as Host;
}

/** Owners of frames in which programs and devices write; what was handed over, and nobody has retrieved yet, is reserved. */
const OF_PROGRAMS: ReadonlySet<string> = new Set(['anonymous', 'memfd', 'reserved']);

class HostEngine implements Engine {
  readonly #host: Host;

  constructor(host: Host) {
    this.#host = host;
  }

  execute(command: Command): Execution {
    return this.#host.execute(command);
  }

  begin(command: Command): LongRun | undefined {
    if (command.op === 'calls' && command.calls.length > 1) return new Calls(this.#host, command);
    if (command.op === 'device.dma' && command.accesses.length > 1) return new Accesses(this.#host, command);
    return undefined;
  }

  takePlaceOf(now: Engine, { name, sequence }: RestoreCommand): Execution {
    return this.#host.takePlaceOf((now as HostEngine).#host, name, sequence);
  }

  *withoutContents(): Generator<void, Engine> {
    const copy = yield* copyOf(this.#host);
    copy.machine.memory.forgetContents(OF_PROGRAMS);
    return new HostEngine(copy);
  }

  batch(command: BatchCommand, payload: Uint8Array): BatchRun {
    return new Batch(this.#host, command, payload);
  }

  query(query: Query): Answer | Generator<void, Answer> {
    if (query.view === 'preflight') return this.#preflight(query);
    return query.view === 'sweep' ? this.#sweep(query) : this.#host.look(query);
  }

  *#preflight(query: PreflightQuery): Generator<void, Answer> {
    const host = this.#host;
    if (host.kernel === null) return host.withoutKernel();
    const copy = yield* copyOf(host);
    return ok(preflight(host, copy, query));
  }

  *#sweep({ commands, runs, plan }: SweepQuery): Generator<void, Answer> {
    if (runs === undefined || plan === undefined) return ok(sweepPlan(yield* copyOf(this.#host), commands));
    const outcomes: SweepOutcome[] = [];
    for (const run of runs) outcomes.push(sweepRun(yield* copyOf(this.#host), commands, run, plan));
    return ok(outcomes);
  }

  check(): void {
    mustHold(this.#host);
  }

  takeEvents(): readonly EmittedEvent[] {
    return this.#host.takeEvents();
  }

  get pendingBoot(): boolean {
    return this.#host.pendingBoot;
  }

  get refusal(): Answer | null {
    return this.#host.refusal;
  }

  footprint(): Generator<void, HostUse> {
    return footprint(this.#host);
  }

  digest(): Generator<void, string> {
    return digesting(this.#host);
  }

  *snapshot(): Generator<void, EngineSnapshot> {
    return { engine: ENGINE, bytes: yield* encodePieces(yield* CODEC.encode(this.#host)) };
  }
}

/** Of so many different ones. */
const MOST_SPECS = 64;
const specs = new Map<string, HostSpec>();

/** A fleet of hosts that are alike has one spec. */
function shared(spec: HostSpec): HostSpec {
  const text = JSON.stringify(spec);
  const known = specs.get(text);
  if (known !== undefined) return known;
  if (specs.size === MOST_SPECS) specs.clear();
  specs.set(text, frozen(spec));
  return spec;
}

function frozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const part of Object.values(value)) frozen(part);
    Object.freeze(value);
  }
  return value;
}
