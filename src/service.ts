/** Puts the parts together, serves, and stops in order: no new requests, those begun are answered, all is stored. */
import closeWithGrace from 'close-with-grace';
import type { Config } from './config.ts';
import { buildApp } from './http/app.ts';
import { createLanes } from './lanes/lanes.ts';
import { createLog } from './log.ts';
import { openStore } from './store/store.ts';
import { seedTenants } from './tenants.ts';

/** Why the service cannot listen, in one sentence for the person who started it. */
export class ListenFailed extends Error {
  override readonly name = 'ListenFailed';
}

/** How long begun requests may take to end when the service stops, in milliseconds. */
const CLOSE_DELAY_MS = 10_000;

/**
 * What stops it in order. One of them is enough, and more change nothing: a Ctrl-C arrives from the terminal and again
 * from npm, which passes it on. It may not take longer than CLOSE_DELAY_MS.
 */
const STOPPING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Resolves when the service listens and has said so. Throws ListenFailed, StoreUnavailable and TenantExists. */
export async function runService(config: Config): Promise<void> {
  const log = await createLog(config);
  const store = openStore({ directory: config.dataDir, durability: config.durability });
  await seedTenants(store.tenants, config, log);
  const lanes = createLanes({ store, log, lanes: config.lanes, allowServiceDeath: config.allowServiceDeath });
  await lanes.recover();
  const app = await buildApp({ config, store, lanes, log });

  let stopping = false;
  const grace = closeWithGrace({ delay: CLOSE_DELAY_MS, logger: log, skip: [...STOPPING] }, async ({ err }) => {
    stopping = true;
    if (err) log.error({ err }, 'stopping after an error');
    await app.close();
    await lanes.close();
    store.close();
  });
  for (const signal of STOPPING) {
    process.on(signal, () => {
      if (stopping) return;
      log.info({ signal }, 'stopping');
      void grace.close();
    });
  }

  const address = await app.listen({ host: config.host, port: config.port }).catch((error: Error) => {
    throw new ListenFailed(
      `cannot listen on ${config.host} port ${config.port} (HOLDOVER_HOST, HOLDOVER_PORT): ${error.message}.`,
    );
  });
  if (config.dev) process.stdout.write(welcome(address, config.devKey));
  else log.info({ address, dataDir: config.dataDir }, 'listening');
}

function welcome(address: string, key: string): string {
  return `
  Holdover is running in development mode, on this machine only.

    API   ${address}
    docs  ${address}/docs
    key   ${key}

  A first host:

    curl -s -H 'authorization: Bearer ${key}' -H 'content-type: application/json' \\
      -d '{"preset":"vmm-lab"}' ${address}/v1/hosts

`;
}
