/** Small calls over HTTP: how many in a second, and how long each takes, beside a bare server. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Connection, encodeRequest } from './client.ts';
import { type Benchmark, diskNote, median, now, quantile, repeat } from './harness.ts';
import { KEY, portOf, startChild, stopChild, withService } from './service.ts';
import { createVmm, hex, IOVA, MEMORY, PAGE } from './vmm.ts';

const BARE_SERVER = fileURLToPath(new URL('./bare-server.ts', import.meta.url));
const ROUND_MS = 1500;
const ROUNDS = 5;
/** The first ones are slower, here and there: programs are compiled. */
const WARM_ROUNDS = 4;
const CONNECTIONS = 32;

const MAP_FIXED = 1 | 2 | 4;

/** Requests that a connection sends in turn: a map, and its unmap. */
export function mapAndUnmap(path: string, { fd, ioas, slot }: { fd: number; ioas: number; slot: number }): Buffer[] {
  const iova = hex(IOVA + slot * PAGE);
  const ioctl = (request: string, arg: Record<string, unknown>): Buffer =>
    encodeRequest('POST', path, KEY, Buffer.from(JSON.stringify({ calls: [{ call: 'ioctl', fd, request, arg }] })));
  return [
    ioctl('IOMMU_IOAS_MAP', {
      size: 40,
      flags: MAP_FIXED,
      ioas_id: ioas,
      user_va: hex(MEMORY + slot * PAGE),
      length: PAGE,
      iova,
    }),
    ioctl('IOMMU_IOAS_UNMAP', { size: 24, ioas_id: ioas, iova, length: PAGE }),
  ];
}

export interface Load {
  /** Requests a second. */
  throughput: number;
  /** Milliseconds. */
  p50: number;
  p99: number;
  /** Microseconds of all processors that the server took for a request, and that its busiest thread took. */
  cpu: number;
  busiest: number;
}

const ERRNO = Buffer.from('"errno"');

/** One request after another on each connection, for a while; ends with every connection at the start of its turn. */
export async function load(
  connections: readonly Connection[],
  requests: readonly Buffer[][],
  pid: number,
): Promise<Load> {
  const times: number[] = [];
  const start = now();
  const before = threadTimes(pid);
  await Promise.all(
    connections.map(async (connection, index) => {
      const mine = requests[index]!;
      for (let turn = 0; turn % mine.length !== 0 || now() - start < ROUND_MS; turn++) {
        const sent = now();
        const { status, body } = await connection.send(mine[turn % mine.length]!);
        times.push(now() - sent);
        if (status !== 200 || body.includes(ERRNO)) throw new Error(`a call fails: ${status} ${body}`);
      }
    }),
  );
  const throughput = (times.length / (now() - start)) * 1000;
  const taken = [...threadTimes(pid)].map(([thread, time]) => (time - (before.get(thread) ?? 0)) / times.length);
  const cpu = taken.reduce((sum, time) => sum + time, 0);
  return { throughput, p50: median(times), p99: quantile(times, 0.99), cpu, busiest: Math.max(...taken) };
}

/** Microseconds that each thread of a process has run; not known but on Linux. */
function threadTimes(pid: number): Map<string, number> {
  if (process.platform !== 'linux') return new Map([['', Number.NaN]]);
  const folder = `/proc/${pid}/task`;
  const nanoseconds = (thread: string): string => readFileSync(`${folder}/${thread}/schedstat`, 'utf8').split(' ')[0]!;
  return new Map(readdirSync(folder).map((thread) => [thread, Number(nanoseconds(thread)) / 1000]));
}

interface Target {
  pid: number;
  connections: Connection[];
  requests: Buffer[][];
}

async function target(pid: number, port: number, requests: (slot: number) => Buffer[]): Promise<Target> {
  const slots = Array.from({ length: CONNECTIONS }, (_, slot) => slot);
  return {
    pid,
    connections: await Promise.all(slots.map(() => Connection.open(port))),
    requests: slots.map(requests),
  };
}

type Compared = Record<'service' | 'floor', (what: keyof Load) => number>;

/** The service beside its floor, round by round. */
async function compare(count: number, service: Target, floor: Target): Promise<Compared> {
  const some = ({ connections, requests, pid }: Target): Promise<Load> =>
    load(connections.slice(0, count), requests, pid);
  const rounds = await repeat(ROUNDS, WARM_ROUNDS, async () => ({
    service: await some(service),
    floor: await some(floor),
  }));
  const of = (whose: keyof Compared) => (what: keyof Load) => median(rounds.map((round) => round[whose][what]));
  return { service: of('service'), floor: of('floor') };
}

interface Goal {
  what: keyof Load;
  unit: string;
  /** Of the floor: at least for a throughput, at most for a time. */
  times: number;
}

/** One of the figures, with what it is measured by. */
function figure(which: string, { service, floor }: Compared, { what, unit, times }: Goal, least: string) {
  const [value, by] = [service(what), floor(what)];
  const isEnough = what === 'throughput' ? value / by >= times : value / by <= times;
  return {
    figure: `${what}, ${which}`,
    value,
    unit,
    floor: by,
    ratio: value / by,
    goal: `${what === 'throughput' ? '≥' : '≤'} ${times} × ${least}`,
    met: isEnough,
    note: what === 'throughput' ? diskNote() : '',
  };
}

const FLOOR = 'a bare Fastify POST with zod and a commit';

export const LATENCY: Benchmark[] = [
  {
    name: 'call-latency',
    about: 'one ioctl by HTTP, journaled: IOMMU_IOAS_MAP and UNMAP in turn, a device attached',
    async run() {
      const bareServer = startChild([BARE_SERVER]);
      const barePort = await portOf(bareServer);
      try {
        return await withService({}, async ({ port, pid }, client) => {
          const { process, ioas, fd } = await createVmm(client, { pages: CONNECTIONS, attached: true });
          const service = await target(pid, port, (slot) => mapAndUnmap(`${process}/calls`, { fd, ioas, slot }));
          const bare = await target(bareServer.pid!, barePort, (slot) => mapAndUnmap('/calls', { fd, ioas, slot }));
          const one = await compare(1, service, bare);
          const many = await compare(CONNECTIONS, service, bare);
          for (const connection of [...service.connections, ...bare.connections]) connection.close();
          const [first, all] = ['1 connection', `${CONNECTIONS} connections`];
          return [
            figure(first, one, { what: 'throughput', unit: 'calls/s', times: 0.6 }, FLOOR),
            figure(first, one, { what: 'p50', unit: 'ms', times: 1.6 }, FLOOR),
            figure(first, one, { what: 'cpu', unit: 'µs', times: 2 }, FLOOR),
            figure(all, many, { what: 'throughput', unit: 'calls/s', times: 0.5 }, FLOOR),
            figure(all, many, { what: 'p99', unit: 'ms', times: 3 }, FLOOR),
          ];
        });
      } finally {
        await stopChild(bareServer, 'SIGTERM');
      }
    },
  },
  {
    name: 'query-latency',
    about: 'the state of a host by HTTP, beside /livez of the same service',
    async run() {
      return await withService({}, async ({ port, pid }, client) => {
        const { host } = await createVmm(client, { pages: 1, attached: true });
        const query = await target(pid, port, () => [encodeRequest('GET', host, KEY)]);
        const livez = await target(pid, port, () => [encodeRequest('GET', '/livez', KEY)]);
        const compared = await compare(1, query, livez);
        for (const connection of [...query.connections, ...livez.connections]) connection.close();
        return [figure('1 connection', compared, { what: 'p50', unit: 'ms', times: 1.5 }, '/livez')];
      });
    },
  },
];
