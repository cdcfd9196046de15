/** Values of a JSON schema, mostly as it says, with what is known already; and values that are as nothing says. */
import type { Random } from '../crash/random.ts';
import { resolved, type Schema } from '../support/operations.ts';

/** What is known to be there, by the name of the field or parameter that takes it. */
export type Known = (name: string) => unknown;

const DEEPEST = 6;
const EDGES = [0, 1, 2, 3, 4, 7, 8, 0xff, 0x1000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, -1, -0x80000000];
const EDGES_64 = ['0x0', '0x1', '0xfff', '0x1000', '0x200000', '0xfffffffffffff000', '0xffffffffffffffff', 4096, 1];

export class Values {
  readonly #random: Random;
  readonly #known: Known;

  constructor(random: Random, known: Known) {
    this.#random = random;
    this.#known = known;
  }

  of(schema: Schema, name = '', depth = 0): unknown {
    const random = this.#random;
    const known = random.chance(0.85) ? this.#known(name) : undefined;
    if (known !== undefined) return known;
    const {
      const: only,
      enum: values,
      anyOf,
      oneOf,
      type,
      properties,
      required = [],
      items,
      examples,
    } = resolved(schema);
    if (only !== undefined) return only;
    if (values !== undefined) return random.pick(values);
    const branches = anyOf ?? oneOf;
    if (schema.$ref?.endsWith('/U64')) return random.pick(EDGES_64);
    if (branches !== undefined) return this.of(random.pick(branches)!, name, depth + 1);
    switch (Array.isArray(type) ? random.pick(type) : type) {
      case 'object': {
        const given = Object.entries(properties ?? {}).filter(
          ([field]) => required.includes(field) || random.chance(depth > DEEPEST ? 0 : 0.4),
        );
        return Object.fromEntries(given.map(([field, one]) => [field, this.of(one, field, depth + 1)]));
      }
      case 'array': {
        const length = depth > DEEPEST ? 0 : random.between(0, 3);
        return Array.from({ length }, () => this.of(items ?? {}, name, depth + 1));
      }
      case 'integer':
      case 'number':
        return this.#integer(resolved(schema));
      case 'boolean':
        return random.chance(0.5);
      case 'null':
        return null;
      case 'string':
        return examples !== undefined && random.chance(0.8) ? random.pick(examples) : this.text(resolved(schema));
      default:
        return random.pick(EDGES);
    }
  }

  #integer({ minimum = -0x80000000, maximum = 0xffffffff }: Schema): number {
    const fitting = EDGES.filter((value) => value >= minimum && value <= maximum);
    return this.#random.pick([minimum, maximum, ...fitting, ...fitting])!;
  }

  text({ minLength = 0, maxLength = 40, pattern }: Schema = {}): string {
    const random = this.#random;
    if (pattern?.includes('0x')) return String(random.pick(EDGES_64));
    if (pattern?.startsWith('^\\d')) return String(random.below(100_000));
    const length = Math.max(minLength, random.below(Math.min(maxLength, 12) + 1));
    // Of four each, so that it is base64 as well.
    return Array.from({ length: Math.ceil(length / 4) }, () => random.pick(['ram0', 'AAAA', 'vm1x', 'Zz+/'])).join('');
  }

  /** Like `value`, but for one place of it, which is as no schema says. */
  mutated(value: unknown): unknown {
    const random = this.#random;
    if (typeof value !== 'object' || value === null || random.chance(0.1)) return this.odd();
    const copy = structuredClone(value) as Record<string, unknown>;
    const names = Object.keys(copy);
    const name = random.pick(names);
    if (name === undefined || random.chance(0.1)) return Object.assign(copy, { [this.text()]: this.odd() });
    if (random.chance(0.15)) {
      if (Array.isArray(copy)) copy.splice(Number(name), 1);
      else delete copy[name];
      return copy;
    }
    copy[name] = random.chance(0.5) ? this.mutated(copy[name]) : this.odd();
    return copy;
  }

  odd(): unknown {
    const random = this.#random;
    return random.weighted<() => unknown>([
      [6, () => random.pick(EDGES)],
      [6, () => random.pick(EDGES_64)],
      [6, () => random.pick(ODD)],
      [1, () => 'x'.repeat(random.pick([64, 65, 4096, 4097, 70_000])!)],
      [1, () => Array.from({ length: random.pick([1, 17, 1025])! }, () => random.pick(EDGES))],
      [1, () => nested(random.pick([3, 100, 2000])!)],
    ])();
  }
}

const ODD: readonly unknown[] = [
  null,
  true,
  false,
  '',
  ' ',
  [],
  {},
  [[]],
  1.5,
  -0.5,
  1e308,
  -1e-308,
  2 ** 53,
  2 ** 53 + 2,
  -(2 ** 53),
  2 ** 64,
  '0x',
  '0X10',
  '0x10000000000000000',
  '-1',
  '18446744073709551615',
  '18446744073709551616',
  '1e3',
  '0x1g',
  'NaN',
  'null',
  '\u0000',
  '\ud800',
  '\ufeff',
  '💾',
  'ﬀ',
  '../../etc/passwd',
  '/dev/iommu\u0000',
  '%00',
  "' OR 1=1 --",
  'constructor',
  'toString',
  '=====',
  'A',
  'AAA=',
  '0000:00:00.0',
  'ffff:ff:1f.7',
];

function nested(depth: number): unknown {
  let value: unknown = [];
  for (let level = 0; level < depth; level += 1) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}
