/**
 * A recorded NVMe workload, replayed as batches: what an operation costs when maps and unmaps come as they do. Scattered
 * memory is mapped in pieces and unmapped as a whole.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { encode, unmapRange } from './bodies.ts';
import { Client } from './client.ts';
import { type Benchmark, diskNote, median, repeat, timed } from './harness.ts';
import { portOf, startChild, stopChild, withService } from './service.ts';
import { createVmm, encodeBatch, hex, MEMORY, PAGE, sendBatch } from './vmm.ts';

const BARE_SERVER = fileURLToPath(new URL('./bare-server.ts', import.meta.url));

const FIXTURE = new URL('./fixtures/nvme-vtd-strict.jsonl.gz', import.meta.url);
const BATCH = 1000;
const ROUNDS = 15;
/** The first ones are slower, here and there: programs are compiled. */
const WARM_ROUNDS = 8;
/** All recorded IOVAs lie below. */
const SPACE = 2 ** 32;

interface Event {
  op: 'map' | 'unmap';
  iova: number;
  size: number;
}

function readEvents(): Event[] {
  const lines = gunzipSync(readFileSync(FIXTURE)).toString().trimEnd().split('\n');
  return lines.map((line) => {
    const { op, iova, size } = JSON.parse(line) as { op: Event['op']; iova: string; size: number };
    return { op, iova: Number(iova), size };
  });
}

function bodies(events: readonly Event[]): { body: Buffer; count: number }[] {
  const operations = events.map(({ op, iova, size }) => ({
    op,
    iova: hex(iova),
    length: size,
    ...(op === 'map' && { userVa: hex(MEMORY + iova) }),
  }));
  const batches = Math.ceil(operations.length / BATCH);
  return Array.from({ length: batches }, (_, index) => {
    const part = operations.slice(index * BATCH, (index + 1) * BATCH);
    return { body: encode({ operations: part }), count: part.length };
  });
}

async function replay() {
  const events = readEvents();
  const parts = bodies(events);
  const bareServer = startChild([BARE_SERVER]);
  try {
    const bare = await Client.open({ port: await portOf(bareServer), key: '' });
    const floors = parts.map(({ body, count }) => ({ request: encodeBatch(bare, { batch: '/batch' }, body), count }));
    return await withService({}, async (_, client) => {
      const vmm = await createVmm(client, { pages: SPACE / PAGE, attached: true });
      const requests = parts.map(({ body, count }) => ({ request: encodeBatch(client, vmm, body), count }));
      // What the driver keeps.
      const rest = encodeBatch(client, vmm, unmapRange(SPACE, 0));
      const runs = await repeat(ROUNDS, WARM_ROUNDS, async () => {
        const service = await timed(() => sendAll(client, requests));
        await sendBatch(client, rest, 1);
        return { service, floor: await timed(() => sendAll(bare, floors)) };
      });
      bare.close();
      const each = (what: 'service' | 'floor'): number => (median(runs.map((run) => run[what])) * 1e6) / events.length;
      return { value: each('service'), floor: each('floor'), count: events.length };
    });
  } finally {
    await stopChild(bareServer, 'SIGTERM');
  }
}

/** One after another. */
async function sendAll(client: Client, requests: readonly { request: Buffer; count: number }[]): Promise<void> {
  for (const { request, count } of requests) await sendBatch(client, request, count);
}

export const NVME: Benchmark[] = [
  {
    name: 'replay-nvme',
    about: 'a recorded NVMe workload as batches of 1,000 objects, one after another',
    async run() {
      const { value, floor, count } = await replay();
      return [
        {
          figure: '',
          value,
          unit: 'ns/op',
          floor,
          ratio: value / floor,
          goal: '≤ 2 × a bare server that parses and commits',
          met: value <= 2 * floor,
          note: `floor: the same requests to a bare Fastify that parses them and commits a row of that size; ${count} recorded maps and unmaps; ${diskNote()}`,
        },
      ];
    },
  },
];
