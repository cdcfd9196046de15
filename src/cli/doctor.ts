/** `holdover doctor`: what is wrong with this installation, and how to mend it. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isNewEnough, OLDEST_NODE, ownNode } from '../own-node.ts';
import { type Client, EXIT, Refused } from './client.ts';
import { acting, type Family, type Globals } from './options.ts';
import { say, show, styled } from './terminal.ts';

interface Finding {
  about: string;
  /** `note`: it is as it may be. */
  state: 'ok' | 'note' | 'wrong';
  found: string;
  /** What to do. */
  mend?: string;
}

export const addDoctor: Family = (program) => {
  program
    .command('doctor')
    .description('tell what is wrong with this installation, and how to mend it')
    .action(
      acting(async ({ client, options }) => {
        const service = await checkService(client, options);
        const findings = [...checkPrograms(), checkDataDirectory(), await checkPort(service), service];
        if (service.state === 'ok') findings.push(await checkKey(client));
        show(options, findings, () => findings.forEach(showFinding));
        if (findings.some(({ state }) => state === 'wrong')) process.exitCode = EXIT.refused;
      }),
    );
};

const COLOURS = { ok: 'green', note: 'cyan', wrong: 'red' } as const;

function showFinding({ about, state, found, mend }: Finding): void {
  say(`${styled(COLOURS[state], state.padEnd(5))}  ${about.padEnd(14)}  ${found}`);
  if (mend !== undefined) say(`${' '.repeat(23)}${mend}`);
}

/** The Node that runs the service, and the library that needs it. */
function checkPrograms(): Finding[] {
  const about = 'node';
  const node = isNewEnough() ? process.execPath : ownNode();
  if (node === undefined)
    return [
      {
        about,
        state: 'wrong',
        found: `this is Node ${process.versions.node}, and there is none of ${OLDEST_NODE} or newer beside Holdover`,
        mend: 'Install Holdover without --omit=optional, or use a newer Node.',
      },
    ];
  const started = answerOf(node, ['--version']);
  if ('failed' in started)
    return [
      {
        about,
        state: 'wrong',
        found: `${node} does not start: ${started.failed}`,
        mend: 'If libatomic.so.1 is missing, install libatomic1 (Debian, Ubuntu) or libatomic (Fedora, RHEL).',
      },
    ];
  const whose = node === process.execPath ? 'the one that runs this' : 'the one that the package brings';
  return [{ about, state: 'ok', found: `${started.answer}, ${whose}` }, checkSqlite(node)];
}

function checkSqlite(node: string): Finding {
  const about = 'better-sqlite3';
  const program =
    "const S = require('better-sqlite3'); console.log(new S(':memory:').prepare('SELECT sqlite_version()').pluck().get())";
  const tried = answerOf(node, ['--eval', program]);
  if ('answer' in tried) return { about, state: 'ok', found: `SQLite ${tried.answer}` };
  const mend = `Install Holdover anew: there is a binary for Linux, macOS and Windows on x64 and arm64, this is ${process.platform} on ${process.arch}.`;
  return { about, state: 'wrong', found: tried.failed, mend };
}

function answerOf(node: string, args: string[]): { answer: string } | { failed: string } {
  // Where the packages of Holdover are found.
  const cwd = dirname(fileURLToPath(import.meta.url));
  try {
    return { answer: execFileSync(node, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim() };
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string };
    const lines = (stderr || message).trim().split('\n');
    return { failed: lines.find((line) => /error/i.test(line)) ?? lines[0]! };
  }
}

function checkDataDirectory(): Finding {
  const about = 'data directory';
  const directory = resolve(process.env.HOLDOVER_DATA_DIR || './data');
  let there = directory;
  while (!existsSync(there)) there = dirname(there);
  const found = there === directory ? directory : `${directory}, which a start makes`;
  try {
    accessSync(there, constants.W_OK);
    return { about, state: 'ok', found };
  } catch {
    const mend = 'Give the user of the service the right to write there, or name another one with HOLDOVER_DATA_DIR.';
    return { about, state: 'wrong', found: `nothing can be written in ${there}`, mend };
  }
}

/** The port that a start would take. */
async function checkPort(service: Finding): Promise<Finding> {
  const about = 'port';
  const port = Number(process.env.HOLDOVER_PORT || 8080);
  const server = createServer();
  try {
    server.listen(port, process.env.HOLDOVER_HOST || '127.0.0.1');
    await once(server, 'listening');
    return { about, state: 'ok', found: `${port} is free` };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE' && service.state === 'ok') return { about, state: 'note', found: `${port} is taken` };
    const mend = 'End what has it, or choose another one with HOLDOVER_PORT (0: any that is free).';
    return { about, state: 'wrong', found: `${port} cannot be listened at (${code})`, mend };
  } finally {
    server.close();
  }
}

async function checkService(client: Client, { url }: Globals): Promise<Finding> {
  const about = 'service';
  try {
    const { status } = await client.ask<{ status: string }>('GET', '/readyz');
    if (status === 'ok') return { about, state: 'ok', found: `answers at ${url}` };
    return { about, state: 'wrong', found: `${url}/readyz: ${status}`, mend: 'See docs/configuration.md, Damage.' };
  } catch (error) {
    if (error instanceof Refused) return { about, state: 'wrong', found: error.message, mend: `See ${url}/readyz.` };
    const found = `none answers at ${url}`;
    const state = process.env.HOLDOVER_URL ? 'wrong' : 'note';
    return {
      about,
      state,
      found,
      mend: 'Start one with "holdover serve --dev", or say where it is with HOLDOVER_URL.',
    };
  }
}

async function checkKey(client: Client): Promise<Finding> {
  const about = 'key';
  try {
    await client.ask('GET', '/v1/usage');
    return { about, state: 'ok', found: 'the service knows it' };
  } catch (error) {
    const mend = 'Say one of its tenants’ with HOLDOVER_KEY; "holdover tenants create" makes a tenant.';
    return { about, state: 'wrong', found: (error as Error).message, mend };
  }
}
