/** The picture of an IO address space shows every range of it once, in its place, and is small whatever there is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { grouped, layout, type Piece, type Range, union } from '../../src/console/iova-layout.ts';

const MIB = 1n << 20n;
const GIB = 1n << 30n;
const END = 1n << 64n;

const range = (start: bigint, length: bigint): Range => ({ start, last: start + length - 1n });
const pages = (many: number, stride: bigint): Range[] =>
  Array.from({ length: many }, (_, index) => range(BigInt(index) * stride, 4096n));
const drawn = (boxes: Range[], reserved: Range[] = [], allowed: Range[] = []): ReturnType<typeof layout> =>
  layout(grouped(boxes, 200), grouped(reserved, 200), allowed);
const endsOf = ({ start, last }: Range): [bigint, bigint] => [start, last];

/** All that is drawn lies in its piece, side by side in the order of the addresses, and can be pointed at. */
function checkPlaces({ width, boxes, reserved, allowed }: Piece<Range>): void {
  for (const { x, width: own } of [...boxes, ...reserved]) assert.ok(x >= 0 && own >= 22 && x + own <= width + 1e-6);
  for (const { x, width: own } of allowed) assert.ok(x >= 0 && own > 0 && x + own <= width + 1e-6);
  const filled = [...boxes, ...reserved].sort((a, b) => a.x - b.x);
  for (const [index, { what, x, width: own }] of filled.slice(0, -1).entries()) {
    const next = filled[index + 1]!;
    assert.ok(what.last < next.what.start && x + own <= next.x + 1e-6);
  }
}

test('memory below and above the hole of PCs: a piece for each, what is empty between them, and the rest of the space', () => {
  const ram = [range(0n, 3n * GIB), range(4n * GIB, 60n * GIB)];
  const reserved = [range(0xfee00000n, MIB), { start: 1n << 48n, last: END - 1n }];
  const { pieces, empty } = drawn(ram, reserved);
  assert.deepEqual(pieces.map(endsOf), [
    [0n, 3n * GIB - 1n],
    [0xfee00000n, 0xfeefffffn],
    [4n * GIB, 64n * GIB - 1n],
    [1n << 48n, END - 1n],
  ]);
  assert.deepEqual(
    pieces.map((piece) => piece.empty),
    [0n, 0xfee00000n - 3n * GIB, 17n * MIB, (1n << 48n) - 64n * GIB],
  );
  assert.equal(empty, 0n);
  for (const piece of pieces) checkPlaces(piece);
  // The longer one is the wider, by the logarithm alone.
  assert.ok(pieces[2]!.width > pieces[0]!.width && pieces[2]!.width < 2 * pieces[0]!.width);
});

test('neighbours without much space between them share a piece as long as it fits a phone, and the next piece goes on', () => {
  const { pieces } = drawn(pages(50, 8192n));
  assert.ok(pieces.length > 1);
  for (const [index, piece] of pieces.entries()) {
    checkPlaces(piece);
    assert.ok(piece.width <= 300, String(piece.width));
    if (index > 0) assert.equal(piece.empty, 4096n);
  }
  assert.equal(pieces.flatMap(({ boxes }) => boxes).length, 50);
});

test('very many mappings become 200 boxes, of which each stands for as many as the others', () => {
  const all = pages(100_000, 8192n);
  const groups = grouped(all, 200);
  assert.equal(groups.length, 200);
  assert.deepEqual([...new Set(groups.map(({ items }) => items.length))], [500]);
  assert.equal(groups[7]!.bytes, 500n * 4096n);
  assert.deepEqual(
    groups.flatMap(({ items }) => items),
    all,
  );
});

test('groups are parted where the most space is', () => {
  const far = [...pages(150, 8192n), ...pages(150, 8192n).map(({ start }) => range(start + GIB, 4096n))];
  const groups = grouped(far, 2);
  assert.deepEqual(
    groups.map(({ items, start }) => [items.length, start]),
    [
      [150, 0n],
      [150, GIB],
    ],
  );
});

test('an allowed range is a line over what is mapped in it, and has a piece where nothing is', () => {
  const mapped = [range(0x100000n, 0x10000n)];
  const allowed = [range(0x104000n, 0x4000n), range(8n * GIB, GIB)];
  const { pieces } = drawn(mapped, [], allowed);
  assert.deepEqual(pieces.map(endsOf), [mapped[0]!, allowed[1]!].map(endsOf));
  const [first, second] = pieces;
  const [line] = first!.allowed;
  assert.ok(line!.x > 0 && line!.x + line!.width < first!.width);
  assert.deepEqual(second!.allowed, [{ what: allowed[1], x: 0, width: second!.width }]);
  assert.deepEqual(second!.boxes, []);
});

test('the last address is one: no number comes between that could not hold it', () => {
  const last = { start: END - 4096n, last: END - 1n };
  const { pieces, empty } = drawn([last, range((1n << 53n) + 1n, 1n)].reverse());
  assert.deepEqual(pieces.map(endsOf), [[(1n << 53n) + 1n, (1n << 53n) + 1n], endsOf(last)]);
  assert.equal(empty, 0n);
});

test('nothing is no piece', () => {
  assert.deepEqual(drawn([]), { pieces: [], empty: END });
});

test('reserved ranges of many owners become those that they cover', () => {
  const found = union([
    range(0x5000n, 0x1000n),
    range(0x1000n, 0x2000n),
    range(0x2000n, 0x2000n),
    range(0x4000n, 0x800n),
  ]);
  assert.deepEqual(found.map(endsOf), [
    [0x1000n, 0x47ffn],
    [0x5000n, 0x5fffn],
  ]);
});
