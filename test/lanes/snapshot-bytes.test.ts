import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Piece } from '../../src/host/state/pieces.ts';
import { decodePieces, encodePieces } from '../../src/lanes/snapshot-bytes.ts';
import { finished } from '../support/steps.ts';

const PIECES: Piece[] = [
  {
    kind: 'objects',
    of: 'Host',
    keys: ['time', 'rows'],
    nodes: [0],
    columns: [
      { kind: 'plain', values: [12n] },
      { kind: 'refs', values: [1] },
    ],
  },
  { kind: 'raw', nodes: [1, 2], data: [new Uint8Array([1, 2, 3]), new Uint16Array(600_000).fill(7)] },
  { kind: 'array', nodes: [3], lengths: [2], columns: [{ kind: 'mixed', values: [[2], undefined] }] },
  {
    kind: 'raw',
    nodes: [4, 5],
    data: [new Float64Array([0.5, Number.NaN]), new Uint32Array(600_000).subarray(5).fill(9)],
  },
];

function encode(): { bytes: Uint8Array; steps: number } {
  const making = encodePieces(PIECES);
  for (let steps = 1; ; steps += 1) {
    const { done, value } = making.next();
    if (done) return { bytes: value, steps };
  }
}

test('pieces come back as they were, wherever their bytes begin, and are copied in steps', () => {
  const { bytes, steps } = encode();
  assert.equal(steps, 4);
  const elsewhere = new Uint8Array(bytes.length + 3);
  elsewhere.set(bytes, 3);
  for (const given of [bytes, elsewhere.subarray(3)]) assert.deepEqual(finished(decodePieces(given)), PIECES);
});

test('bytes that end too early, or are of another format, are refused', () => {
  const { bytes } = encode();
  assert.throws(() => finished(decodePieces(bytes.slice(0, bytes.length - 8))));
  assert.throws(() => finished(decodePieces(bytes.slice(0, 20))));
  bytes[0] = 7;
  assert.throws(() => finished(decodePieces(bytes)), /of a format that this version does not know/);
});
