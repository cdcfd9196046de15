/**
 * A host's object graph as bytes: the length of what comes next, the graph, and behind it the arrays in the order of
 * their nodes, each at a multiple of 8. Arrays are nearly all of a large host, so they are copied in steps.
 */
import { deserialize, serialize } from 'node:v8';
import type { Graph } from '../host/object-graph.ts';

/** Bytes that are copied in one step. */
const STEP = 1 << 20;
const HEADER = 8;

const TYPES = [Uint8Array, Uint16Array, Uint32Array, Float64Array] as const;

/** In place of an array: its type and its elements. */
type Place = [type: number, length: number];

const padded = (bytes: number): number => Math.ceil(bytes / 8) * 8;

/** The host must not go on until this has come to its end. */
export function* encodeGraph(graph: Graph): Generator<void, Uint8Array> {
  const raws = graph.flatMap((node) => (node.kind === 'raw' ? [node.data] : []));
  const places = graph.map((node) => {
    if (node.kind !== 'raw') return node;
    const type = TYPES.findIndex((candidate) => node.data instanceof candidate);
    if (type < 0) throw new Error(`a ${node.data.constructor.name} cannot be in a snapshot`);
    return { kind: 'raw', data: [type, node.data.length] satisfies Place };
  });
  const head = serialize(places);
  const size = raws.reduce((sum, { byteLength }) => sum + padded(byteLength), HEADER + padded(head.byteLength));
  const bytes = new Uint8Array(size);
  new DataView(bytes.buffer).setUint32(0, head.byteLength, true);
  bytes.set(head, HEADER);
  let at = HEADER + padded(head.byteLength);
  let copied = 0;
  for (const { buffer, byteOffset, byteLength } of raws) {
    bytes.set(new Uint8Array(buffer, byteOffset, byteLength), at);
    at += padded(byteLength);
    copied += byteLength;
    if (copied < STEP) continue;
    copied = 0;
    yield;
  }
  return bytes;
}

/** Throws where the bytes are not what `encodeGraph` makes. Arrays of the graph are views of the bytes. */
export function decodeGraph(given: Uint8Array): Graph {
  const bytes = given.byteOffset % 8 === 0 ? given : given.slice();
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const places = deserialize(bytes.subarray(HEADER, HEADER + length)) as Graph;
  let at = bytes.byteOffset + HEADER + padded(length);
  return places.map((node) => {
    if (node.kind !== 'raw') return node;
    const [type, elements] = node.data as unknown as Place;
    const data = new TYPES[type]!(bytes.buffer as ArrayBuffer, at, elements);
    at += padded(data.byteLength);
    return { kind: 'raw', data };
  });
}
