import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Graph } from '../../src/host/object-graph.ts';
import { decodeGraph, encodeGraph } from '../../src/lanes/snapshot-bytes.ts';

const graph: Graph = [
  { kind: 'object', of: 'Host', keys: ['time', 'rows'], values: [12n, [1]] },
  { kind: 'raw', data: new Uint8Array([1, 2, 3]) },
  { kind: 'raw', data: new Uint16Array(600_000).fill(7) },
  { kind: 'array', values: [[2], undefined] },
  { kind: 'raw', data: new Float64Array([0.5, Number.NaN]) },
  { kind: 'raw', data: new Uint32Array(600_000).subarray(5).fill(9) },
];

function encode(): { bytes: Uint8Array; steps: number } {
  const making = encodeGraph(graph);
  for (let steps = 1; ; steps += 1) {
    const { done, value } = making.next();
    if (done) return { bytes: value, steps };
  }
}

test('a graph comes back as it was, wherever its bytes begin, and is copied in steps', () => {
  const { bytes, steps } = encode();
  assert.equal(steps, 3);
  const elsewhere = new Uint8Array(bytes.length + 3);
  elsewhere.set(bytes, 3);
  for (const given of [bytes, elsewhere.subarray(3)]) assert.deepEqual(decodeGraph(given), graph);
});

test('bytes that end too early are refused', () => {
  const { bytes } = encode();
  assert.throws(() => decodeGraph(bytes.slice(0, bytes.length - 8)));
  assert.throws(() => decodeGraph(bytes.slice(0, 20)));
});
