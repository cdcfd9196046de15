/** Bodies of batches, in the shapes that a client may choose. */
import { hex, IOVA, MEMORY, PAGE } from './vmm.ts';

export const encode = (body: unknown): Buffer => Buffer.from(JSON.stringify(body));

/** Where the page of this number is mapped, and what is mapped there. Pages may lie apart. */
export interface Layout {
  iova(page: number): number;
  userVa(page: number): number;
}

/** One page beside the other. */
export const DENSE: Layout = {
  iova: (page) => IOVA + page * PAGE,
  userVa: (page) => MEMORY + page * PAGE,
};

export const inOrder = (count: number): Uint32Array => Uint32Array.from({ length: count }, (_, index) => index);

/** Always the same shuffle: a linear congruential generator chooses. */
export function shuffled(pages: Uint32Array): Uint32Array {
  const order = pages.slice();
  let seed = 1;
  for (let at = order.length - 1; at > 0; at--) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const other = Math.floor((seed / 2 ** 32) * (at + 1));
    const value = order[at]!;
    order[at] = order[other]!;
    order[other] = value;
  }
  return order;
}

export function mapObjects(pages: Uint32Array, { iova, userVa }: Layout = DENSE): Buffer {
  const operations = Array.from(pages, (page) => ({
    op: 'map',
    iova: hex(iova(page)),
    length: PAGE,
    userVa: hex(userVa(page)),
  }));
  return encode({ operations });
}

export function unmapObjects(pages: Uint32Array, { iova }: Layout = DENSE): Buffer {
  return encode({ operations: Array.from(pages, (page) => ({ op: 'unmap', iova: hex(iova(page)), length: PAGE })) });
}

export function mapColumns(pages: Uint32Array, { iova, userVa }: Layout = DENSE): Buffer {
  const column = (value: (page: number) => number): string[] => Array.from(pages, (page) => hex(value(page)));
  return encode({ columns: { op: 'map', iova: column(iova), length: PAGE, userVa: column(userVa) } });
}

export function unmapColumns(pages: Uint32Array, { iova }: Layout = DENSE): Buffer {
  return encode({ columns: { op: 'unmap', iova: Array.from(pages, (page) => hex(iova(page))), length: PAGE } });
}

/** Pages in order, each `stride` pages behind the one before. */
export function mapRun(count: number, stride = 1): Buffer {
  const run = { op: 'map', iova: hex(IOVA), length: PAGE, userVa: hex(MEMORY), count, stride: stride * PAGE };
  return encode({ runs: [{ ...run, userVaStride: PAGE }] });
}

/** One operation, whatever it covers. */
export function unmapRange(bytes: number, first = IOVA): Buffer {
  return encode({ operations: [{ op: 'unmap', iova: hex(first), length: hex(bytes) }] });
}
