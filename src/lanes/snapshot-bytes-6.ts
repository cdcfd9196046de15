/** Snapshots of engine 6: a node for each object, with the names of its fields, and behind all nodes the arrays of numbers. */
import { deserialize } from 'node:v8';
import { StateConstant, StateGraph, StateObject } from '../host/state/graph.ts';

/** A primitive as it is, an object as `[number of its node]`. */
type Value = undefined | null | boolean | number | bigint | string | [number];

type Node =
  | { kind: 'object'; of: string | null; keys: string[]; values: Value[] }
  | { kind: 'array' | 'set'; values: Value[] }
  | { kind: 'map'; keys: Value[]; values: Value[] }
  | { kind: 'raw'; data: [type: number, length: number] }
  | { kind: 'constant'; name: string };

/** Nodes that are read in one step. */
const STEP = 4096;
const HEADER = 8;
const TYPES = [Uint8Array, Uint16Array, Uint32Array, Float64Array] as const;

const padded = (bytes: number): number => Math.ceil(bytes / 8) * 8;

export function* decodeEngine6(given: Uint8Array): Generator<void, StateGraph> {
  const bytes = given.byteOffset % 8 === 0 ? given : new Uint8Array(given);
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const nodes = deserialize(bytes.subarray(HEADER, HEADER + length)) as Node[];
  let at = bytes.byteOffset + HEADER + padded(length);
  const arrayOf = ([type, elements]: [number, number]): object => {
    const data = new TYPES[type]!(bytes.buffer as ArrayBuffer, at, elements).slice();
    at += padded(data.byteLength);
    return data;
  };
  const objects = nodes.map((node) => (node.kind === 'raw' ? arrayOf(node.data) : empty(node)));
  const value = (of: Value): unknown => (Array.isArray(of) ? objects[of[0]] : of);
  for (const [number, node] of nodes.entries()) {
    fill(objects[number]!, node, value);
    if (number % STEP === STEP - 1) yield;
  }
  return new StateGraph(objects[0]!);
}

function empty(node: Exclude<Node, { kind: 'raw' }>): object {
  switch (node.kind) {
    case 'object':
      return node.of === null ? {} : new StateObject(node.of);
    case 'array':
      return [];
    case 'set':
      return new Set();
    case 'map':
      return new Map();
    case 'constant':
      return new StateConstant(node.name);
  }
}

function fill(object: object, node: Node, value: (of: Value) => unknown): void {
  switch (node.kind) {
    case 'object': {
      const fields = (object instanceof StateObject ? object.fields : object) as Record<string, unknown>;
      for (const [at, key] of node.keys.entries()) fields[key] = value(node.values[at]);
      break;
    }
    case 'array':
      for (const item of node.values) (object as unknown[]).push(value(item));
      break;
    case 'set':
      for (const item of node.values) (object as Set<unknown>).add(value(item));
      break;
    case 'map':
      for (const [at, key] of node.keys.entries())
        (object as Map<unknown, unknown>).set(value(key), value(node.values[at]));
      break;
  }
}
