/** What areas and page tables cost as they grow, measured in the engine. */
import { hash } from 'node:crypto';
import { digestBytes } from '../src/host/state/digest.ts';
import { CODEC } from '../src/host/state/state.ts';
import { digestOf } from '../src/lanes/state-digest.ts';
import { inOrder, shuffled } from './bodies.ts';
import { EngineVmm, type Operation } from './engine.ts';
import { type Benchmark, median, now, repeat, timed } from './harness.ts';
import { hex, IOVA, MEMORY, PAGE } from './vmm.ts';

const SMALL = 40_000;
const LARGE = 4_000_000;
const OPERATIONS = 20_000;

/** Areas are the even pages. */
function mapped(areas: number): EngineVmm {
  const vmm = new EngineVmm({ pages: areas + OPERATIONS, attached: true });
  vmm.mapPages(areas, 2);
  return vmm;
}

/** Maps odd pages among so many areas; unmaps take them away again. */
function between(areas: number, inOrderOfIova: boolean): { maps: Operation[]; unmaps: Operation[] } {
  const step = Math.floor(areas / OPERATIONS);
  const places = inOrderOfIova ? inOrder(OPERATIONS) : shuffled(inOrder(OPERATIONS)).map((place) => place * step);
  const maps = Array.from(places, (place, index) => ({
    op: 'map' as const,
    iova: IOVA + (place * 2 + 1) * PAGE,
    length: PAGE,
    userVa: MEMORY + (areas + index) * PAGE,
  }));
  return { maps, unmaps: maps.map((map) => ({ ...map, op: 'unmap' as const })) };
}

async function growth(inOrderOfIova: boolean, small: EngineVmm, large: EngineVmm) {
  const ofSmall = between(SMALL, inOrderOfIova);
  const ofLarge = between(LARGE, inOrderOfIova);
  const both = (vmm: EngineVmm, { maps, unmaps }: ReturnType<typeof between>): number =>
    (vmm.time(maps) + vmm.time(unmaps)) / 2;
  const times = await repeat(11, 3, () => ({ small: both(small, ofSmall), large: both(large, ofLarge) }));
  const value = median(times.map((time) => time.large));
  const floor = median(times.map((time) => time.small));
  return {
    figure: inOrderOfIova ? 'in order' : 'at random places',
    value,
    unit: 'ns/op',
    floor,
    ratio: value / floor,
    goal: '≤ 2 × at 40,000 areas',
    met: value <= 2 * floor,
    note: 'maps and unmaps between areas, a device attached; floor: the same at 40,000 areas',
  };
}

const AREAS = 20_000;
const CHOSEN = 1000;
const MOST_PAGES = 16;

/** Numbers that are always the same, from 0 to `most` - 1. */
function numbers(count: number, most: number): number[] {
  let seed = 7;
  return Array.from({ length: count }, () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * most);
  });
}

interface Span {
  iova: number;
  length: number;
}

const chosen = (length: number): Operation => ({ op: 'map', iova: null, length, userVa: MEMORY });

/** Linux's own way (iopt_alloc_iova): from the lowest area on, until a hole fits. Memory is aligned well here. */
function searchLinearly(areas: readonly Span[], length: number): { iova: number; at: number } {
  const alignment = 2 ** Math.ceil(Math.log2(length));
  let end = PAGE;
  for (let at = 0; at <= areas.length; at++) {
    const iova = Math.ceil(end / alignment) * alignment;
    const area = areas[at];
    if (!area || iova + length <= area.iova) return { iova, at };
    end = Math.max(end, area.iova + area.length);
  }
  throw new Error('there is always room behind the last area');
}

/** What is mapped before, and what is asked for then. */
interface Choice {
  areas: Span[];
  wanted: number[];
}

/** Pages with a page between them, and wishes that fit into no such hole: the search has to go to the end. */
function packed(vmm: EngineVmm): Choice {
  const areas = Array.from({ length: AREAS }, (_, index) => ({ iova: PAGE * (1 + index * 2), length: PAGE }));
  vmm.perform(areas.map((area) => ({ op: 'map', userVa: MEMORY, ...area })));
  return { areas, wanted: Array.from({ length: CHOSEN }, () => 2 * PAGE) };
}

/** Areas of all lengths, with holes where a third of them have gone, and wishes of all lengths. */
function fragmented(vmm: EngineVmm): Choice {
  const lengths = numbers(AREAS * 1.5, MOST_PAGES).map((pages) => (pages + 1) * PAGE);
  const iovas = vmm.perform(lengths.map(chosen));
  const all = lengths.map((length, index) => ({ iova: iovas[index]!, length }));
  const gone = all.filter((_, index) => index % 3 === 1);
  vmm.perform(gone.map((area) => ({ op: 'unmap', userVa: 0, ...area })));
  const areas = all.filter((_, index) => index % 3 !== 1).toSorted((a, b) => a.iova - b.iova);
  return { areas, wanted: numbers(CHOSEN, MOST_PAGES).map((pages) => (pages + 1) * PAGE) };
}

async function chooseIova(figure: string, make: (vmm: EngineVmm) => Choice) {
  const vmm = new EngineVmm({ pages: MOST_PAGES, attached: false });
  const { areas, wanted } = make(vmm);
  const start = now();
  const expected = wanted.map((length) => {
    const { iova, at } = searchLinearly(areas, length);
    areas.splice(at, 0, { iova, length });
    return iova;
  });
  const floor = ((now() - start) * 1e6) / CHOSEN;
  const maps = wanted.map(chosen);
  const unmaps = wanted.map((length, index) => ({ op: 'unmap' as const, iova: expected[index]!, length, userVa: 0 }));
  const answers = vmm.perform(maps);
  const differences = answers.filter((iova, index) => iova !== expected[index]).length;
  vmm.perform(unmaps);
  const value = median(
    await repeat(15, 5, () => {
      const time = vmm.time(maps);
      vmm.time(unmaps);
      return time;
    }),
  );
  return {
    figure,
    value,
    unit: 'ns/op',
    floor,
    ratio: value / floor,
    goal: '< 2,000 ns, identical answers',
    met: value < 2000 && differences === 0,
    note: `floor: a linear search, as Linux has it; ${differences} of ${CHOSEN} answers differ from it`,
  };
}

const MAPPINGS = 1_000_000;
const BATCH = 100_000;
const DEVICE = '0000:01:00.0';

/** A batch that touches no page of an engine, beside the same on a host without one: rounds in turn. */
async function engines() {
  const [value, floor] = [mapped(MAPPINGS), mapped(MAPPINGS)];
  const ranges = [{ iova: hex(IOVA), length: hex(MAPPINGS * PAGE) }];
  const engine = {
    op: 'engine.start' as const,
    bdf: DEVICE,
    access: 'both' as const,
    ranges,
    bytesPerSecond: '1073741824',
  };
  const started = value.host.execute(engine).answer;
  if (started.kind !== 'ok') throw new Error(JSON.stringify(started));
  const maps = Array.from({ length: BATCH }, (_, page) => ({
    op: 'map' as const,
    iova: IOVA + (2 * MAPPINGS + page) * PAGE,
    length: PAGE,
    userVa: MEMORY + page * PAGE,
  }));
  const unmaps = maps.map((map) => ({ ...map, op: 'unmap' as const }));
  const both = (vmm: EngineVmm): number => (vmm.time(maps) + vmm.time(unmaps)) / 2;
  const times = await repeat(21, 5, () => ({ value: both(value), floor: both(floor) }));
  const [beside, without] = [median(times.map((time) => time.value)), median(times.map((time) => time.floor))];
  return {
    figure: 'beside an engine',
    value: beside,
    unit: 'ns/op',
    floor: without,
    ratio: beside / without,
    goal: '≤ 1.1 × without one',
    met: beside <= 1.1 * without,
    note: `floor: the same without an engine; ${BATCH} maps of 4 KiB and their unmaps, an engine over ${MAPPINGS} pages elsewhere`,
  };
}

async function digest() {
  const { host } = mapped(MAPPINGS);
  let bytes = 0;
  const count = (more: Uint8Array): void => {
    bytes += more.byteLength;
  };
  for (const steps = digestBytes(host, CODEC, count); !steps.next().done; );
  const same = Buffer.alloc(bytes, 7);
  const times = await repeat(11, 3, async () => ({
    value: await timed(() => digestOf(host)),
    floor: await timed(() => hash('sha256', same)),
  }));
  const value = median(times.map((time) => time.value));
  const floor = median(times.map((time) => time.floor));
  return {
    figure: '',
    value,
    unit: 'ms',
    floor,
    ratio: value / floor,
    goal: '≤ 100 ms',
    met: value <= 100,
    note: `floor: SHA-256 of as many bytes (${(bytes / 2 ** 20).toFixed(0)} MiB), in one piece`,
  };
}

export const STRUCTURES: Benchmark[] = [
  {
    name: 'growth',
    about: 'an operation at 4,000,000 areas, and at 40,000',
    async run() {
      const small = mapped(SMALL);
      const large = mapped(LARGE);
      return [await growth(true, small, large), await growth(false, small, large)];
    },
  },
  {
    name: 'choose-iova',
    about: 'a map where the kernel chooses the IOVA, at 20,000 areas',
    run: async () => [await chooseIova('no hole fits', packed), await chooseIova('holes of all sizes', fragmented)],
  },
  {
    name: 'engines',
    about: 'a batch beside an engine over 1,000,000 pages that it does not touch',
    run: async () => [await engines()],
  },
  {
    name: 'digest',
    about: 'the digest of a host with 1,000,000 mappings',
    run: async () => [await digest()],
  },
];
