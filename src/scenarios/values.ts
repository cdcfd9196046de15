/** Values of a scenario: symbols, sums of them, text in place of base64, and numbers of 64 bits. */
import { didYouMean } from '../nearest.ts';

/** Something in a scenario cannot be used; `path` leads to it from where the value began. */
export class ValueError extends Error {
  readonly path: readonly (string | number)[];

  constructor(message: string, path: readonly (string | number)[]) {
    super(message);
    this.path = path;
  }
}

type Path = readonly (string | number)[];

const NAME = String.raw`[A-Za-z_]\w*(?:\.[\w-]+)*`;
/** `$name`, `$name.field`, and sums: `$iova + 0x1000 - $length`. */
const WHOLE = new RegExp(String.raw`^\$${NAME}(?: [+-] (?:\$${NAME}|\d\w*))*$`);
const TERMS = new RegExp(String.raw`(^|[+-] )(\$${NAME}|\d\w*)`, 'g');
const WITHIN = new RegExp(String.raw`\$\$|\$\{(${NAME})\}|\$([A-Za-z_]\w*)`, 'g');
const SIZE = /^(\d+)(Ki|Mi|Gi)$/;
const UNITS: Readonly<Record<string, bigint>> = { Ki: 1n << 10n, Mi: 1n << 20n, Gi: 1n << 30n };

/** Symbols by name; those further in front hide those behind. */
export type Scopes = readonly Map<string, unknown>[];

/** The value with its symbols replaced, and `{text: …}` as base64. */
export function resolve(value: unknown, scopes: Scopes, path: Path = []): unknown {
  if (typeof value === 'string') return resolveString(value, scopes, path);
  if (Array.isArray(value)) return value.map((item, index) => resolve(item, scopes, [...path, index]));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value);
  if (entries.length === 1 && entries[0]![0] === 'text')
    return Buffer.from(String(resolve(entries[0]![1], scopes, [...path, 'text']))).toString('base64');
  return Object.fromEntries(
    entries.map(([key, item]) => [String(resolveString(key, scopes, path)), resolve(item, scopes, [...path, key])]),
  );
}

function resolveString(text: string, scopes: Scopes, path: Path): unknown {
  if (WHOLE.test(text)) {
    const terms = [...text.matchAll(TERMS)];
    if (terms.length === 1) return symbol(text.slice(1), scopes, path);
    return sum(
      terms.map(([, sign, term]) => {
        const given = term!.startsWith('$') ? symbol(term!.slice(1), scopes, path) : parseSize(term!);
        const number = asBigInt(given);
        if (number === undefined) throw new ValueError(`\`${term}\` is no number: ${JSON.stringify(given)}`, path);
        return sign?.startsWith('-') ? -number : number;
      }),
    );
  }
  return text.replace(WITHIN, (whole, braced?: string, bare?: string) =>
    whole === '$$' ? '$' : String(symbol(braced ?? bare!, scopes, path)),
  );
}

const sum = (terms: readonly bigint[]): unknown => fitting(terms.reduce((total, term) => total + term, 0n));

/** A number where it is safe, else hexadecimal, as the API takes it. */
export const fitting = (value: bigint): number | string =>
  value <= BigInt(Number.MAX_SAFE_INTEGER) && value >= BigInt(Number.MIN_SAFE_INTEGER)
    ? Number(value)
    : `0x${value.toString(16)}`;

function symbol(expression: string, scopes: Scopes, path: Path): unknown {
  const [name, ...fields] = expression.split('.');
  const scope = scopes.find((candidate) => candidate.has(name!));
  if (scope === undefined) {
    const known = scopes.flatMap((candidate) => [...candidate.keys()]);
    throw new ValueError(`there is no symbol \`${name}\` here${didYouMean(name, known)}`, path);
  }
  const found = at(scope.get(name!), fields.join('.'));
  if (found === undefined) throw new ValueError(`\`$${name}\` has no \`${fields.join('.')}\``, path);
  return found;
}

/** What a path such as `results.0.data` leads to. */
export function at(value: unknown, path: string): unknown {
  let found = value;
  for (const key of path === '' ? [] : path.split('.'))
    found = typeof found === 'object' && found !== null ? (found as Record<string, unknown>)[key] : undefined;
  return found;
}

/** `64Mi` and the like as a number; any other text as it is. */
export function parseSize(text: string): unknown {
  const [, count, unit] = SIZE.exec(text) ?? [];
  return count === undefined ? text : fitting(BigInt(count) * UNITS[unit!]!);
}

export const isSize = (text: string): boolean => SIZE.test(text);

/** A number as the API gives and takes it: a whole number, or hexadecimal or decimal digits. */
export function asBigInt(value: unknown): bigint | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : undefined;
  if (typeof value === 'string' && /^(0x[0-9a-f]+|-?\d+)$/i.test(value)) return BigInt(value);
  return undefined;
}
