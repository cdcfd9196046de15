/**
 * A stored host before it is one: what upgrade steps work on. Lists, maps, sets, arrays of numbers and plain objects
 * are there as they are; an object of a class is a `StateObject`, whatever this version makes of that class, and what
 * lives once in a program a `StateConstant`. Nothing has to be cleared away: what the root does not reach is gone.
 */
import { type Describe, fromPieces, type Maker, type Piece, toPieces } from './pieces.ts';

export class StateObject {
  of: string;
  fields: Record<string, unknown> = {};

  constructor(of: string) {
    this.of = of;
  }
}

export class StateConstant {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

export class StateGraph {
  readonly root: StateObject;
  /** Objects by class; made when the first is asked for. */
  #byClass: Map<string, StateObject[]> | null = null;

  constructor(root: object) {
    if (!(root instanceof StateObject)) throw new Error('the root is no object of a class');
    this.root = root;
  }

  static *fromPieces(pieces: readonly Piece[]): Generator<void, StateGraph> {
    return new StateGraph(yield* fromPieces(pieces, MAKER));
  }

  toPieces(): Generator<void, Piece[]> {
    return toPieces(this.root, describe);
  }

  /** All objects of a class, none for one that is not there. */
  objects(of: string): readonly StateObject[] {
    if (this.#byClass === null) {
      this.#byClass = new Map();
      for (const object of reached(this.root)) if (object instanceof StateObject) this.#list(object);
    }
    return this.#byClass.get(of) ?? [];
  }

  #list(object: StateObject): void {
    const others = this.#byClass?.get(object.of);
    if (others) others.push(object);
    else this.#byClass?.set(object.of, [object]);
  }

  /** Plain objects that have these fields. */
  records(...keys: readonly string[]): Record<string, unknown>[] {
    const isPlain = (object: object): boolean => Object.getPrototypeOf(object) === Object.prototype;
    const all = [...reached(this.root)].filter(
      (object) => isPlain(object) && keys.every((key) => Object.hasOwn(object, key)),
    );
    return all as Record<string, unknown>[];
  }

  renameClass(from: string, to: string): void {
    for (const object of this.objects(from)) {
      object.of = to;
      this.#list(object);
    }
    this.#byClass!.delete(from);
  }

  renameField(of: string, from: string, to: string): void {
    for (const object of this.objects(of)) {
      object.fields[to] = taken(object, from);
      delete object.fields[from];
    }
  }

  dropFields(of: string, ...names: readonly string[]): void {
    for (const object of this.objects(of))
      for (const name of names) {
        taken(object, name);
        delete object.fields[name];
      }
  }

  /** `given`: a value, or a function that makes it of the object. */
  addField(of: string, name: string, given: unknown): void {
    for (const object of this.objects(of)) {
      if (Object.hasOwn(object.fields, name)) throw new Error(`class ${of} has a field ${name} already`);
      object.fields[name] = typeof given === 'function' ? given(object) : given;
    }
  }

  /** A new object; it belongs to the graph as soon as something of it refers to it. */
  make(of: string, fields: Readonly<Record<string, unknown>>): StateObject {
    const object = new StateObject(of);
    Object.assign(object.fields, fields);
    this.#list(object);
    return object;
  }
}

/** A field that has to be there, so that a step which is mistaken is not passed over. */
function taken({ of, fields }: StateObject, name: string): unknown {
  if (!Object.hasOwn(fields, name)) throw new Error(`class ${of} has no field ${name}`);
  return fields[name];
}

/** Every object of the graph, the root first. */
function reached(root: object): Set<object> {
  const found = new Set<object>([root]);
  const add = (value: unknown): void => {
    if (typeof value === 'object' && value !== null) found.add(value);
  };
  // What is added is visited, too.
  for (const object of found) {
    if (ArrayBuffer.isView(object) || object instanceof StateConstant) continue;
    if (object instanceof Map) for (const [key, value] of object) [key, value].forEach(add);
    else if (Array.isArray(object) || object instanceof Set) for (const item of object) add(item);
    else for (const value of Object.values(object instanceof StateObject ? object.fields : object)) add(value);
  }
  return found;
}

const MAKER: Maker = {
  constant: (name) => new StateConstant(name),
  maker: (of) => () => new StateObject(of),
  fields: (object) => (object as StateObject).fields,
};

const describe: Describe = (object) => {
  if (object instanceof StateConstant) return { constant: object.name };
  if (!(object instanceof StateObject)) return null;
  const { of, fields } = object;
  // In one order, whatever steps have done to it: objects of a class share tables.
  return { of, keys: Object.keys(fields).sort(), fields };
};
