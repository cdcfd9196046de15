/** How soon the service is there, with an empty store: as it lies in the repository, and as npm has packed it. */
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { type Benchmark, median, now, repeat, temporaryDirectory } from './harness.ts';
import { portOf, Service, startChild, stopChild } from './service.ts';

const BARE_SERVER = fileURLToPath(new URL('./bare-server.ts', import.meta.url));
const IN_PROCESS = fileURLToPath(new URL('./start-child.ts', import.meta.url));
const PACK = fileURLToPath(new URL('../scripts/pack.ts', import.meta.url));
const DIST = fileURLToPath(new URL('../dist', import.meta.url));
const ROUNDS = 7;

/** Seconds until it has answered that it is ready. */
async function ready(): Promise<number> {
  const begun = now();
  const service = await Service.start();
  const client = await service.client();
  await client.request('GET', '/readyz');
  const took = now() - begun;
  client.close();
  await service.stop('SIGTERM');
  return took / 1000;
}

async function bare(): Promise<number> {
  const begun = now();
  const child = startChild([BARE_SERVER]);
  await portOf(child);
  const took = now() - begun;
  await stopChild(child, 'SIGTERM');
  return took / 1000;
}

/** `holdover serve`, until it says that it listens. */
async function command(): Promise<number> {
  const directory = temporaryDirectory('command');
  const begun = now();
  const child = startChild([`${DIST}/holdover.js`, 'serve'], {
    HOLDOVER_PORT: '0',
    HOLDOVER_DATA_DIR: directory,
    HOLDOVER_TENANTS: 'bench:key-of-the-benchmarks',
  });
  await portOf(child);
  const took = now() - begun;
  await stopChild(child, 'SIGTERM');
  rmSync(directory, { recursive: true, force: true });
  return took / 1000;
}

/** `startHoldover`, its import included. */
async function inProcess(): Promise<number> {
  const child = startChild([IN_PROCESS, `${DIST}/index.js`]);
  return Number(await text(child.stdout!)) / 1000;
}

async function start() {
  execFileSync(process.execPath, [PACK], { stdio: 'inherit' });
  // The first ones compile what others find compiled.
  const rounds = await repeat(ROUNDS, 2, async () => ({
    ready: await ready(),
    bare: await bare(),
    command: await command(),
    inProcess: await inProcess(),
  }));
  const floor = median(rounds.map((round) => round.bare));
  const figure = (name: string, value: number, goal: number) => ({
    figure: name,
    value,
    unit: 's',
    floor,
    ratio: value / floor,
    goal: `≤ ${goal} s`,
    met: value <= goal,
    note: 'floor: from the start of the process of a bare Fastify with zod and SQLite until it listens',
  });
  return [
    figure('process', median(rounds.map((round) => round.ready)), 0.4),
    figure('holdover serve', median(rounds.map((round) => round.command)), 0.4),
    figure('startHoldover', median(rounds.map((round) => round.inProcess)), 0.25),
  ];
}

export const START: Benchmark[] = [{ name: 'start', about: 'until it is ready, with an empty store', run: start }];
