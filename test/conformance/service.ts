/** The service that traces are replayed on: the real one with a store of its own, asked without a network between. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readConfig } from '../../src/config.ts';
import { buildApp } from '../../src/http/app.ts';
import { openStore } from '../../src/store/sqlite/store.ts';
import { seedTenants } from '../../src/tenants.ts';
import { FINDINGS } from '../support/findings.ts';
import { createLanes } from '../support/lanes.ts';
import type { Api } from './api.ts';
import type { JsonObject } from './trace.ts';

export interface Service {
  api: Api;
  stop(): Promise<void>;
}

const KEY = 'key-of-the-conformance-run';
const SILENT = { info() {}, warn() {}, error() {} };

export async function startService(): Promise<Service> {
  const directory = mkdtempSync(join(tmpdir(), 'holdover-conformance-'));
  const config = readConfig([], {
    HOLDOVER_DATA_DIR: directory,
    HOLDOVER_TENANTS: `conformance:${KEY}`,
    HOLDOVER_LOG_LEVEL: 'silent',
  });
  const store = openStore({ directory, durability: config.durability });
  const lanes = createLanes({ store, log: FINDINGS, check: true });
  await seedTenants(store.tenants, config, SILENT);
  // Whether answers are what the OpenAPI document says costs little, and nothing else asks this often.
  const app = await buildApp({ config, directory: store, lanes, checkAnswers: true });
  const headers = { authorization: `Bearer ${KEY}` };
  return {
    api: {
      async request(method, url, body) {
        const response = await app.inject({
          method,
          url,
          headers,
          ...(body !== undefined && { payload: body as object }),
        });
        return {
          status: response.statusCode,
          body: response.body === '' ? {} : (JSON.parse(response.body) as JsonObject),
        };
      },
    },
    async stop() {
      await app.close();
      await lanes.close();
      await store.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
