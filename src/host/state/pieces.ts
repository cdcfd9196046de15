/**
 * An object graph as plain data: every object that can be reached from a root, by its number, the root's being 0.
 * Objects of one class stand in tables, a column for each field, since naming the fields of each object is what takes
 * time and room; tables and lists are cut into pieces, so that nothing takes long. What the objects are is up to others.
 */

export type TypedArray = Uint8Array | Uint16Array | Uint32Array | Float64Array;

/** Primitives; in `refs` every number is an object's, in `mixed` an object is `[number]`. */
export interface Column {
  kind: 'plain' | 'refs' | 'mixed';
  values: unknown[];
}

export type Piece =
  /** `of`: the class; null: plain objects. */
  | { kind: 'objects'; of: string | null; keys: readonly string[]; nodes: number[]; columns: Column[] }
  /** Items one behind the other. A list that is cut goes on in another piece. */
  | { kind: 'array' | 'set' | 'map'; nodes: number[]; lengths: number[]; columns: Column[] }
  | { kind: 'raw'; nodes: number[]; data: TypedArray[] }
  /** Objects that live once in a program go by name. */
  | { kind: 'constants'; nodes: number[]; names: string[] };

type Of<Kind> = Extract<Piece, { kind: Kind }>;

/** Objects, and items of lists, of one piece at the most. */
const MOST_OBJECTS = 1024;
const MOST_ITEMS = 8192;
/** Bytes of arrays of one piece, where it is not only one. */
const MOST_BYTES = 1 << 20;

/** What an object is, if neither a list nor an array: null: a plain one. */
export type Describe = (
  object: object,
) => { constant: string } | { of: string; keys: readonly string[]; fields: object } | null;

/** In steps: nothing of the graph may change until it has come to its end. */
export function* toPieces(root: object, describe: Describe): Generator<void, Piece[]> {
  const writer = new PieceWriter();
  writer.number(root);
  for (let node = 0; node < writer.found.length; node++) {
    const object = writer.found[node]!;
    if (Array.isArray(object)) yield* writer.list('array', node, object);
    else if (object instanceof Map) yield* writer.list('map', node, object);
    else if (object instanceof Set) yield* writer.list('set', node, object);
    else if (ArrayBuffer.isView(object)) writer.raw(node, object as TypedArray);
    else {
      const described = describe(object);
      if (described === null) writer.object(node, null, Object.keys(object), object);
      else if ('constant' in described) writer.constant(node, described.constant);
      else writer.object(node, described.of, described.keys, described.fields);
    }
    if (node % MOST_OBJECTS === MOST_OBJECTS - 1) yield;
  }
  return writer.pieces;
}

class PieceWriter {
  readonly pieces: Piece[] = [];
  /** Objects by number. */
  readonly found: object[] = [];
  readonly #numbers = new Map<object, number>();
  /** Pieces with room, by what they hold. */
  readonly #tables = new Map<string, Of<'objects'>>();
  readonly #lists = new Map<string, Of<'array' | 'set' | 'map'>>();
  #raw: Of<'raw'> | null = null;
  #rawBytes = 0;
  readonly #constants: Of<'constants'> = { kind: 'constants', nodes: [], names: [] };

  number(object: object): number {
    const known = this.#numbers.get(object);
    if (known !== undefined) return known;
    this.#numbers.set(object, this.found.length);
    return this.found.push(object) - 1;
  }

  object(node: number, of: string | null, keys: readonly string[], fields: object): void {
    // Of one class all objects have the same fields.
    const name = of ?? `{${keys.join()}}`;
    let table = this.#tables.get(name);
    if (table === undefined || table.nodes.length === MOST_OBJECTS) {
      table = { kind: 'objects', of, keys, nodes: [], columns: keys.map(newColumn) };
      this.#tables.set(name, table);
      this.pieces.push(table);
    }
    table.nodes.push(node);
    for (let at = 0; at < keys.length; at++)
      this.#put(table.columns[at]!, (fields as Record<string, unknown>)[keys[at]!]);
  }

  *list(kind: 'array' | 'set' | 'map', node: number, items: Iterable<unknown>): Generator<void, void> {
    let list = this.#begin(kind, node, items);
    for (const item of items) {
      if (list.columns[0]!.values.length >= MOST_ITEMS) {
        yield;
        list = this.#begin(kind, node, items);
      }
      list.lengths[list.lengths.length - 1]!++;
      if (kind === 'map') {
        const [key, value] = item as [unknown, unknown];
        this.#put(list.columns[0]!, key);
        this.#put(list.columns[1]!, value);
      } else this.#put(list.columns[0]!, item);
    }
  }

  /** Lists of objects stand apart from those of numbers. */
  #begin(kind: 'array' | 'set' | 'map', node: number, items: Iterable<unknown>): Of<'array' | 'set' | 'map'> {
    const [first] = items;
    const name = `${kind} ${(kind === 'map' && first ? (first as unknown[]) : [first]).map(isObject)}`;
    let list = this.#lists.get(name);
    if (list === undefined || list.columns[0]!.values.length >= MOST_ITEMS || list.nodes.length >= MOST_ITEMS) {
      list = { kind, nodes: [], lengths: [], columns: (kind === 'map' ? [0, 1] : [0]).map(newColumn) };
      this.#lists.set(name, list);
      this.pieces.push(list);
    }
    list.nodes.push(node);
    list.lengths.push(0);
    return list;
  }

  raw(node: number, data: TypedArray): void {
    if (this.#raw === null || this.#rawBytes + data.byteLength > MOST_BYTES || this.#raw.nodes.length >= MOST_ITEMS) {
      this.#raw = { kind: 'raw', nodes: [], data: [] };
      this.#rawBytes = 0;
      this.pieces.push(this.#raw);
    }
    this.#raw.nodes.push(node);
    this.#raw.data.push(data);
    this.#rawBytes += data.byteLength;
  }

  constant(node: number, name: string): void {
    if (this.#constants.nodes.length === 0) this.pieces.push(this.#constants);
    this.#constants.nodes.push(node);
    this.#constants.names.push(name);
  }

  #put(column: Column, value: unknown): void {
    if (isObject(value)) {
      const number = this.number(value);
      if (column.kind === 'plain') {
        column.kind = column.values.some((other) => typeof other === 'number') ? 'mixed' : 'refs';
      }
      column.values.push(column.kind === 'mixed' ? [number] : number);
      return;
    }
    if (typeof value === 'function' || typeof value === 'symbol')
      throw new Error(`a ${typeof value} cannot be in a snapshot`);
    if (typeof value === 'number' && column.kind === 'refs') {
      column.kind = 'mixed';
      column.values = column.values.map((other) => (typeof other === 'number' ? [other] : other));
    }
    column.values.push(value);
  }
}

const newColumn = (): Column => ({ kind: 'plain', values: [] });

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;

/** How objects are made that are neither lists nor arrays. */
export interface Maker {
  constant(name: string): object;
  /** An object without fields yet; told once a piece. */
  maker(of: string, keys: readonly string[]): () => object;
  /** Where its fields are put. */
  fields(object: object): object;
  /** All its fields are there. */
  finish?(object: object): void;
}

/** The root of the graph, in steps. Arrays of numbers are copies, as those of pieces may be views of a buffer. */
export function* fromPieces(pieces: readonly Piece[], make: Maker): Generator<void, object> {
  const objects: object[] = [];
  for (const piece of pieces) {
    create(piece, objects, make);
    yield;
  }
  for (const piece of pieces) {
    fill(piece, objects, make);
    yield;
  }
  if (objects[0] === undefined) throw new Error('there is no object in it');
  return objects[0];
}

function create(piece: Piece, objects: object[], make: Maker): void {
  const { nodes } = piece;
  switch (piece.kind) {
    case 'objects': {
      const plain = (): object => ({});
      const next = piece.of === null ? plain : make.maker(piece.of, piece.keys);
      for (const node of nodes) objects[node] = next();
      break;
    }
    case 'array':
      for (const node of nodes) objects[node] ??= [];
      break;
    case 'set':
      for (const node of nodes) objects[node] ??= new Set();
      break;
    case 'map':
      for (const node of nodes) objects[node] ??= new Map();
      break;
    case 'raw':
      for (const [at, node] of nodes.entries()) objects[node] = piece.data[at]!.slice();
      break;
    case 'constants':
      for (const [at, node] of nodes.entries()) objects[node] = make.constant(piece.names[at]!);
      break;
  }
}

function fill(piece: Piece, objects: readonly object[], make: Maker): void {
  if (piece.kind === 'raw' || piece.kind === 'constants') return;
  const { nodes } = piece;
  const columns = piece.columns.map((column) => reader(column, objects));
  const [first, second] = columns;
  let at = 0;
  switch (piece.kind) {
    case 'objects':
      for (const [row, node] of nodes.entries()) {
        const object = objects[node]!;
        const fields = (piece.of === null ? object : make.fields(object)) as Record<string, unknown>;
        for (let key = 0; key < columns.length; key++) fields[piece.keys[key]!] = columns[key]!(row);
        if (piece.of !== null) make.finish?.(object);
      }
      break;
    case 'array':
      for (const [list, node] of nodes.entries())
        for (const end = at + piece.lengths[list]!; at < end; at++) (objects[node] as unknown[]).push(first!(at));
      break;
    case 'set':
      for (const [list, node] of nodes.entries())
        for (const end = at + piece.lengths[list]!; at < end; at++) (objects[node] as Set<unknown>).add(first!(at));
      break;
    case 'map':
      for (const [list, node] of nodes.entries())
        for (const end = at + piece.lengths[list]!; at < end; at++)
          (objects[node] as Map<unknown, unknown>).set(first!(at), second!(at));
      break;
  }
}

function reader({ kind, values }: Column, objects: readonly object[]): (at: number) => unknown {
  switch (kind) {
    case 'plain':
      return (at) => values[at];
    case 'refs':
      return (at) => (typeof values[at] === 'number' ? objects[values[at]] : values[at]);
    case 'mixed':
      return (at) => (Array.isArray(values[at]) ? objects[values[at][0]] : values[at]);
  }
}
