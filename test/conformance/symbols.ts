/**
 * Symbols stand for what the kernel chose: object ids and descriptors. A symbol of something that is gone may be used
 * as a wrong number, but here its number may have been given to something else; then another is put in its place.
 */
import type { Json, JsonObject } from './trace.ts';

const SYMBOL = /^\$[a-z_]+\d+$/;
/** Session names and bytes are never symbols, whatever they look like; in paths those behind a slash are. */
const LITERAL_FIELDS = new Set(['name', 'data']);
const IN_PATH = /(?<=\/)\$[a-z_]+\d+/g;

/** Numbers that no live object and no open descriptor has. */
const DEAD_ID = 0x7fffff01;
const DEAD_FD = 777;

/** Where a number is unique: among the descriptors of a process, or among the objects of an iommufd. */
export type Space = `fd ${number}` | `iommufd ${number}` | 'any';

interface Bound {
  value: Json;
  space: Space;
}

export class Symbols {
  readonly #bound = new Map<string, Bound>();
  /** Which symbol a number of a space belongs to now. */
  readonly #latest = new Map<string, string>();

  has(symbol: unknown): symbol is string {
    return typeof symbol === 'string' && this.#bound.has(symbol);
  }

  /** `name` as `as` has it, without the dollar sign. */
  bind(name: string, value: Json, space: Space): void {
    const symbol = `$${name}`;
    this.#bound.set(symbol, { value, space });
    if (space !== 'any') this.#latest.set(`${space}: ${value}`, symbol);
  }

  value(symbol: string): Json {
    const bound = this.#bound.get(symbol);
    if (bound === undefined) throw new Error(`${symbol} is used before a line that binds it`);
    return bound.value;
  }

  /** Whether its number has been given to something else meanwhile. */
  isSuperseded(symbol: string): boolean {
    const bound = this.#bound.get(symbol);
    if (bound === undefined || bound.space === 'any') return false;
    return this.#latest.get(`${bound.space}: ${bound.value}`) !== symbol;
  }

  /** What a call says, with symbols replaced. */
  argument(json: Json): Json {
    return replace(json, (symbol) => {
      if (!this.isSuperseded(symbol)) return this.value(symbol);
      return this.#bound.get(symbol)?.space.startsWith('fd') ? DEAD_FD : DEAD_ID;
    });
  }

  /** What a call should answer, with symbols replaced. */
  expectation(json: Json): Json {
    return replace(json, (symbol) => this.value(symbol));
  }
}

function replace(json: Json, resolve: (symbol: string) => Json): Json {
  if (typeof json === 'string') return SYMBOL.test(json) ? resolve(json) : json;
  if (Array.isArray(json)) return json.map((item) => replace(item, resolve));
  if (json === null || typeof json !== 'object') return json;
  const replaced: JsonObject = {};
  for (const [key, value] of Object.entries(json))
    if (key === 'path') replaced[key] = String(value).replace(IN_PATH, (symbol) => String(resolve(symbol)));
    else replaced[key] = LITERAL_FIELDS.has(key) ? value : replace(value, resolve);
  return replaced;
}
