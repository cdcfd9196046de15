/** The services that are killed: as a process, or in this process, where single threads of it can be. */
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readConfig } from '../../src/config.ts';
import type { LanePool } from '../../src/lanes/pool.ts';
import { openStore, type SqliteStore } from '../../src/store/sqlite/store.ts';
import { FINDINGS } from '../support/findings.ts';
import { serveLanes } from '../support/lanes.ts';
import { type Service, startService } from '../support/service.ts';
import { ADMIN_KEY, KEY, Wire } from './wire.ts';

/** Runs at the end, the last one first. */
export class Ends {
  readonly #ends: (() => unknown)[] = [];

  after(end: () => unknown): void {
    this.#ends.push(end);
  }

  async directory(): Promise<string> {
    const directory = await mkdtemp(join(tmpdir(), 'holdover-crash-'));
    this.after(() => rmSync(directory, { recursive: true, force: true }));
    return directory;
  }

  async end(): Promise<void> {
    for (const end of this.#ends.splice(0).reverse()) await end();
  }
}

const ENVIRONMENT = {
  HOLDOVER_TENANTS: `crash:${KEY}`,
  HOLDOVER_ADMIN_KEY: ADMIN_KEY,
  HOLDOVER_LOG_LEVEL: 'info',
  HOLDOVER_CHECK: '1',
};

/** The service as a process of its own. */
export class ProcessVictim {
  readonly directory: string;
  #service: Service | undefined;
  #wire: Wire | undefined;
  #ends = new Ends();

  constructor(directory: string) {
    this.directory = directory;
  }

  get wire(): Wire {
    return this.#wire!;
  }

  /** `room`: for hosts in memory. Without it only the one that each lane has used last stays. */
  async start(lanes: number, room = true): Promise<void> {
    const env = { ...ENVIRONMENT, HOLDOVER_LANES: String(lanes), ...(room ? {} : { HOLDOVER_HOST_MEMORY: '0' }) };
    this.#service = await startService(this.#ends, this.directory, { dev: false, env });
    this.#wire = new Wire(this.#service.url);
  }

  /** Everything it said since the start. */
  get output(): string {
    return this.#service?.output() ?? '';
  }

  async stop(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const { code } = await this.#service!.stop(signal);
    this.#wire!.close();
    await this.#ends.end();
    if (signal === 'SIGTERM' && code !== 0) throw new Error(`a clean stop ended with ${code}:\n${this.output}`);
  }
}

/** The service in this process, of which single lanes can be killed; that which serves HTTP, too. */
export class LaneVictim {
  readonly directory: string;
  readonly pool: LanePool;
  readonly store: SqliteStore;
  readonly wire: Wire;
  readonly #stop: () => Promise<void>;

  private constructor(store: SqliteStore, pool: LanePool, wire: Wire, stop: () => Promise<void>) {
    this.directory = store.directory;
    this.store = store;
    this.pool = pool;
    this.wire = wire;
    this.#stop = stop;
  }

  static async start(directory: string, lanes: number, room: boolean): Promise<LaneVictim> {
    const config = readConfig([], { ...ENVIRONMENT, HOLDOVER_DATA_DIR: directory, HOLDOVER_LOG_LEVEL: 'fatal' });
    const store = openStore({ directory });
    const memory = room ? {} : { memory: 0 };
    const { pool, address } = await serveLanes(config, store, { log: FINDINGS, lanes, check: true, ...memory });
    const wire = new Wire(address, { waits: true });
    return new LaneVictim(store, pool, wire, async () => {
      wire.close();
      await pool.hangUp();
      await pool.close();
      await store.close();
    });
  }

  stop(): Promise<void> {
    return this.#stop();
  }
}
