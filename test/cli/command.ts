/** Runs the command `holdover` as a person does: a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('../../src/cli/holdover.ts', import.meta.url));

export interface Ended {
  code: number | null;
  output: string;
  errors: string;
}

/** The service that it talks to. */
export interface Place {
  url: string;
  key: string;
}

export interface Given {
  input?: string;
  env?: Record<string, string>;
}

export function startCommand(args: readonly string[], place?: Place, env: Record<string, string> = {}): ChildProcess {
  const own = Object.entries(process.env).filter(([name]) => !/^(HOLDOVER_|NODE_TEST_CONTEXT$)/.test(name));
  const where = place && { HOLDOVER_URL: place.url, HOLDOVER_KEY: place.key };
  return spawn(process.execPath, [PROGRAM, ...args], {
    env: { ...Object.fromEntries(own), ...where, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
}

/** Runs it until it ends. */
export async function command(args: readonly string[], place?: Place, { input = '', env }: Given = {}): Promise<Ended> {
  const child = startCommand(args, place, env);
  child.stdin!.end(input);
  const [output, errors, [code]] = await Promise.all([text(child.stdout!), text(child.stderr!), once(child, 'close')]);
  return { code: code as number | null, output, errors };
}
