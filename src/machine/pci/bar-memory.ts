/**
 * The memory behind the base address registers of a function: bytes that were stored, zero before, but for the table of
 * MSI-X, whose vectors are masked then. Only pages that were written take room. There is no model of a device behind it, but for
 * `edu`: a register reads what was written last. Offsets are bytes from the beginning of the BAR, below 2^40.
 */
import { PAGE_SIZE } from '../address.ts';
import type { BarSpec } from '../spec.ts';
import { EDU_BAR, eduBytes, eduRegisters, holdsInterrupts, isEdu, type Words, writeEdu } from './edu.ts';
import type { PciFunction } from './function.ts';
import { type Extent, msixOf, pendingIn, tableIn, VECTOR_BYTES, VECTOR_CONTROL } from './msix.ts';
import { readRom, romLength } from './rom.ts';

/** The number of the expansion ROM, which nothing is stored in. */
export const ROM_BAR = 6;
/** More than the pages of any BAR, so that its number and that of a page make one number. */
const PAGES = 2 ** 32;

/** The base address register of this number, 0 to 5, or the expansion ROM, 6; undefined: the function has none. */
export function barOf({ config }: PciFunction, index: number): BarSpec | undefined {
  return config.spec.bars.find((bar) => bar.index === index);
}

export const barSize = (bar: BarSpec): number => Number(BigInt(bar.size));

/** What hardware answers from byte `offset` on: ones where there is nothing, behind the end. */
export function readBar(fn: PciFunction, bar: BarSpec, offset: number, bytes: Uint8Array): void {
  const size = barSize(bar);
  if (bar.index === ROM_BAR) {
    readRom(fn.spec, romLength(size), offset, bytes);
    return;
  }
  bytes.fill(0xff);
  for (const { page, at, start, end } of pieces(offset, Math.min(size, offset + bytes.length))) {
    const stored = fn.barPages?.get(bar.index * PAGES + page) ?? unwritten(fn, bar.index, page);
    const piece = bytes.subarray(start - offset, end - offset);
    if (stored) piece.set(stored.subarray(at, at + piece.length));
    else piece.fill(0);
  }
}

/**
 * What software stores: bytes behind the end, of the ROM, and the pending bits of MSI-X are as they were. Returns how often
 * the function raises its interrupt by that.
 */
export function writeBar(fn: PciFunction, bar: BarSpec, offset: number, bytes: Uint8Array): number {
  const registers = isEdu(fn) && bar.index === EDU_BAR ? eduBytes(offset, bytes.length) : 0;
  if (registers > 0) {
    writeBarMemory(fn, bar, offset + registers, bytes.subarray(registers));
    return writeEdu(wordsOf(fn, bar), offset, bytes.subarray(0, registers));
  }
  writeBarMemory(fn, bar, offset, bytes);
  return 0;
}

function writeBarMemory(fn: PciFunction, bar: BarSpec, offset: number, bytes: Uint8Array): void {
  for (const { start, end } of outside({ start: offset, end: offset + bytes.length }, pendingIn(msixOf(fn), bar.index)))
    storeInBar(fn, bar, start, bytes.subarray(start - offset, end - offset));
}

/** Whether the function holds INTx by itself. Only `edu` does. */
export function holdsIntx(fn: PciFunction): boolean {
  const bar = isEdu(fn) ? barOf(fn, EDU_BAR) : undefined;
  return bar !== undefined && holdsInterrupts(wordsOf(fn, bar));
}

function wordsOf(fn: PciFunction, bar: BarSpec): Words {
  const bytes = new Uint8Array(4);
  const word = new DataView(bytes.buffer);
  return {
    read(at) {
      readBar(fn, bar, at, bytes);
      return word.getUint32(0, true);
    },
    store(at, value) {
      word.setUint32(0, value, true);
      storeInBar(fn, bar, at, bytes);
    },
  };
}

/** What the device itself stores: pending bits, too. */
export function storeInBar(fn: PciFunction, bar: BarSpec, offset: number, bytes: Uint8Array): void {
  if (bar.index === ROM_BAR) return;
  for (const { page, at, start, end } of pieces(offset, Math.min(barSize(bar), offset + bytes.length))) {
    const piece = bytes.subarray(start - offset, end - offset);
    const key = bar.index * PAGES + page;
    let stored = fn.barPages?.get(key);
    if (!stored) {
      const before = unwritten(fn, bar.index, page);
      if (piece.every((byte, index) => byte === (before?.[at + index] ?? 0))) continue;
      stored = before ?? new Uint8Array(PAGE_SIZE);
      fn.barPages ??= new Map();
      fn.barPages.set(key, stored);
    }
    stored.set(piece, at);
  }
}

/** The parts of `whole` that lie outside `hole`, ascending. */
export function outside(whole: Extent, hole: Extent): Extent[] {
  return [
    { start: whole.start, end: Math.min(whole.end, hole.start) },
    { start: Math.max(whole.start, hole.end), end: whole.end },
  ].filter(({ start, end }) => start < end);
}

/** The parts of [offset, end) by page; `at` is where in its page a part begins. */
function* pieces(offset: number, end: number): Generator<Extent & { page: number; at: number }> {
  for (let start = offset; start < end; ) {
    const at = start % PAGE_SIZE;
    const next = Math.min(end, start - at + PAGE_SIZE);
    yield { page: Math.floor(start / PAGE_SIZE), at, start, end: next };
    start = next;
  }
}

/** A page as it is before something is stored; null: all zeros. */
function unwritten(fn: PciFunction, bar: number, page: number): Uint8Array | null {
  const table = tableIn(msixOf(fn), bar);
  const base = page * PAGE_SIZE;
  const first = Math.max(0, Math.ceil((base - VECTOR_CONTROL - table.start) / VECTOR_BYTES));
  let bytes: Uint8Array | null = null;
  if (isEdu(fn) && bar === EDU_BAR && page === 0) {
    bytes = new Uint8Array(PAGE_SIZE);
    eduRegisters(bytes);
  }
  for (let at = table.start + first * VECTOR_BYTES + VECTOR_CONTROL; at < Math.min(table.end, base + PAGE_SIZE); ) {
    bytes ??= new Uint8Array(PAGE_SIZE);
    bytes[at - base] = 1;
    at += VECTOR_BYTES;
  }
  return bytes;
}
