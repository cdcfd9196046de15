/**
 * Pieces of a host's state as bytes: a format number and how many batches there are, then batches of pieces, each with its
 * length, and behind them the arrays of numbers in the order of their objects, each at a multiple of 8. All goes in steps.
 */
import { deserialize, serialize } from 'node:v8';
import type { Piece, TypedArray } from '../host/state/pieces.ts';

/** Earlier engines, up to 6, began with a length, which was never as large. */
const FORMAT = 0xffff0001;
/** Bytes that are copied in one step. */
const STEP = 1 << 20;
/** Values of a batch, about: what is serialized in one step. A call for each piece would cost more than a small host. */
const BATCH = 8192;
const HEADER = 8;

const TYPES = [Uint8Array, Uint16Array, Uint32Array, Float64Array] as const;

/** In place of arrays: the type and the elements of each. */
interface Places {
  kind: 'raw';
  nodes: number[];
  types: number[];
  lengths: number[];
}

const padded = (bytes: number): number => Math.ceil(bytes / 8) * 8;

function placesOf({ nodes, data }: { nodes: number[]; data: TypedArray[] }): Places {
  const types = data.map((array) => {
    const type = TYPES.findIndex((candidate) => array instanceof candidate);
    if (type < 0) throw new Error(`a ${array.constructor.name} cannot be in a snapshot`);
    return type;
  });
  return { kind: 'raw', nodes, types, lengths: data.map(({ length }) => length) };
}

/** The host must not go on until this has come to its end. */
export function* encodePieces(pieces: readonly Piece[]): Generator<void, Uint8Array> {
  const heads: Uint8Array[] = [];
  const arrays: TypedArray[] = [];
  let size = HEADER;
  for (let at = 0; at < pieces.length; ) {
    const batch: (Piece | Places)[] = [];
    for (let values = 0; at < pieces.length && values < BATCH; at++) {
      const piece = pieces[at]!;
      batch.push(piece.kind === 'raw' ? placesOf(piece) : piece);
      values += piece.nodes.length;
      if ('columns' in piece) for (const column of piece.columns) values += column.values.length;
      if (piece.kind !== 'raw') continue;
      for (const data of piece.data) {
        arrays.push(data);
        size += padded(data.byteLength);
      }
    }
    const head = serialize(batch);
    heads.push(head);
    size += HEADER + padded(head.byteLength);
    yield;
  }
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, FORMAT, true);
  view.setUint32(4, heads.length, true);
  let at = HEADER;
  let copied = 0;
  for (const head of heads) {
    view.setUint32(at, head.byteLength, true);
    bytes.set(head, at + HEADER);
    at += HEADER + padded(head.byteLength);
    copied += head.byteLength;
    if (copied < STEP) continue;
    copied = 0;
    yield;
  }
  for (const { buffer, byteOffset, byteLength } of arrays) {
    bytes.set(new Uint8Array(buffer, byteOffset, byteLength), at);
    at += padded(byteLength);
    copied += byteLength;
    if (copied < STEP) continue;
    copied = 0;
    yield;
  }
  return bytes;
}

/** Throws where the bytes are not what `encodePieces` makes. Arrays are views of the bytes. */
export function* decodePieces(given: Uint8Array): Generator<void, Piece[]> {
  const bytes = given.byteOffset % 8 === 0 ? given : new Uint8Array(given);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== FORMAT) throw new Error('its bytes are of a format that this version does not know');
  const count = view.getUint32(4, true);
  const heads: (Piece | Places)[] = [];
  let at = HEADER;
  for (let batch = 0; batch < count; batch++) {
    const length = view.getUint32(at, true);
    heads.push(...(deserialize(bytes.subarray(at + HEADER, at + HEADER + length)) as (Piece | Places)[]));
    at += HEADER + padded(length);
    yield;
  }
  let place = bytes.byteOffset + at;
  return heads.map((head) => {
    if (head.kind !== 'raw' || !('types' in head)) return head as Piece;
    const data = head.types.map((type, index) => {
      const array = new TYPES[type]!(bytes.buffer as ArrayBuffer, place, head.lengths[index]!);
      place += padded(array.byteLength);
      return array;
    });
    return { kind: 'raw', nodes: head.nodes, data };
  });
}
