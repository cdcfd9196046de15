/** Batches of maps and unmaps over HTTP, journaled, with a device attached: figures an operation. */
import {
  DENSE,
  inOrder,
  type Layout,
  mapColumns,
  mapObjects,
  mapRun,
  shuffled,
  unmapColumns,
  unmapObjects,
  unmapRange,
} from './bodies.ts';
import type { Client } from './client.ts';
import { type Benchmark, diskNote, median, now, once, repeat, timed } from './harness.ts';
import { withService } from './service.ts';
import { createVmm, encodeBatch, IOVA, MEMORY, PAGE, sendBatch, type Vmm } from './vmm.ts';

const COUNT = 100_000;
const MANY = 1_000_000;
/** Batches until V8 has compiled what reads and applies them as well as it can. */
const WARM = 30;
/** What the kernel itself takes, as user-mode Linux with the mock domain: 4 KiB IOMMU_IOAS_MAP without and with one. */
const KERNEL_MAP_NS = 375;
const KERNEL_MAP_DOMAIN_NS = 1255;

/** Nanoseconds an operation. */
interface Costs {
  map: number;
  mapFloor: number;
  unmap: number;
  unmapFloor: number;
  note: string;
}

/** Nanoseconds an operation that JSON.parse alone takes for a body. */
function parseFloor(body: Buffer, operations: number): () => number {
  const text = body.toString();
  return () => {
    const start = now();
    JSON.parse(text);
    return ((now() - start) * 1e6) / operations;
  };
}

interface Bodies {
  map: Buffer;
  unmap: Buffer;
  count: number;
}

/** Maps and unmaps the same again and again; floors in between. */
async function measure(client: Client, vmm: Vmm, { map, unmap, count }: Bodies): Promise<Costs> {
  const mapRequest = encodeBatch(client, vmm, map);
  const unmapRequest = encodeBatch(client, vmm, unmap);
  const parseMap = parseFloor(map, count);
  const parseUnmap = parseFloor(unmap, count);
  const each = (milliseconds: number): number => (milliseconds * 1e6) / count;
  const runs = await repeat(9, WARM, async () => ({
    map: each(await timed(() => sendBatch(client, mapRequest, count))),
    mapFloor: parseMap(),
    unmap: each(await timed(() => sendBatch(client, unmapRequest, count))),
    unmapFloor: parseUnmap(),
  }));
  const of = (name: keyof (typeof runs)[number]): number => median(runs.map((run) => run[name]));
  return {
    map: of('map'),
    mapFloor: of('mapFloor'),
    unmap: of('unmap'),
    unmapFloor: of('unmapFloor'),
    note: diskNote(),
  };
}

const objects = once(() =>
  withService({}, async (_, client) => {
    const vmm = await createVmm(client, { pages: COUNT, attached: true });
    const pages = inOrder(COUNT);
    return measure(client, vmm, { map: mapObjects(pages), unmap: unmapObjects(pages), count: COUNT });
  }),
);

const columns = once(() =>
  withService({}, async (_, client) => {
    const vmm = await createVmm(client, { pages: COUNT, attached: true });
    const pages = inOrder(COUNT);
    return measure(client, vmm, { map: mapColumns(pages), unmap: unmapColumns(pages), count: COUNT });
  }),
);

interface Goal {
  /** Part of the speed of JSON.parse. */
  part: number;
  nanoseconds: number;
}

function figure(value: number, floor: number, { part, nanoseconds }: Goal, note: string) {
  const ratio = floor / value;
  return {
    figure: '',
    value,
    unit: 'ns/op',
    floor,
    ratio,
    goal: `≥ ${part} × JSON.parse and < ${nanoseconds} ns`,
    met: ratio >= part && value < nanoseconds,
    note: `floor: JSON.parse alone of the same body; ${note}`,
  };
}

const OBJECTS_GOAL: Goal = { part: 0.5, nanoseconds: KERNEL_MAP_DOMAIN_NS };

const runs = once(() =>
  withService({}, async (_, client) => {
    const vmm = await createVmm(client, { pages: MANY, attached: true });
    const map = encodeBatch(client, vmm, mapRun(MANY));
    const unmap = encodeBatch(client, vmm, unmapRange(MANY * PAGE));
    const times = await repeat(5, 2, async () => ({
      map: await timed(() => sendBatch(client, map, MANY)),
      unmap: await timed(() => sendBatch(client, unmap, 1)),
      floor: bareArrays(MANY),
    }));
    return {
      map: median(times.map((time) => time.map)),
      unmap: median(times.map((time) => time.unmap)),
      floor: median(times.map((time) => time.floor)),
      note: diskNote(),
    };
  }),
);

/** Writes an area of a page as words: its first and last IOVA, its memory, its access. */
function writeArea(words: Uint32Array, at: number, iova: number, user: number): void {
  words[at] = Math.floor(iova / 2 ** 32);
  words[at + 1] = iova >>> 0;
  words[at + 2] = Math.floor((iova + PAGE - 1) / 2 ** 32);
  words[at + 3] = (iova + PAGE - 1) >>> 0;
  words[at + 4] = Math.floor(user / 2 ** 32);
  words[at + 5] = user >>> 0;
  words[at + 6] = 1;
}

/** Milliseconds to write an area of 28 bytes and an entry of 8 bytes for each mapping, without asking anything. */
function bareArrays(count: number): number {
  const areas = new Uint32Array(count * 7);
  const entries = new Float64Array(count);
  areas.fill(1);
  entries.fill(1);
  const start = now();
  for (let index = 0, at = 0; index < count; index++, at += 7) {
    const iova = IOVA + index * PAGE;
    const start = MEMORY + index * PAGE;
    writeArea(areas, at, iova, start);
    entries[index] = start;
  }
  return now() - start;
}

const AREAS_OF_A_BLOCK = 64;
const WORDS_OF_AN_AREA = 7;

/**
 * Nanoseconds of an insertion at these pages among areas in typed arrays: each lies in a block, where those behind it make room,
 * and has an entry in a table; without asking anything.
 */
function bareInsertion(pages: Uint32Array, areas: number): () => number {
  const blockWords = 2 * AREAS_OF_A_BLOCK * WORDS_OF_AN_AREA;
  const blocks = new Uint32Array((areas / AREAS_OF_A_BLOCK) * blockWords).fill(1);
  const entries = new Float64Array(BETWEEN * areas).fill(1);
  return () => {
    const counts = new Uint8Array(areas / AREAS_OF_A_BLOCK).fill(AREAS_OF_A_BLOCK);
    const start = now();
    for (const page of pages) {
      const block = Math.floor(page / AREAS_OF_A_BLOCK);
      const first = block * blockWords;
      const at = first + (page % AREAS_OF_A_BLOCK) * WORDS_OF_AN_AREA;
      blocks.copyWithin(at + WORDS_OF_AN_AREA, at, first + counts[block]! * WORDS_OF_AN_AREA);
      const user = BETWEEN_THEM.userVa(page);
      writeArea(blocks, at, BETWEEN_THEM.iova(page), user);
      counts[block] = Math.min(counts[block]! + 1, 2 * AREAS_OF_A_BLOCK - 1);
      entries[BETWEEN * page + 1] = user;
    }
    return ((now() - start) * 1e6) / pages.length;
  };
}

const BETWEEN = 2;

/** Existing areas are the even pages, new ones are odd pages, in no order. */
const BETWEEN_THEM: Layout = {
  iova: (page) => DENSE.iova(page * BETWEEN + 1),
  userVa: (page) => DENSE.userVa(page),
};

async function random() {
  return withService({}, async (_, client) => {
    const vmm = await createVmm(client, { pages: MANY, attached: true });
    await sendBatch(client, encodeBatch(client, vmm, mapRun(MANY, BETWEEN)), MANY);
    const pages = shuffled(inOrder(MANY)).subarray(0, COUNT);
    const [map, unmap] = [mapColumns(pages, BETWEEN_THEM), unmapColumns(pages, BETWEEN_THEM)];
    const costs = await measure(client, vmm, { map, unmap, count: COUNT });
    const insert = bareInsertion(pages, MANY);
    return { ...costs, floor: median(await repeat(9, 3, insert)) };
  });
}

export const BATCHES: Benchmark[] = [
  {
    name: 'map-objects',
    about: '100,000 maps of 4 KiB, one HTTP batch of objects',
    async run() {
      const { map, mapFloor, note } = await objects();
      return [figure(map, mapFloor, OBJECTS_GOAL, note)];
    },
  },
  {
    name: 'map-columns',
    about: 'the same as columns',
    async run() {
      const { map, mapFloor, note } = await columns();
      return [figure(map, mapFloor, { part: 0.4, nanoseconds: KERNEL_MAP_NS }, note)];
    },
  },
  {
    name: 'map-runs',
    about: '1,000,000 maps as one run',
    async run() {
      const { map, floor, note } = await runs();
      const value = (MANY / map) * 1000;
      return [
        {
          figure: '',
          value,
          unit: 'maps/s',
          floor: (MANY / floor) * 1000,
          ratio: floor / map,
          goal: '≥ 5,000,000 maps/s',
          met: value >= 5e6,
          note: `floor: writing areas and entries into typed arrays, and nothing else; ${note}`,
        },
      ];
    },
  },
  {
    name: 'unmap-objects',
    about: '100,000 unmaps of 4 KiB, one HTTP batch of objects',
    async run() {
      const { unmap, unmapFloor, note } = await objects();
      return [figure(unmap, unmapFloor, OBJECTS_GOAL, note)];
    },
  },
  {
    name: 'unmap-all',
    about: 'one unmap of the whole range of 1,000,000 areas',
    async run() {
      const { unmap, floor, note } = await runs();
      const each = (milliseconds: number): number => (milliseconds * 1e6) / MANY;
      return [
        {
          figure: '',
          value: each(unmap),
          unit: 'ns/area',
          floor: each(floor),
          ratio: floor / unmap,
          goal: '< 280 ns an area',
          met: each(unmap) < 280,
          note: `floor: writing areas and entries into typed arrays, and nothing else; ${note}`,
        },
      ];
    },
  },
  {
    name: 'map-random',
    about: '100,000 maps as columns, in random order, into 1,000,000 areas',
    async run() {
      const { map, floor, note } = await random();
      return [
        {
          figure: '',
          value: 1e9 / map,
          unit: 'maps/s',
          floor: 1e9 / floor,
          ratio: floor / map,
          goal: '≥ 0.3 × bare insertion into typed arrays',
          met: floor / map >= 0.3,
          note: `floor: random insertion into typed arrays of that size, and nothing else; ${note}`,
        },
      ];
    },
  },
];
