/**
 * A recorded NVMe workload, replayed as batches: what an operation costs when maps and unmaps come as they do. Scattered
 * memory is mapped in pieces and unmapped as a whole.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { objects } from './batches.ts';
import { encode, unmapRange } from './bodies.ts';
import { type Benchmark, diskNote, median, repeat, timed } from './harness.ts';
import { withService } from './service.ts';
import { createVmm, encodeBatch, hex, MEMORY, PAGE, sendBatch } from './vmm.ts';

const FIXTURE = new URL('./fixtures/nvme-vtd-strict.jsonl.gz', import.meta.url);
const BATCH = 1000;
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
  return withService({}, async (_, client) => {
    const vmm = await createVmm(client, { pages: SPACE / PAGE, attached: true });
    const requests = bodies(events).map(({ body, count }) => ({ request: encodeBatch(client, vmm, body), count }));
    // What the driver keeps.
    const rest = encodeBatch(client, vmm, unmapRange(SPACE, 0));
    const times = await repeat(5, 2, async () => {
      const time = await timed(async () => {
        for (const { request, count } of requests) await sendBatch(client, request, count);
      });
      await sendBatch(client, rest, 1);
      return time;
    });
    return {
      each: (median(times) * 1e6) / events.length,
      note: `${events.length} recorded maps and unmaps; ${diskNote()}`,
    };
  });
}

export const NVME: Benchmark[] = [
  {
    name: 'replay-nvme',
    about: 'a recorded NVMe workload as batches of 1,000 objects, one after another',
    async run() {
      const { map } = await objects();
      const { each, note } = await replay();
      return [
        {
          figure: '',
          value: each,
          unit: 'ns/op',
          floor: map,
          ratio: each / map,
          goal: '≤ 1.3 × map-objects',
          met: each <= 1.3 * map,
          note: `floor: map-objects; ${note}`,
        },
      ];
    },
  },
];
