/** Runs the blocks of a page as a person pastes them: into a shell that knows nothing but what was pasted before. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { delimiter } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { readConfig } from '../../src/config.ts';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Where a service listens that was started with nothing set, which is what the pages say. */
const { host, port, devKey } = readConfig(['--dev'], {});
const ADDRESS = `http://${host}:${port}`;

/** A page's fenced blocks of a language, in order. */
export function blocksOf(page: string, language: string): string[] {
  const source = readFileSync(`${ROOT}${page}`, 'utf8');
  return [...source.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))].map(([, block]) => block!);
}

/** The block as it is for a service that listens elsewhere: a test cannot have the port that everybody has. */
export function at(url: string, block: string): string {
  assert.ok(!/HOLDOVER_(URL|KEY)/.test(block), 'a page needs no variables');
  for (const [, key] of block.matchAll(/Bearer ([\w-]+)/g)) assert.equal(key, devKey, 'the key of a first start');
  return block.replaceAll(ADDRESS, url);
}

/** What a shell has when it is opened. Of a PATH that npm has made only what was there before. */
export function freshEnvironment(): Record<string, string> {
  const { PATH = '', HOME = '/' } = process.env;
  const own = PATH.split(delimiter).filter((folder) => !/node_modules|node-gyp-bin/.test(folder));
  return { PATH: own.join(delimiter), HOME };
}

/** Types the script into a new bash, which goes on after an error as a terminal does. Answers what it prints. */
export async function paste(script: string, directory: string): Promise<{ stdout: string; stderr: string }> {
  const shell = spawn('bash', ['--norc', '--noprofile'], { cwd: directory, env: freshEnvironment() });
  shell.stdin.end(script);
  const [stdout, stderr] = await Promise.all([text(shell.stdout), text(shell.stderr), once(shell, 'close')]);
  return { stdout, stderr };
}
