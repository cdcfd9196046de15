/** A service in threads of a process that has other things to do, as a test runner has. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Config } from './config.ts';
import type { Holdover, HoldoverOptions } from './index.ts';
import { ServerWorkers } from './lanes/lane-worker.ts';
import type { Log } from './log.ts';
import type { Parts } from './service.ts';
import { threadFile } from './threads/thread-file.ts';

const ADMIN_KEY_BYTES = 24;

export async function startInProcess({ port = 0, dataDir, key, log = false }: HoldoverOptions): Promise<Holdover> {
  // Its program is loaded while the rest of this one is.
  const servers = new ServerWorkers(threadFile(import.meta.url, 'server-thread'), { NODE_COMPILE_CACHE });
  const parts: Parts = [() => servers.drop()];
  const stop = async (): Promise<void> => {
    for (const part of parts.splice(0).toReversed()) await part();
  };
  try {
    const [{ readConfig }, { startService }] = await Promise.all([import('./config.ts'), import('./service.ts')]);
    const directory = dataDir ?? temporaryDirectory(parts);
    const adminKey = randomBytes(ADMIN_KEY_BYTES).toString('hex');
    const config = readConfig(['--dev'], {
      HOLDOVER_PORT: String(port),
      HOLDOVER_DATA_DIR: directory,
      HOLDOVER_DEV_KEY: key,
      HOLDOVER_ADMIN_KEY: adminKey,
      HOLDOVER_LOG_LEVEL: log ? 'info' : 'silent',
      // A test has few clients: one lane starts sooner than several.
      HOLDOVER_LANES: '1',
    });
    const url = await startService(config, servers.take, log ? await openLog(config) : NO_LOG, parts);
    let closing: Promise<void> | undefined;
    const close = (): Promise<void> => {
      closing ??= stop();
      return closing;
    };
    return { url, key: config.devKey, adminKey, close, [Symbol.asyncDispose]: close };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Where threads keep what they have compiled, as the service does: a process that has other things to do is not to be changed by it. */
const NODE_COMPILE_CACHE = process.env.NODE_COMPILE_CACHE ?? join(tmpdir(), 'node-compile-cache');

const NO_LOG: Log = { info() {}, warn() {}, error() {} };
/** One for all services of the process: it stays until the process ends. */
let opened: Promise<Log> | undefined;

function openLog(config: Config): Promise<Log> {
  opened ??= import('./log.ts').then(({ createLog }) => createLog(config));
  return opened;
}

/** Those that are there; a process that ends without closing its services leaves none behind. */
const directories = new Set<string>();

function temporaryDirectory(parts: Parts): string {
  if (directories.size === 0) process.on('exit', removeAll);
  const directory = mkdtempSync(join(tmpdir(), 'holdover-'));
  directories.add(directory);
  parts.push(async () => remove(directory));
  return directory;
}

function removeAll(): void {
  for (const directory of directories) {
    try {
      rmSync(directory, { recursive: true, force: true });
    } catch {
      // A thread is just making a file there: how the process ends matters more.
    }
  }
}

function remove(directory: string): void {
  rmSync(directory, { recursive: true, force: true });
  directories.delete(directory);
  if (directories.size === 0) process.off('exit', removeAll);
}
