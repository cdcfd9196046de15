/**
 * A host as plain data and back: every object that can be reached from it, with its class. This is what a snapshot holds.
 * Objects that live once in a program (constants, such as the blocking domain) go by name.
 */

type TypedArray = Uint8Array | Uint16Array | Uint32Array | Float64Array;

/** A value: a primitive as it is, an object as `[number of its node]`. */
type Value = undefined | null | boolean | number | bigint | string | [number];

type Node =
  | { kind: 'object'; of: string | null; keys: string[]; values: Value[] }
  | { kind: 'array' | 'set'; values: Value[] }
  | { kind: 'map'; keys: Value[]; values: Value[] }
  | { kind: 'raw'; data: TypedArray }
  | { kind: 'constant'; name: string };

/** The first node is the root. Can be cloned, sent to another thread and serialized. */
export type Graph = readonly Node[];

// biome-ignore lint/complexity/noBannedTypes: any class may be registered
type Class = Function;

export class GraphCodec {
  private readonly _classes = new Map<string, object>();
  private readonly _names = new Map<object, string>();
  private readonly _constants = new Map<object, string>();
  private readonly _byName = new Map<string, object>();

  /** Classes are known by their names, constants by the names given. */
  constructor(classes: readonly Class[], constants: Readonly<Record<string, object>>) {
    for (const { name, prototype } of classes) {
      if (this._classes.has(name)) throw new Error(`two classes are called ${name}`);
      this._classes.set(name, prototype as object);
      this._names.set(prototype as object, name);
    }
    for (const [name, constant] of Object.entries(constants)) {
      this._constants.set(constant, name);
      this._byName.set(name, constant);
    }
  }

  encode(root: object): Graph {
    const nodes: Node[] = [];
    const numbers = new Map<object, number>();
    const pending: object[] = [];
    const number = (object: object): number => {
      const known = numbers.get(object);
      if (known !== undefined) return known;
      numbers.set(object, pending.length);
      return pending.push(object) - 1;
    };
    const value = (of: unknown): Value => {
      if (typeof of === 'function' || typeof of === 'symbol') throw new Error(`a ${typeof of} cannot be in a snapshot`);
      return typeof of === 'object' && of !== null ? [number(of)] : (of as Value);
    };
    number(root);
    for (let at = 0; at < pending.length; at++) nodes.push(this._node(pending[at]!, value));
    return nodes;
  }

  private _node(object: object, value: (of: unknown) => Value): Node {
    const constant = this._constants.get(object);
    if (constant !== undefined) return { kind: 'constant', name: constant };
    if (Array.isArray(object)) return { kind: 'array', values: object.map(value) };
    if (object instanceof Map)
      return { kind: 'map', keys: [...object.keys()].map(value), values: [...object.values()].map(value) };
    if (object instanceof Set) return { kind: 'set', values: [...object].map(value) };
    if (ArrayBuffer.isView(object)) return { kind: 'raw', data: object as TypedArray };
    const prototype = Object.getPrototypeOf(object) as object;
    const of = prototype === Object.prototype ? null : this._names.get(prototype);
    if (of === undefined) throw new Error(`class ${prototype.constructor.name} is not known to snapshots`);
    const keys = Object.keys(object);
    return { kind: 'object', of, keys, values: keys.map((key) => value((object as Record<string, unknown>)[key])) };
  }

  decode(graph: Graph): object {
    const objects = graph.map((node) => this._empty(node));
    const value = (of: Value): unknown => (Array.isArray(of) ? objects[of[0]] : of);
    for (const [at, node] of graph.entries()) fill(objects[at]!, node, value);
    return objects[0]!;
  }

  private _empty(node: Node): object {
    switch (node.kind) {
      case 'constant': {
        const constant = this._byName.get(node.name);
        if (!constant) throw new Error(`a snapshot names "${node.name}", which is not there`);
        return constant;
      }
      case 'array':
        return [];
      case 'map':
        return new Map();
      case 'set':
        return new Set();
      case 'raw':
        // A copy with a buffer of its own: deserializers hand out views of what they have read.
        return node.data.slice();
      case 'object': {
        if (node.of === null) return {};
        const prototype = this._classes.get(node.of);
        if (!prototype) throw new Error(`a snapshot names class ${node.of}, which is not there`);
        return Object.create(prototype) as object;
      }
    }
  }
}

function fill(object: object, node: Node, value: (of: Value) => unknown): void {
  switch (node.kind) {
    case 'array':
      for (const item of node.values) (object as unknown[]).push(value(item));
      break;
    case 'map':
      for (const [at, key] of node.keys.entries())
        (object as Map<unknown, unknown>).set(value(key), value(node.values[at]));
      break;
    case 'set':
      for (const item of node.values) (object as Set<unknown>).add(value(item));
      break;
    case 'object':
      for (const [at, key] of node.keys.entries()) (object as Record<string, unknown>)[key] = value(node.values[at]);
      break;
  }
}
