/**
 * The service in this process, on a port of its own and with a store of its own: test files run side by side. It looks at
 * each host after each command, so that what does not agree in one fails a test.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach } from 'node:test';
import request from 'supertest';
import { readConfig } from '../../src/config.ts';
import { buildApp } from '../../src/http/app.ts';
import { openStore } from '../../src/store/sqlite/store.ts';
import { seedTenants } from '../../src/tenants.ts';
import { Host, type HostBody, type HostMaker } from './client.ts';
import { FINDINGS } from './findings.ts';
import { ADMIN_KEY } from './keys.ts';
import { createLanes, serveLanes } from './lanes.ts';

const KEY = 'key-of-the-test-tenant';

interface Running {
  /** Where it listens, such as `http://127.0.0.1:40123`. */
  url: string;
  stop(): Promise<void>;
}

export class TestApp implements HostMaker {
  readonly key = KEY;
  readonly #lanes: number | undefined;
  #running: Running | undefined;

  /** `lanes`: that many serve, as in the service; default: this thread does. */
  constructor(lanes?: number) {
    this.#lanes = lanes;
  }

  get url(): string {
    if (this.#running === undefined) throw new Error('the service is up only while tests run');
    return this.#running.url;
  }

  get agent(): ReturnType<typeof request> {
    return request(this.url);
  }

  /** A new host; of the preset `vmm-lab` (D1 to D4 on vfio-pci, E1 on nvme) unless the body says otherwise. */
  async host(body: HostBody = {}): Promise<Host> {
    const described = 'preset' in body || 'topology' in body || 'devices' in body;
    return Host.create(this, described ? body : { preset: 'vmm-lab', ...body });
  }

  /** Starts it unless it runs. */
  async start(): Promise<void> {
    this.#running ??= await serve(this.#lanes);
  }

  async stop(): Promise<void> {
    await this.#running?.stop();
    this.#running = undefined;
  }
}

async function serve(served: number | undefined): Promise<Running> {
  const directory = await mkdtemp(join(tmpdir(), 'holdover-test-'));
  const config = readConfig([], {
    HOLDOVER_PORT: '0',
    HOLDOVER_DATA_DIR: directory,
    HOLDOVER_TENANTS: `test:${KEY}`,
    HOLDOVER_ADMIN_KEY: ADMIN_KEY,
    HOLDOVER_LOG_LEVEL: 'silent',
  });
  const store = openStore({ directory, durability: config.durability });
  const removed = (): Promise<void> => rm(directory, { recursive: true, force: true });
  if (served !== undefined) {
    const { pool, address: url } = await serveLanes(config, store, { log: FINDINGS, lanes: served, check: true });
    return {
      url,
      stop: () =>
        pool
          .hangUp()
          .then(() => pool.close())
          .then(() => store.close())
          .then(removed),
    };
  }
  const lanes = createLanes({ store, lanes: config.lanes, log: FINDINGS, check: true });
  await seedTenants(store.tenants, config, { info() {}, warn() {}, error() {} });
  const app = await buildApp({ config, directory: store, lanes, checkAnswers: true });
  const url = await app.listen({ host: config.host, port: config.port });
  return {
    url,
    stop: async () => {
      await app.close();
      await lanes.close();
      await store.close();
      await removed();
    },
  };
}

/**
 * Starts the service before the first test of this file and stops it after the last. Not with `before`: that runs even
 * where no test of the file is to be run (--test-name-pattern), and `after` does not; the process would never end.
 */
export function useApp(lanes?: number): TestApp {
  const app = new TestApp(lanes);
  beforeEach(() => app.start());
  after(() => app.stop());
  return app;
}
