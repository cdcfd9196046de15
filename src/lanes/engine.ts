/** How lanes make hosts, and hosts of snapshots. */
import { Batch } from '../host/batch/batch.ts';
import type { Answer, BatchCommand, Command, EmittedEvent, Execution, HostSpec, Query } from '../host/command.ts';
import { footprint } from '../host/footprint.ts';
import { Host } from '../host/host.ts';
import { mustHold } from '../host/invariants/walk.ts';
import { fromSnapshot, takeSnapshot } from '../host/snapshot.ts';
import type { BatchRun, Engine, MakeHost } from './replay.ts';
import { decodeGraph, encodeGraph } from './snapshot-bytes.ts';
import type { RestoreHost } from './snapshots.ts';

export const makeHost: MakeHost = (spec) => new HostEngine(new Host(shared(spec)));

export const restoreHost: RestoreHost = (bytes) => new HostEngine(fromSnapshot(decodeGraph(bytes)));

class HostEngine implements Engine {
  readonly #host: Host;

  constructor(host: Host) {
    this.#host = host;
  }

  execute(command: Command): Execution {
    return this.#host.execute(command);
  }

  batch(command: BatchCommand, payload: Uint8Array): BatchRun {
    return new Batch(this.#host, command, payload);
  }

  query(query: Query): Answer {
    return this.#host.query(query);
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

  footprint(): Generator<void, number> {
    return footprint(this.#host);
  }

  snapshot(): Generator<void, Uint8Array> {
    return encodeGraph(takeSnapshot(this.#host));
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
