/** Small calls over HTTP: how many in a second, and how long each takes, beside a bare server. */
import { fileURLToPath } from 'node:url';
import { Connection, encodeRequest } from './client.ts';
import { type Benchmark, diskNote, median, now, quantile, repeat } from './harness.ts';
import { KEY, portOf, startChild, stopChild, withService } from './service.ts';
import { createVmm, hex, IOVA, MEMORY, PAGE } from './vmm.ts';

const BARE_SERVER = fileURLToPath(new URL('./bare-server.ts', import.meta.url));
const ROUND_MS = 1500;
const ROUNDS = 5;
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

interface Load {
  /** Requests a second. */
  throughput: number;
  /** Milliseconds. */
  p50: number;
  p99: number;
}

const ERRNO = Buffer.from('"errno"');

/** One request after another on each connection, for a while; ends with every connection at the start of its turn. */
async function load(connections: readonly Connection[], requests: readonly Buffer[][]): Promise<Load> {
  const times: number[] = [];
  const start = now();
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
  return { throughput: (times.length / (now() - start)) * 1000, p50: median(times), p99: quantile(times, 0.99) };
}

interface Target {
  connections: Connection[];
  requests: Buffer[][];
}

async function target(port: number, requests: (slot: number) => Buffer[]): Promise<Target> {
  const slots = Array.from({ length: CONNECTIONS }, (_, slot) => slot);
  return {
    connections: await Promise.all(slots.map(() => Connection.open(port))),
    requests: slots.map(requests),
  };
}

async function compare(count: number, service: Target, bare: Target) {
  const some = ({ connections, requests }: Target): Promise<Load> => load(connections.slice(0, count), requests);
  const rounds = await repeat(ROUNDS, 1, async () => ({ service: await some(service), bare: await some(bare) }));
  const of = (whose: 'service' | 'bare', what: keyof Load): number => median(rounds.map((round) => round[whose][what]));
  const which = count === 1 ? '1 connection' : `${count} connections`;
  const throughput = of('service', 'throughput') / of('bare', 'throughput');
  const p50 = of('service', 'p50') / of('bare', 'p50');
  return [
    {
      figure: `throughput, ${which}`,
      value: of('service', 'throughput'),
      unit: 'calls/s',
      floor: of('bare', 'throughput'),
      ratio: throughput,
      goal: '≥ 0.5 × a bare Fastify POST with zod',
      met: throughput >= 0.5,
      note: diskNote(),
    },
    {
      figure: `p50, ${which}`,
      value: of('service', 'p50'),
      unit: 'ms',
      floor: of('bare', 'p50'),
      ratio: p50,
      goal: '≤ 2 × a bare Fastify POST with zod',
      met: p50 <= 2,
      note: `p99 ${of('service', 'p99').toFixed(2)} ms, of the bare server ${of('bare', 'p99').toFixed(2)} ms`,
    },
  ];
}

export const LATENCY: Benchmark[] = [
  {
    name: 'call-latency',
    about: 'one ioctl by HTTP, journaled: IOMMU_IOAS_MAP and UNMAP in turn, a device attached',
    async run() {
      const bareServer = startChild([BARE_SERVER]);
      const barePort = await portOf(bareServer);
      try {
        return await withService({}, async ({ port }, client) => {
          const { process, ioas, fd } = await createVmm(client, { pages: CONNECTIONS, attached: true });
          const service = await target(port, (slot) => mapAndUnmap(`${process}/calls`, { fd, ioas, slot }));
          const bare = await target(barePort, (slot) => mapAndUnmap('/calls', { fd, ioas, slot }));
          const figures = [...(await compare(1, service, bare)), ...(await compare(CONNECTIONS, service, bare))];
          for (const connection of [...service.connections, ...bare.connections]) connection.close();
          return figures;
        });
      } finally {
        await stopChild(bareServer, 'SIGKILL');
      }
    },
  },
];
