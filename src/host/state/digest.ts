/**
 * The bytes that the digest of a host is made of: its state in one canonical form, however it came about. Objects of
 * classes are told in the order in which they are found, and again by their numbers; plain objects, lists and maps are
 * told where they are, by what is in them. Caches are left out. A class whose fields can say the same in several ways has
 * a method `canonical`, which gives what they say.
 */
import type { Plan, StateCodec } from './codec.ts';
import type { TypedArray } from './pieces.ts';

/** What a class says of itself in place of its fields: values, and arrays of numbers, of which only the numbers count. */
interface Canonical {
  canonical(): Iterable<unknown>;
}

/** Bytes that are put together. */
const CHUNK = 1 << 16;
/** An array of as many bytes goes as it is. */
const LARGE = 4096;
/** Bytes, and values, of a step. */
const STEP_BYTES = 1 << 18;
const STEP_VALUES = 4096;
/** Characters of a text that are faster written one by one. */
const SHORT = 64;
/** Plain objects are no deeper in each other. */
const DEEPEST = 64;

/** What comes next. */
const TAG = {
  undefined: 0,
  null: 1,
  false: 2,
  true: 3,
  number: 4,
  bigint: 5,
  string: 6,
  list: 7,
  map: 8,
  set: 9,
  plain: 10,
  array: 11,
  object: 12,
  known: 13,
  constant: 14,
} as const;

/** `use` is given the bytes one after the other, each only for the call. In steps, between which the host must not change. */
export function* digestBytes(host: object, codec: StateCodec, use: (bytes: Uint8Array) => void): Generator<void, void> {
  const writer = new DigestWriter(codec, use);
  writer.value(host, 0);
  for (let at = 0; at < writer.found.length; at++) {
    const { object, plan } = writer.found[at]!;
    writer.text(plan.of);
    if ('canonical' in object) {
      for (const value of (object as Canonical).canonical()) {
        if (ArrayBuffer.isView(value)) writer.bytes(value as TypedArray);
        else writer.value(value, 0);
        if (writer.isStep()) yield;
      }
      continue;
    }
    for (const name of plan.state) {
      const value = (object as Record<string, unknown>)[name];
      // Long lists come in steps, too: those in them are short.
      if (Array.isArray(value)) {
        writer.begin(TAG.list, value.length);
        for (const item of value) {
          writer.value(item, 0);
          if (writer.isStep()) yield;
        }
      } else if (value instanceof Map) {
        writer.begin(TAG.map, value.size);
        for (const [key, item] of value) {
          writer.value(key, 0);
          writer.value(item, 0);
          if (writer.isStep()) yield;
        }
      } else writer.value(value, 0);
      if (writer.isStep()) yield;
    }
  }
  writer.flush();
}

class DigestWriter {
  /** Objects of classes, in the order of their numbers. */
  readonly found: { object: object; plan: Plan }[] = [];
  readonly #codec: StateCodec;
  readonly #use: (bytes: Uint8Array) => void;
  readonly #numbers = new Map<object, number>();
  readonly #chunk = new Uint8Array(CHUNK);
  readonly #view = new DataView(this.#chunk.buffer);
  #at = 0;
  #bytes = 0;
  #values = 0;
  readonly #encoder = new TextEncoder();
  /** Names of fields in order, by what they are as they stand. */
  readonly #orders = new Map<string, readonly string[]>();

  constructor(codec: StateCodec, use: (bytes: Uint8Array) => void) {
    this.#codec = codec;
    this.#use = use;
  }

  /** As much as a step has been written since the last one. */
  isStep(): boolean {
    if (this.#bytes < STEP_BYTES && this.#values < STEP_VALUES) return false;
    this.#bytes = 0;
    this.#values = 0;
    return true;
  }

  flush(): void {
    this.#use(this.#chunk.subarray(0, this.#at));
    this.#at = 0;
  }

  #room(bytes: number): number {
    if (this.#at + bytes > CHUNK) this.flush();
    const at = this.#at;
    this.#at += bytes;
    this.#bytes += bytes;
    return at;
  }

  begin(tag: number, count: number): void {
    const at = this.#room(9);
    this.#chunk[at] = tag;
    this.#view.setFloat64(at + 1, count, true);
  }

  text(text: string): void {
    if (text.length <= SHORT) {
      const at = this.#room(9 + text.length);
      if (this.#ascii(text, at + 9)) {
        this.#chunk[at] = TAG.string;
        this.#view.setFloat64(at + 1, text.length, true);
        return;
      }
      this.#at = at;
    }
    const bytes = this.#encoder.encode(text);
    this.begin(TAG.string, bytes.length);
    this.bytes(bytes);
  }

  /** Writes it, character by character, as far as that can be done. */
  #ascii(text: string, to: number): boolean {
    for (let at = 0; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code > 0x7f) return false;
      this.#chunk[to + at] = code;
    }
    return true;
  }

  bytes({ buffer, byteOffset, byteLength }: TypedArray): void {
    const bytes = new Uint8Array(buffer, byteOffset, byteLength);
    if (byteLength < LARGE) {
      const at = this.#room(byteLength);
      this.#chunk.set(bytes, at);
      return;
    }
    this.flush();
    this.#use(bytes);
    this.#bytes += byteLength;
  }

  value(value: unknown, depth: number): void {
    this.#values++;
    switch (typeof value) {
      case 'number':
        this.begin(TAG.number, value);
        break;
      case 'string':
        this.text(value);
        break;
      case 'boolean':
        this.#tag(value ? TAG.true : TAG.false);
        break;
      case 'undefined':
        this.#tag(TAG.undefined);
        break;
      case 'bigint':
        this.#tag(TAG.bigint);
        this.text(value.toString(16));
        break;
      case 'object':
        if (value === null) this.#tag(TAG.null);
        else this.#object(value, depth);
        break;
      default:
        throw new Error(`a ${typeof value} cannot be part of a host`);
    }
  }

  #tag(tag: number): void {
    const at = this.#room(1);
    this.#chunk[at] = tag;
  }

  #object(object: object, depth: number): void {
    if (depth > DEEPEST) throw new Error('plain objects of a host are in each other');
    if (ArrayBuffer.isView(object)) {
      this.begin(TAG.array, object.byteLength);
      this.bytes(object as TypedArray);
    } else if (Array.isArray(object)) {
      this.begin(TAG.list, object.length);
      for (const item of object) this.value(item, depth + 1);
    } else if (object instanceof Map) {
      this.begin(TAG.map, object.size);
      for (const [key, item] of object) {
        this.value(key, depth + 1);
        this.value(item, depth + 1);
      }
    } else if (object instanceof Set) {
      this.begin(TAG.set, object.size);
      for (const item of object) this.value(item, depth + 1);
    } else this.#other(object, depth);
  }

  #other(object: object, depth: number): void {
    const known = this.#numbers.get(object);
    const constant = this.#codec.constantOf(object);
    const plan = known === undefined && constant === undefined ? this.#codec.planOf(object) : null;
    if (known !== undefined) this.begin(TAG.known, known);
    else if (constant !== undefined) {
      this.#tag(TAG.constant);
      this.text(constant);
    } else if (plan !== null) {
      this.begin(TAG.object, this.found.length);
      this.#numbers.set(object, this.found.length);
      this.found.push({ object, plan });
    } else this.#plain(object as Record<string, unknown>, depth);
  }

  /** What went through JSON has no undefined fields, and shares other parts than before. */
  #plain(object: Record<string, unknown>, depth: number): void {
    const keys = this.#inOrder(Object.keys(object));
    let count = 0;
    for (const key of keys) if (object[key] !== undefined) count++;
    this.begin(TAG.plain, count);
    for (const key of keys) {
      const value = object[key];
      if (value === undefined) continue;
      this.text(key);
      this.value(value, depth + 1);
    }
  }

  #inOrder(keys: string[]): readonly string[] {
    const name = keys.join();
    let sorted = this.#orders.get(name);
    if (sorted === undefined) {
      sorted = keys.sort();
      this.#orders.set(name, sorted);
    }
    return sorted;
  }
}
