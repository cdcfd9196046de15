/** Batches that a process asks for, in all their shapes. */
import type { Answer, Operation } from './operations.ts';
import { includes, operation } from './operations.ts';
import type { Random } from './random.ts';

const PAGE = 4096;
/** Where only batches map, so that most of their maps succeed. */
const IOVA = 0x2_0000_0000;
const PAGES = 8192;
const MOST_ROWS = 1500;
/** A batch of so many operations goes on for many slices. */
const LARGE_ROWS = 60_000;

/** An IO address space, who has it, and what can be mapped. */
export interface IoasPlace {
  pid: number;
  fd: number;
  ioas: number;
  memory: readonly number[];
  memfds: readonly number[];
}

type Row = Record<string, string | number | boolean>;

export function batchOf(place: IoasPlace, random: Random): Operation {
  const onError = random.pick(['stop', 'continue', 'continue', 'rollback'])!;
  const body = { onError, ...shape(place, random) };
  return operation({
    kind: 'batch',
    request: { method: 'POST', path: pathOf(place), body },
    expects: (stored) => includes(stored, { op: 'batch', ...idsOf(place), onError }),
  });
}

/** The same as lines: in pieces, each acknowledged by itself. */
export function linesOf(place: IoasPlace, random: Random): Operation {
  const onError = random.pick(['stop', 'continue'])!;
  const lines = Array.from({ length: random.between(2, 5) }, () => {
    const rows = Array.from({ length: random.between(1, 200) }, () => row(place, random));
    return rows.map((operation) => `${JSON.stringify(operation)}\n`).join('');
  });
  return operation({
    kind: 'lines',
    request: { method: 'POST', path: `${pathOf(place)}?onError=${onError}`, lines },
    expects: (stored) => includes(stored, { op: 'batch', ...idsOf(place), onError }),
  });
}

/** How many lines an answer acknowledges, as far as it has come. */
export function acknowledgedBy(line: string): number {
  return (JSON.parse(line) as { acknowledged?: number }).acknowledged ?? 0;
}

/** The last line of a whole answer. */
export const endOf = ({ body }: Answer): Record<string, unknown> => (body as Record<string, unknown>[]).at(-1)!;

const idsOf = ({ pid, fd, ioas }: IoasPlace) => ({ pid, fd, ioas });
const pathOf = ({ pid, fd, ioas }: IoasPlace): string => `/processes/${pid}/iommufds/${fd}/ioases/${ioas}/batch`;

function shape(place: IoasPlace, random: Random): object {
  switch (
    random.weighted([
      [4, 'objects'],
      [3, 'columns'],
      [3, 'runs'],
      [1, 'large'],
    ] as const)
  ) {
    case 'objects':
      return { operations: Array.from({ length: random.between(1, 300) }, () => row(place, random)) };
    case 'columns':
      return { columns: columns(place, random, random.between(1, MOST_ROWS)) };
    case 'large':
      return { columns: columns(place, random, LARGE_ROWS) };
    case 'runs':
      return { runs: Array.from({ length: random.between(1, 4) }, () => run(place, random)) };
  }
}

const iovaOf = (page: number): number => IOVA + page * PAGE;
const memoryOf = ({ memory }: IoasPlace, random: Random): number =>
  (random.pick(memory) ?? 0x1000) + random.below(200) * PAGE;

function row(place: IoasPlace, random: Random): Row {
  const iova = iovaOf(random.below(PAGES));
  const length = random.between(1, 4) * PAGE;
  const memfd = random.pick(place.memfds);
  switch (
    random.weighted([
      [5, 'map'],
      [3, 'map-file'],
      [3, 'unmap'],
    ] as const)
  ) {
    case 'map':
      return { op: 'map', length, userVa: memoryOf(place, random), ...(random.chance(0.9) && { iova }) };
    case 'map-file':
      return {
        op: 'map-file',
        iova,
        length,
        fd: memfd ?? 99,
        start: random.below(8) * PAGE,
        writeable: random.chance(0.8),
      };
    case 'unmap':
      return { op: 'unmap', iova, length };
  }
}

/** Each page is mapped and then unmapped, but for the last ones. */
function columns(place: IoasPlace, random: Random, rows: number): Record<string, unknown> {
  const first = random.below(PAGES);
  const userVa = memoryOf(place, random);
  const stays = (index: number): boolean => index >= rows - 40;
  const unmaps = (index: number): boolean => index % 2 === 1 && !stays(index);
  const indexes = Array.from({ length: rows }, (_, index) => index);
  return {
    op: indexes.map((index) => (unmaps(index) ? 'unmap' : 'map')),
    iova: indexes.map((index) => iovaOf((first + (stays(index) ? index : index >>> 1)) % PAGES)),
    length: PAGE,
    userVa: indexes.map((index) => (unmaps(index) ? null : userVa)),
  };
}

function run(place: IoasPlace, random: Random): Row {
  const count = random.between(1, MOST_ROWS);
  const iova = iovaOf(random.below(PAGES - MOST_ROWS));
  if (random.chance(0.4)) return { op: 'unmap', iova, length: PAGE, count };
  return { op: 'map', iova, length: PAGE, count, userVa: memoryOf(place, random), userVaStride: 0 };
}
