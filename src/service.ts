/**
 * Puts the parts together, serves, and stops in order: new requests are refused, begun ones answered, all is stored.
 */
import { resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import closeWithGrace from 'close-with-grace';
import { type Config, WELL_KNOWN_KEY } from './config.ts';
import { Expiry } from './expiry.ts';
import { fileKeyOf } from './file-key.ts';
import { newCommonMemory } from './http/common.ts';
import type { CannotListen } from './lanes/messages.ts';
import { LanePool } from './lanes/pool.ts';
import { STOP_MS } from './limits.ts';
import type { Log } from './log.ts';
import { ReadyFile } from './ready-file.ts';
import type { Seeds } from './seeds.ts';
import { openStore } from './store/sqlite/store.ts';
import type { Store } from './store/store.ts';
import { seedTenants } from './tenants.ts';

/** Why the service cannot listen, in one sentence for the person who started it. */
class ListenFailed extends Error {
  override readonly name = 'ListenFailed';
}

/**
 * Signals that stop the service in order, within STOP_MS. Further ones change nothing: a Ctrl-C arrives from the
 * terminal and again from npm, which passes it on.
 */
const STOPPING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** What stops, the last one first. */
export type Parts = (() => Promise<void>)[];

/** Resolves when the service listens and has said so; it stops when the process is asked to end. Throws what `startService` does. */
export async function runService(config: Config, startServer: () => Worker): Promise<void> {
  // Who starts a service within a process may log nothing, and loads nothing for that.
  const { createLog } = await import('./log.ts');
  const log = await createLog(config);
  for (const warning of config.warnings) log.warn({}, warning);
  const parts: Parts = [];
  const stop = stopWhenAsked(parts, log);
  let address: string;
  try {
    address = await startService(config, startServer, log, parts);
  } catch (error) {
    // What was begun has been given up: the stop ends the process.
    if (stop.isAsked) return;
    throw error;
  }
  if (config.dev) process.stdout.write(welcome(address, config));
  else log.info({ address, dataDir: config.dataDir }, 'listening');
}

/**
 * Resolves when the service listens, with its address. `startServer` starts the thread of the lane that serves. What has to be
 * stopped is in `parts`, also of a start that fails. Throws ConfigError, ListenFailed, StoreUnavailable and TenantExists.
 */
export async function startService(given: Config, startServer: () => Worker, log: Log, parts: Parts): Promise<string> {
  const seeds = given.seedDir === null ? null : await seedsOf(given.seedDir);
  const config = seeds?.withTenants(given) ?? given;
  const store = openStore({ directory: config.dataDir, durability: config.durability });
  // The directory is this one's: no other service is there that has left the file.
  const ready = config.readyFile === null ? null : new ReadyFile(config.readyFile);
  parts.push(() => store.close());
  const { lanes, allowServiceDeath, check, commandTime, hostMemory: memory } = config;
  const fileKey = config.fileKey ?? fileKeyOf(config.dataDir, log);
  const server = { start: startServer, settings: { config, fileKey, common: newCommonMemory(lanes) } };
  const pool = new LanePool({ store, log, lanes, allowServiceDeath, check, commandTime, memory, server });
  parts.push(() => pool.stop().then(() => pool.close()));
  // While the threads start.
  await inspect(store, log);
  await seedTenants(store.tenants, config, log, store.damage);
  // They are booted when they are used, too; what looks for them might have no end.
  if (!store.damage.isOfDatabase) await pool.recover();
  // Whoever can ask finds them there.
  await seeds?.makeHosts({ config, fileKey, directory: store, lanes: pool, log });
  const { host, port } = config;
  const listening = await pool.listen(host, port);
  if (!('address' in listening))
    throw new ListenFailed(`cannot listen on ${host} port ${port}: ${await whyNot(listening, host, port)}.`);
  parts.push(() => pool.hangUp());
  const { address } = listening;
  const expiry = new Expiry({ store, lanes: pool, log });
  expiry.start();
  parts.push(() => expiry.stop());
  store.announce(address);
  ready?.write(address);
  parts.push(async () => ready?.remove());
  return address;
}

/** What reads them knows all of the API, which this thread does not need otherwise. */
async function seedsOf(directory: string): Promise<Seeds> {
  const { Seeds } = await import('./seeds.ts');
  return await Seeds.read(directory);
}

/** Ends the process in order when a signal comes, or an error that nobody has caught: with 0, and with 1 after an error. */
function stopWhenAsked(parts: Parts, log: Log): { readonly isAsked: boolean } {
  const stop = { isAsked: false };
  const grace = closeWithGrace({ delay: false, logger: log, skip: [...STOPPING] }, async ({ err }) => {
    stop.isAsked = true;
    if (err) log.error({ err }, 'stopping after an error');
    const stopped = stopAll(parts).then(() => true);
    if (await Promise.race([stopped, setTimeout(STOP_MS, false)])) return;
    log.warn({}, 'something has not stopped in time, and ends with the process: all that was acknowledged is stored');
  });
  for (const signal of STOPPING) {
    process.on(signal, () => {
      if (stop.isAsked) return;
      log.info({ signal }, 'stopping');
      void grace.close();
    });
  }
  return stop;
}

async function stopAll(parts: Parts): Promise<void> {
  for (const stop of parts.toReversed()) await stop();
}

/** How long a start waits until it is known what of the stored is damaged, in milliseconds. Where it is much, it serves meanwhile. */
const INSPECTION_MS = 250;

async function inspect(store: Store, log: Log): Promise<void> {
  const inspection = store.inspect((damage) => {
    const { hostId: host, kind, what } = damage;
    if (store.damage.add(damage)) log.error({ host, kind, what }, 'some of what is stored is damaged');
  });
  await Promise.race([inspection, setTimeout(INSPECTION_MS)]);
}

async function whyNot({ code, message }: CannotListen, host: string, port: number): Promise<string> {
  const another = 'choose another one with HOLDOVER_PORT (0 takes any that is free)';
  switch (code) {
    case 'EADDRINUSE':
      return `${(await isHoldover(host, port)) ? 'another Holdover' : 'another program'} has that port: ${another}`;
    case 'EACCES':
      return `this process may not have that port: ${another}`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return `HOLDOVER_HOST has to be an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them`;
    default:
      return `${message} (HOLDOVER_HOST, HOLDOVER_PORT)`;
  }
}

/** How long whatever has the port may take to say what it is, in milliseconds. */
const QUESTION_MS = 500;

async function isHoldover(host: string, port: number): Promise<boolean> {
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${port}/v1/hosts`;
  const answer = await fetch(url, { signal: AbortSignal.timeout(QUESTION_MS) }).catch(() => undefined);
  return answer?.headers.get('www-authenticate')?.includes('realm="holdover"') ?? false;
}

/** Where clients look for the service in development mode; see examples/. */
const USUAL = { address: 'http://127.0.0.1:8080', key: WELL_KNOWN_KEY };

function welcome(address: string, { devKey: key, dataDir }: Config): string {
  const settings = [
    ...(address === USUAL.address ? [] : [`HOLDOVER_URL=${address} `]),
    ...(key === USUAL.key ? [] : [`HOLDOVER_KEY=${key} `]),
  ];
  return `
  Holdover is running in development mode, on this machine only.

    API   ${address}
    docs  ${address}/docs
    key   ${key}
    data  ${resolve(dataDir)}

  A first host, in another terminal:

    curl -s ${address}/v1/hosts \\
      -H 'authorization: Bearer ${key}' -H 'content-type: application/json' \\
      -d '{"preset":"vmm-lab"}' | jq -r .id

  A whole live update, step by step:

    ${settings.join('')}examples/live-update.sh

  Below: a line for each request. Ctrl-C stops the service; its hosts stay.

`;
}
