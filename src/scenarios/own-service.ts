/** A service that is there for one run: a process of its own, on a free port, with a data directory that goes with it. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ServiceAddress } from './client.ts';

export interface OwnService extends ServiceAddress {
  stop(): Promise<void>;
}

const KEY = 'dev-key';
const ADDRESS = /^ *API +(http:\S+)$/m;

/** `main` is the program of the service. Throws what it has printed if it does not start. */
export async function startOwnService(main: string): Promise<OwnService> {
  const directory = await mkdtemp(path.join(tmpdir(), `holdover-run-${process.pid}-`));
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('HOLDOVER_'));
  const child = spawn(process.execPath, [main, '--dev'], {
    env: {
      ...Object.fromEntries(inherited),
      HOLDOVER_PORT: '0',
      HOLDOVER_DATA_DIR: directory,
      HOLDOVER_LOG_LEVEL: 'warn',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await ended;
    await rm(directory, { recursive: true, force: true });
  };
  let printed = '';
  const url = await new Promise<string | undefined>((resolve) => {
    const read = (chunk: Buffer): void => {
      printed += chunk.toString();
      const address = ADDRESS.exec(printed)?.[1];
      if (address !== undefined) resolve(address);
    };
    child.stdout.on('data', read);
    child.stderr.on('data', read);
    void ended.then(() => resolve(undefined));
  });
  if (url !== undefined) return { url, key: KEY, stop };
  await stop();
  throw new Error(`the service did not start:\n${printed}`);
}
