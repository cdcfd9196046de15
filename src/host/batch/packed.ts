/**
 * Columns as the journal keeps them. A column of one value, or of equal steps, takes a few bytes; any other one its
 * plain words, or half of them where their high halves are the same; the store compresses them. Little endian.
 */
import { WORD } from '../../machine/address.ts';
import { type Columns, Numbers, Words } from './columns.ts';

const VERSION = 2;

/** How a column is written: its first value and its step, all its values, or one high word and all low words. */
const EQUAL_STEPS = 0;
const PLAIN = 1;
const LOW_HALVES = 2;

const HEADER_BYTES = 16;
/** Bytes of a row in a column of words. */
const BYTES_PER_ROW = 8;

type Column = Words | Numbers;

function listOf({ kind, iova, length, start, fd, runs }: Columns): Column[] {
  const columns = [kind, iova, length, start, fd];
  return runs ? [...columns, runs.count, runs.stride, runs.startStride] : columns;
}

/**
 * Packs columns for the journal, and yields after each column that has more than `pause` rows. Header: version, 1 for
 * runs, rows, operations. Each column: how it is written, its rows, and its words.
 */
export function* packInSteps(columns: Columns, pause: number): Generator<void, Uint8Array<ArrayBuffer>> {
  const header = new Uint32Array([VERSION, columns.runs ? 1 : 0, columns.rows, columns.operations]);
  const parts: Uint8Array[] = [bytesOf(header)];
  for (const column of listOf(columns)) {
    const { rows } = column;
    const steps = equalSteps(column);
    if (steps) noteStep(column, steps);
    const halves = steps ? null : lowHalves(column);
    const how = steps ? EQUAL_STEPS : halves ? LOW_HALVES : PLAIN;
    parts.push(bytesOf(new Uint32Array([how, rows])), bytesOf(steps ?? halves ?? plain(column)));
    if (rows > pause) yield;
  }
  const packed = new Uint8Array(parts.reduce((size, part) => size + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    packed.set(part, at);
    at += part.byteLength;
    if (part.byteLength > pause * BYTES_PER_ROW) yield;
  }
  return packed;
}

/** Packs columns in one step. */
export function pack(columns: Columns): Uint8Array<ArrayBuffer> {
  return packInSteps(columns, Number.POSITIVE_INFINITY).next().value as Uint8Array<ArrayBuffer>;
}

/** For whoever looks for operations that are alike. */
function noteStep(column: Column, steps: Uint32Array): void {
  column.step = column instanceof Words ? steps[2]! * WORD + steps[3]! : 0;
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Uint32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** The first value and the step to the next, if every row goes on by this step. */
function equalSteps(column: Column): Uint32Array | null {
  const { data, rows } = column;
  if (rows === 0) return null;
  if (column instanceof Numbers) {
    for (let row = 1; row < rows; row++) if (data[row] !== data[0]) return null;
    return new Uint32Array([data[0]!, 0]);
  }
  const first = column.big(0);
  const step = rows > 1 ? BigInt.asUintN(64, column.big(1) - first) : 0n;
  const stepHigh = Number(step >> 32n);
  const stepLow = Number(step & 0xffffffffn);
  for (let at = 2; at < rows * 2; at += 2) {
    const low = data[at - 1]! + stepLow;
    const carry = low >= WORD ? 1 : 0;
    if (data[at + 1] !== low >>> 0 || data[at] !== (data[at - 2]! + stepHigh + carry) >>> 0) return null;
  }
  return new Uint32Array([data[0]!, data[1]!, stepHigh, stepLow]);
}

/** The common high half, and the low ones, where there is one. */
function lowHalves(column: Column): Uint32Array | null {
  if (!(column instanceof Words)) return null;
  const { data, rows } = column;
  for (let at = 2; at < rows * 2; at += 2) if (data[at] !== data[0]) return null;
  const halves = new Uint32Array(rows + 1);
  halves[0] = data[0]!;
  for (let row = 0; row < rows; row++) halves[row + 1] = data[row * 2 + 1]!;
  return halves;
}

function plain(column: Column): Uint32Array {
  return new Uint32Array(column.data.buffer, 0, column.rows * (column instanceof Words ? 2 : 1));
}

/** Throws where the bytes are not what `pack` makes. */
export function unpack(packed: Uint8Array): Columns {
  // Words must begin at a multiple of 4, and there must be whole ones.
  const words = new Uint32Array(new Uint8Array(packed).buffer, 0, packed.byteLength >>> 2);
  const [version, withRuns, rows, operations] = words;
  if (packed.byteLength < HEADER_BYTES || version !== VERSION)
    throw new Error(`a batch is stored in version ${version}, this is version ${VERSION}`);
  let at = HEADER_BYTES / 4;
  const column = <T extends Column>(make: (capacity: number) => T): T => {
    const how = words[at]!;
    const count = words[at + 1]!;
    const empty = make(Math.max(1, count));
    const width = empty instanceof Words ? 2 : 1;
    at += 2;
    const size = how === EQUAL_STEPS ? width * 2 : how === LOW_HALVES ? count + 1 : count * width;
    if (at + size > words.length) throw new Error('a stored batch ends too early');
    const stored = words.subarray(at, at + size);
    if (how === EQUAL_STEPS) {
      fillSteps(empty, count, stored);
      noteStep(empty, stored);
    } else if (how === LOW_HALVES) fillHalves(empty, count, stored);
    else empty.data.set(stored);
    empty.rows = count;
    at += size;
    return empty;
  };
  const toWords = (capacity: number): Words => new Words(capacity);
  const toNumbers = (capacity: number): Numbers => new Numbers(capacity);
  const columns = {
    rows: rows!,
    kind: column(toNumbers),
    iova: column(toWords),
    length: column(toWords),
    start: column(toWords),
    fd: column(toNumbers),
    operations: operations!,
  };
  const runs = withRuns ? { count: column(toNumbers), stride: column(toWords), startStride: column(toWords) } : null;
  return { ...columns, runs };
}

function fillHalves({ data }: Column, rows: number, halves: Uint32Array): void {
  for (let row = 0; row < rows; row++) {
    data[row * 2] = halves[0]!;
    data[row * 2 + 1] = halves[row + 1]!;
  }
}

function fillSteps(column: Column, rows: number, steps: Uint32Array): void {
  const { data } = column;
  if (column instanceof Numbers) {
    data.fill(steps[0]!, 0, rows);
    return;
  }
  let [high, low] = steps as unknown as [number, number];
  const [, , stepHigh, stepLow] = steps as unknown as [number, number, number, number];
  for (let at = 0; at < rows * 2; at += 2) {
    data[at] = high;
    data[at + 1] = low;
    low += stepLow;
    high = (high + stepHigh + (low >= WORD ? 1 : 0)) >>> 0;
    low >>>= 0;
  }
}
