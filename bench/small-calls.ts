/** Small calls of many clients with a host each: whether two lanes answer those of two. */
import { cpus } from 'node:os';
import { laneOf } from '../src/lanes/owner.ts';
import type { Client } from './client.ts';
import { type Benchmark, diskNote, median, repeat, round } from './harness.ts';
import { type Load, load, mapAndUnmap } from './latency.ts';
import { type Service, withService } from './service.ts';
import { createVmm } from './vmm.ts';

const CLIENTS = 32;
const ROUNDS = 3;
const WARM_ROUNDS = 3;
/** The two lanes, the writer, and who sends. With fewer, a lane more is a processor less for who sends. */
const ENOUGH_PROCESSORS = 4;
const GOAL = 1.5;

async function smallCalls(lanes: number): Promise<Load> {
  return withService({ lanes }, async (service) => {
    const clients = await eachLanesClients(service, lanes);
    const requests = await Promise.all(
      clients.map(async (client) => {
        const { process, fd, ioas } = await createVmm(client, { pages: 1, attached: true });
        return mapAndUnmap(`${process}/calls`, { fd, ioas, slot: 0 });
      }),
    );
    const connections = clients.map(({ connection }) => connection);
    const rounds = await repeat(ROUNDS, WARM_ROUNDS, () => load(connections, requests, service.pid));
    for (const client of clients) client.close();
    return rounds.toSorted((a, b) => a.throughput - b.throughput)[Math.floor(ROUNDS / 2)]!;
  });
}

/** As many connections to each lane: a host is of the lane to which the connection came by which it was made. */
async function eachLanesClients(service: Service, lanes: number): Promise<Client[]> {
  const clients: Client[] = [];
  const wanted = Array.from({ length: lanes }, () => CLIENTS / lanes);
  while (clients.length < CLIENTS) {
    const client = await service.client();
    const { id } = await client.request<{ id: string }>('POST', '/v1/hosts', { preset: 'vmm-lab' });
    await client.request('DELETE', `/v1/hosts/${id}`);
    const lane = laneOf(id, lanes);
    if (wanted[lane]! > 0) {
      wanted[lane]!--;
      clients.push(client);
    } else client.close();
  }
  return clients;
}

async function scaling() {
  const rounds = await repeat(3, 0, async () => ({ one: await smallCalls(1), two: await smallCalls(2) }));
  const times = (what: (load: Load) => number): number => median(rounds.map(({ one, two }) => what(two) / what(one)));
  const seen = times(({ throughput }) => throughput);
  // Where processors are enough, the thread that has most to do bounds what is answered.
  const possible = times(({ busiest }) => 1 / busiest);
  const processors = cpus().length;
  const value = processors >= ENOUGH_PROCESSORS ? seen : possible;
  const each = (what: (load: Load) => number): string =>
    `${round(median(rounds.map(({ one }) => what(one))))} and ${round(median(rounds.map(({ two }) => what(two))))}`;
  return {
    figure: processors >= ENOUGH_PROCESSORS ? '' : 'by the busiest thread',
    value,
    unit: '× of 1 lane',
    floor: 2,
    ratio: value / 2,
    goal: `≥ ${GOAL}`,
    met: value >= GOAL,
    note: `floor: twice as many; 1 and 2 lanes: ${each(({ throughput }) => throughput)} calls/s on ${processors} processors with who sends (${round(seen)} ×), ${each(({ busiest }) => busiest)} µs a call of the busiest thread, ${each(({ cpu }) => cpu)} of all; ${diskNote()}`,
  };
}

export const SMALL_CALLS: Benchmark[] = [
  {
    name: 'small-calls',
    about: `one ioctl by HTTP, journaled, of ${CLIENTS} clients with a host each, 2 lanes to 1`,
    run: async () => [await scaling()],
  },
];
