/** Hosts side by side: whether a busy one keeps others waiting, and whether two lanes do the work of two. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { laneOf } from '../src/lanes/owner.ts';
import type { SenderData, SenderReport } from './batch-sender.ts';
import { inOrder, mapColumns, mapRun, shuffled, unmapRange } from './bodies.ts';
import { Connection } from './client.ts';
import { type Benchmark, diskNote, median, now, quantile, repeat, round } from './harness.ts';
import { mapAndUnmap } from './latency.ts';
import { OTHER_KEY, type Service, withService } from './service.ts';
import { createVmm, PAGE, type Vmm } from './vmm.ts';

const MANY = 1_000_000;

/** Sends in a thread of its own until it is stopped. */
class Sender {
  readonly rounds: SenderReport[] = [];
  readonly #worker: Worker;
  #failure: Error | null = null;

  constructor(data: SenderData) {
    this.#worker = new Worker(new URL('./batch-sender.ts', import.meta.url), { workerData: data });
    this.#worker.on('message', (report: SenderReport) => this.rounds.push(report));
    this.#worker.on('error', (error) => {
      this.#failure = error as Error;
    });
  }

  /** Resolves when it has sent so many rounds more. */
  async wait(rounds: number): Promise<void> {
    const until = this.rounds.length + rounds;
    while (this.rounds.length < until) {
      if (this.#failure) throw this.#failure;
      await sleep(20);
    }
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
    if (this.#failure) throw this.#failure;
  }
}

const PACE_MS = 5;
const MEASURE_MS = 8000;
export const MOST_AT_ONCE = 64;

/**
 * Milliseconds of small calls that are sent at a steady pace, whether those before are answered or not: who waits for
 * answers would hardly notice a time in which nothing is answered.
 */
export async function paced(port: number, vmm: Vmm): Promise<number[]> {
  const slots = await Promise.all(
    Array.from({ length: MOST_AT_ONCE }, async (_, slot) => ({
      connection: await Connection.open(port),
      requests: mapAndUnmap(`${vmm.process}/calls`, { fd: vmm.fd, ioas: vmm.ioas, slot }),
      turn: 0,
    })),
  );
  const free = [...slots];
  const times: number[] = [];
  const begun: Promise<void>[] = [];
  const start = now();
  for (let due = start; due < start + MEASURE_MS; due += PACE_MS) {
    if (due > now()) await sleep(due - now());
    const slot = free.shift();
    if (!slot) {
      // They fail when the service ends, which is not to be told in place of this.
      void Promise.allSettled(begun);
      throw new Error(`${MOST_AT_ONCE} calls wait at once`);
    }
    // Later than it was due: that is ours, and not the service's.
    const sent = now();
    begun.push(
      slot.connection.send(slot.requests[slot.turn++ % 2]!).then(({ status }) => {
        if (status !== 200) throw new Error(`a call is answered ${status}`);
        times.push(now() - sent);
        free.push(slot);
      }),
    );
  }
  await Promise.all(begun);
  for (const { connection } of slots) connection.close();
  return times;
}

async function fairness(figure: string, map: Buffer) {
  return withService({}, async (service, client) => {
    const small = await createVmm(client, { pages: MOST_AT_ONCE, attached: true });
    const other = await service.client(OTHER_KEY);
    const large = await createVmm(other, { pages: MANY, attached: true });
    const alone = await paced(service.port, small);
    const sender = new Sender({
      port: service.port,
      key: OTHER_KEY,
      batch: large.batch,
      bodies: [
        { body: map, operations: MANY },
        { body: unmapRange(MANY * PAGE), operations: 1 },
      ],
    });
    await sender.wait(2);
    const before = sender.rounds.length;
    const beside = await paced(service.port, small);
    const rounds = sender.rounds.slice(before);
    await sender.stop();
    other.close();
    const p99 = quantile(beside, 0.99);
    const floor = quantile(alone, 0.99);
    return {
      figure,
      value: p99,
      unit: 'ms p99',
      floor,
      ratio: p99 / floor,
      goal: '≤ 15 ms',
      met: p99 <= 15,
      note: `floor: nobody else is there; p50 ${round(quantile(beside, 0.5))} ms, max ${round(Math.max(...beside))} ms, a batch and its unmap ${round(median(rounds))} ms; ${diskNote()}`,
    };
  });
}

/** The first ones are slower, wherever they are run: programs are compiled, and memory is touched for the first time. */
const WARM_ROUNDS = 16;
const LANE_ROUNDS = 24;

/** Rounds a second (a run of 1,000,000 maps, and its unmap) of so many hosts, each in a lane of its own. */
async function throughput(lanes: number): Promise<number> {
  return withService({ lanes }, async (service) => {
    const vmms = await oneInEachLane(service, lanes);
    const senders = vmms.map(
      ({ batch }) =>
        new Sender({
          port: service.port,
          key: service.key,
          batch,
          bodies: [
            { body: mapRun(MANY), operations: MANY },
            { body: unmapRange(MANY * PAGE), operations: 1 },
          ],
        }),
    );
    await Promise.all(senders.map((sender) => sender.wait(WARM_ROUNDS)));
    const before = senders.map(({ rounds }) => rounds.length);
    await Promise.all(senders.map((sender) => sender.wait(LANE_ROUNDS)));
    const speeds = senders.map(({ rounds }, index) => 1000 / median(rounds.slice(before[index]!)));
    await Promise.all(senders.map((sender) => sender.stop()));
    return speeds.reduce((sum, speed) => sum + speed, 0);
  });
}

/** A host is of the lane to which the connection came by which it was made. */
async function oneInEachLane(service: Service, lanes: number): Promise<Vmm[]> {
  const found = new Map<number, Vmm>();
  while (found.size < lanes) {
    const client = await service.client();
    const vmm = await createVmm(client, { pages: MANY, attached: true });
    const lane = laneOf(vmm.hostId, lanes);
    if (found.has(lane)) await client.request('DELETE', vmm.host);
    else found.set(lane, vmm);
    client.close();
  }
  return [...found.values()];
}

/** The same question to the machine: two threads that only compute, to one. */
async function machineScaling(): Promise<number> {
  const program = `
    const { parentPort } = require('node:worker_threads');
    const words = new Uint32Array(1 << 16);
    const start = performance.now();
    for (let round = 0; round < 4000; round++)
      for (let at = 0; at < words.length; at++) words[at] = Math.imul(words[at] ^ at, 0x01000193);
    parentPort.postMessage(performance.now() - start);
  `;
  const compute = (): Promise<number> => {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    new Worker(program, { eval: true }).once('message', resolve).once('error', reject);
    return promise;
  };
  const one = await compute();
  const two = await Promise.all([compute(), compute()]);
  return one / two[0]! + one / two[1]!;
}

async function lanesFigure() {
  const rounds = await repeat(3, 0, async () => ({
    one: await throughput(1),
    two: await throughput(2),
    machine: await machineScaling(),
  }));
  const value = median(rounds.map(({ one, two }) => two / one));
  const floor = median(rounds.map(({ machine }) => machine));
  const speed = median(rounds.map(({ two }) => two)) * MANY;
  return {
    figure: '',
    value,
    unit: '× of 1 lane',
    floor,
    ratio: value / floor,
    goal: '≥ 1.6',
    met: value >= 1.6,
    note: `floor: two threads that only compute, to one; with 2 lanes ${round(speed / 1e6)} M maps/s with their unmaps; ${diskNote()}`,
  };
}

export const LANES: Benchmark[] = [
  {
    name: 'fairness',
    about: 'small calls of one tenant while another sends batches of 1,000,000 maps without pause',
    async run() {
      return [
        await fairness('columns', mapColumns(inOrder(MANY))),
        await fairness('columns in random order', mapColumns(shuffled(inOrder(MANY)))),
      ];
    },
  },
  {
    name: 'lanes',
    about: 'runs of 1,000,000 maps and their unmaps, 2 lanes to 1',
    run: async () => [await lanesFigure()],
  },
];
