/** The service as a user runs it: a process of its own, with a data directory of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Client } from './client.ts';
import { temporaryDirectory } from './harness.ts';

export const KEY = 'key-of-the-benchmarks';
/** Another tenant's. */
export const OTHER_KEY = 'key-of-another-tenant';

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url));

/** None may outlive the benchmarks. */
const children = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

/** A server in a process of its own. */
export function startChild(args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { PATH: process.env.PATH, ...env },
  });
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}

export async function stopChild(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill(signal);
  await exit;
}

export interface ServiceOptions {
  lanes?: number;
  /** MiB. */
  hostMemory?: number;
  /** An existing data directory; it is then kept. */
  directory?: string;
}

/** Where services leave profiles of all their threads (node --cpu-prof); they end in order then. */
let profiles: string | null = null;

export function profileInto(directory: string): void {
  profiles = directory;
}

export class Service {
  readonly directory: string;
  readonly key = KEY;
  port = 0;
  readonly #child: ChildProcess;
  readonly #keeps: boolean;

  private constructor(child: ChildProcess, directory: string, keeps: boolean) {
    this.#child = child;
    this.directory = directory;
    this.#keeps = keeps;
  }

  /** Resolves when it listens. */
  static async start({ lanes, hostMemory, directory }: ServiceOptions = {}): Promise<Service> {
    const data = directory ?? temporaryDirectory('service');
    const child = startChild([...(profiles === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${profiles}`]), MAIN], {
      HOLDOVER_PORT: '0',
      HOLDOVER_DATA_DIR: data,
      HOLDOVER_TENANTS: `bench:${KEY},other:${OTHER_KEY}`,
      // More hosts, and requests, than a tenant has by default.
      HOLDOVER_QUOTAS: 'hosts=unlimited,mappings=unlimited,memory=unlimited,hostMemory=unlimited,requests=unlimited',
      // Otherwise a line a request is logged, which a bare server does not do either.
      HOLDOVER_LOG_LEVEL: 'warn',
      ...(lanes !== undefined && { HOLDOVER_LANES: String(lanes) }),
      ...(hostMemory !== undefined && { HOLDOVER_HOST_MEMORY: String(hostMemory) }),
    });
    const service = new Service(child, data, directory !== undefined);
    service.port = await announcedPort(child, data);
    return service;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  client(key = KEY): Promise<Client> {
    return Client.open({ port: this.port, key });
  }

  /** In order, as by SIGTERM, or at once. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGKILL'): Promise<void> {
    await stopChild(this.#child, profiles === null ? signal : 'SIGTERM');
    if (!this.#keeps) rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Where a service serves, as the note in its data directory says: its log is silent about it at this level. */
async function announcedPort(child: ChildProcess, directory: string): Promise<number> {
  while (child.exitCode === null && child.signalCode === null) {
    try {
      const { pid, address } = JSON.parse(readFileSync(join(directory, 'holdover.json'), 'utf8'));
      if (pid === child.pid && address !== undefined) return Number(new URL(address).port);
    } catch {
      // It is not there yet, or is being written.
    }
    await sleep(10);
  }
  throw new Error(`the service ended before it listened (${child.exitCode ?? child.signalCode})`);
}

/** Where a server listens that says so on its standard output. */
export function portOf(child: ChildProcess): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  let text = '';
  child.stdout!.on('data', (part: Buffer) => {
    text += part.toString();
    const port = /http:\/\/127\.0\.0\.1:(\d+)/.exec(text)?.[1];
    if (port !== undefined) resolve(Number(port));
  });
  child.once('exit', (code, signal) => reject(new Error(`a server ended before it listened (${code ?? signal})`)));
  return promise;
}

/** Runs it with a service, which is gone afterwards. */
export async function withService<T>(
  options: ServiceOptions,
  work: (service: Service, client: Client) => Promise<T>,
): Promise<T> {
  const service = await Service.start(options);
  try {
    const client = await service.client();
    try {
      return await work(service, client);
    } finally {
      client.close();
    }
  } finally {
    await service.stop();
  }
}
