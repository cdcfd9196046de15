/** The service in this process on a data directory that is there already; it can be stopped and started again. */
import request from 'supertest';
import { readConfig } from '../../src/config.ts';
import { type AppOptions, buildApp } from '../../src/http/app.ts';
import { openStore } from '../../src/store/sqlite/store.ts';
import { seedTenants } from '../../src/tenants.ts';
import { Host, type HostMaker } from './client.ts';
import { ADMIN_KEY } from './keys.ts';
import { createLanes } from './lanes.ts';

export interface DirectoryApp extends HostMaker {
  /** Where it listens. */
  readonly url: string;
  /** Errors and warnings of its log. */
  readonly log: string[];
  stop(): Promise<void>;
}

/** As a start of the service does it. `key`: of the tenant `test`. */
export async function serveDirectory(
  directory: string,
  key: string,
  options: Pick<AppOptions, 'dev' | 'fileKey'> = {},
): Promise<DirectoryApp> {
  const config = readConfig([], {
    HOLDOVER_PORT: '0',
    HOLDOVER_DATA_DIR: directory,
    HOLDOVER_TENANTS: `test:${key}`,
    HOLDOVER_ADMIN_KEY: ADMIN_KEY,
    HOLDOVER_LOG_LEVEL: 'silent',
  });
  const lines: string[] = [];
  const note = (details: object, message: string): void => void lines.push(`${message} ${JSON.stringify(details)}`);
  const log = { info() {}, warn: note, error: note };
  const store = openStore({ directory, durability: config.durability });
  await store.inspect((damage) => {
    if (store.damage.add(damage)) note(damage, 'some of what is stored is damaged');
  });
  const lanes = createLanes({ store, lanes: 0, log, check: true });
  await seedTenants(store.tenants, config, log, store.damage);
  if (!store.damage.isOfDatabase) await lanes.recover();
  const http = await buildApp({ config, directory: store, lanes, checkAnswers: true, ...options });
  const url = await http.listen({ host: config.host, port: config.port });
  const app: DirectoryApp = {
    key,
    url,
    log: lines,
    get agent() {
      return request(url);
    },
    host: (body = {}) => Host.create(app, { preset: 'vmm-lab', ...body }),
    async stop() {
      await http.close();
      await lanes.close();
      await store.close();
    },
  };
  return app;
}
