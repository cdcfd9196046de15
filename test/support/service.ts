/** Starts and stops the real service, as a person would: a process of its own, on a free port. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
/** A start that takes longer than this has failed, in milliseconds. */
const START_TIMEOUT_MS = 30_000;

export interface ServiceOptions {
  /** Development mode (the default) or not. */
  dev?: boolean;
  env?: Record<string, string>;
}

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface Service {
  pid: number;
  /** Such as `http://127.0.0.1:40123`. */
  url: string;
  /** Standard output and error so far. */
  output(): string;
  /** How the process ended, or will. */
  exited: Promise<Exit>;
  /** Resolves when the output has it. */
  printed(pattern: RegExp): Promise<void>;
  /** Sends the signal. */
  kill(signal: NodeJS.Signals): void;
  /** Sends the signal and waits for the end. */
  stop(signal?: NodeJS.Signals): Promise<Exit>;
  /** One JSON request with a bearer key (default: that of the development mode). */
  request(method: string, path: string, body?: unknown, key?: string): Promise<{ status: number; body: unknown }>;
}

/** A data directory that is deleted when the test ends. */
export function temporaryDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'holdover-test-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Runs it until it ends by itself, or by a signal when its output has what is given. */
export async function runMain(
  args: string[],
  env: Record<string, string>,
  stopAt?: RegExp,
): Promise<Exit & { output: string }> {
  const { child, output } = launch(args, env);
  if (stopAt !== undefined) child.stdout?.on('data', () => stopAt.test(output()) && child.kill());
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { code, signal, output: output() };
}

/** Resolves when it has printed its address; the test's end kills what still runs. */
export async function startService(
  t: Pick<TestContext, 'after'>,
  directory: string,
  options: ServiceOptions = {},
): Promise<Service> {
  const { dev = true, env = {} } = options;
  const { child, output } = launch(dev ? ['--dev'] : [], {
    HOLDOVER_PORT: '0',
    HOLDOVER_DATA_DIR: directory,
    ...env,
  });
  const exited = once(child, 'close').then(([code, signal]) => ({ code, signal }) as Exit);
  t.after(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  const url = await printedAddress(child, output, dev);
  return {
    pid: child.pid!,
    url,
    output,
    exited,
    async printed(pattern) {
      const ended = exited.then(() => Promise.reject(new Error(`it ended without ${pattern}:\n${output()}`)));
      while (!pattern.test(output())) await Promise.race([once(child.stdout!, 'data'), ended]);
      ended.catch(() => {});
    },
    kill(signal) {
      child.kill(signal);
    },
    stop(signal = 'SIGTERM') {
      child.kill(signal);
      return exited;
    },
    async request(method, path, body, key = 'dev-key') {
      const response = await fetch(`${url}${path}`, {
        method,
        headers: {
          authorization: `Bearer ${key}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      return { status: response.status, body: text === '' ? null : JSON.parse(text) };
    },
  };
}

function launch(args: string[], env: Record<string, string>): { child: ChildProcess; output: () => string } {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(HOLDOVER_|NODE_TEST_CONTEXT$)/.test(name));
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  const collect = (chunk: Buffer): void => {
    text += chunk.toString();
  };
  child.stdout?.on('data', collect);
  child.stderr?.on('data', collect);
  return { child, output: () => text };
}

function printedAddress(child: ChildProcess, output: () => string, dev: boolean): Promise<string> {
  const pattern = dev ? /^ *API +(http:\S+)$/m : /"address":"(http:[^"]+)"/;
  return new Promise((resolve, reject) => {
    const fail = (): void => reject(new Error(`the service did not start:\n${output()}`));
    const timer = setTimeout(fail, START_TIMEOUT_MS);
    const settle = (): void => {
      const address = pattern.exec(output())?.[1];
      if (address === undefined) return;
      clearTimeout(timer);
      child.stdout?.off('data', settle);
      resolve(address);
    };
    child.stdout?.on('data', settle);
    child.once('close', () => {
      clearTimeout(timer);
      fail();
    });
  });
}
