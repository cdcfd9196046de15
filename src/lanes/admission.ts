/**
 * How much may wait in a lane. When it is full, a host is let in as long as it has less there than its share, so a
 * host with very much to do shuts itself out and nobody else.
 */
import { LANE_BYTES, LANE_COMMANDS } from '../limits.ts';
import { LaneBusy } from './errors.ts';

export interface Limits {
  commands: number;
  bytes: number;
}

const LIMITS: Limits = { commands: LANE_COMMANDS, bytes: LANE_BYTES };

interface Load {
  commands: number;
  bytes: number;
}

export class Admission {
  readonly #limits: Limits;
  readonly #total: Load = { commands: 0, bytes: 0 };
  readonly #hosts = new Map<string, Load>();
  /** Who waits until nothing of a host waits here. */
  readonly #leaving = new Map<string, () => void>();

  constructor(limits: Limits = LIMITS) {
    this.#limits = limits;
  }

  /** Throws LaneBusy. What was let in must `leave`. */
  enter(hostId: string, bytes: number): void {
    const host = this.#hosts.get(hostId) ?? { commands: 0, bytes: 0 };
    if (!this.#has('commands', host, 1) || !this.#has('bytes', host, bytes)) {
      throw new LaneBusy(`${this.#total.commands} requests wait already, ${host.commands} of them of this host`);
    }
    this.#hosts.set(hostId, host);
    add(host, 1, bytes);
    add(this.#total, 1, bytes);
  }

  leave(hostId: string, bytes: number): void {
    const host = this.#hosts.get(hostId);
    if (host === undefined) return;
    add(host, -1, -bytes);
    add(this.#total, -1, -bytes);
    if (host.commands > 0) return;
    this.#hosts.delete(hostId);
    this.#leaving.get(hostId)?.();
  }

  /** Resolves when nothing of the host waits here; undefined: nothing does. */
  gone(hostId: string): Promise<void> | undefined {
    if (!this.#hosts.has(hostId)) return undefined;
    const before = this.#leaving.get(hostId);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#leaving.set(hostId, () => {
      this.#leaving.delete(hostId);
      before?.();
      resolve();
    });
    return promise;
  }

  /** Whether there is room for `more` of a host. */
  #has(what: keyof Limits, host: Load, more: number): boolean {
    const limit = this.#limits[what];
    if (this.#total[what] + more <= limit) return true;
    // A host that has nothing waiting counts as one of those that share.
    const hosts = this.#hosts.size + (host.commands === 0 ? 1 : 0);
    return host.commands === 0 || host[what] + more <= limit / hosts;
  }
}

function add(load: Load, commands: number, bytes: number): void {
  load.commands += commands;
  load.bytes += bytes;
}

/** About how many bytes plain data takes: of its texts, and something for each value. */
export function sizeOf(value: unknown): number {
  if (typeof value === 'string') return value.length + 8;
  if (typeof value !== 'object' || value === null) return 8;
  if (ArrayBuffer.isView(value)) return value.byteLength;
  let size = 8;
  for (const item of Object.values(value)) size += 8 + sizeOf(item);
  return size;
}
