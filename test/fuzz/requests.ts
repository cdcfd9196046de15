/** Requests made from the OpenAPI document: valid ones that lead somewhere, and ones that are wrong somewhere. */
import type { Random } from '../crash/random.ts';
import { examplePath, OPERATIONS, type Operation, type Parameter, type Schema } from '../support/operations.ts';
import type { Guess } from './guess.ts';
import { Values } from './values.ts';
import type { Sent } from './wire.ts';

/** Operations of which others are made, or after which little is left, by how often they are asked. */
const WEIGHTS: Record<string, number> = {
  createHost: 0.3,
  deleteHost: 0.15,
  createProcess: 4,
  killProcess: 0.3,
  runCalls: 8,
  kexecHost: 0.4,
  crashHost: 0.2,
  resetHost: 0.2,
  openIommufd: 3,
  allocateIoas: 4,
  mapMemory: 4,
  createMemfd: 4,
  openCdev: 3,
  bindCdev: 3,
  attachCdev: 3,
  allocateHwpt: 4,
  closeDescriptor: 0.5,
  addDevice: 0.5,
  removeDevice: 0.3,
};
const FORMS = OPERATIONS.map((operation) => [WEIGHTS[operation.operationId] ?? 1, operation] as const);
/** A request may wait for events so long. */
const WAITS = ['0', '0s', '0.01s', '1ms'];

export interface Requested {
  sent: Sent;
  operation: Operation;
  /** The connection is of no use afterwards. */
  last: boolean;
}

const WRONGS = ['body', 'text', 'path', 'query', 'method', 'type', 'headers', 'key', 'head'] as const;

type Wrong = (typeof WRONGS)[number];

export class Requests {
  readonly #random: Random;
  readonly #guess: Guess;
  readonly #key: string;
  readonly #adminKey: string;
  readonly #host: string;
  readonly #values: Values;

  /** `host`: what the header Host says. */
  constructor(random: Random, guess: Guess, key: string, adminKey: string, host: string) {
    this.#random = random;
    this.#guess = guess;
    this.#key = key;
    this.#adminKey = adminKey;
    this.#host = host;
    this.#values = new Values(random, (name) => guess.of(name));
  }

  /** `wrongs`: what may be wrong with it. */
  next(wrongs: readonly Wrong[] = WRONGS): Requested {
    const random = this.#random;
    const operation = random.weighted(FORMS);
    const wrong = random.chance(0.45) ? (random.pick(wrongs) ?? null) : null;
    let [method, target] = [operation.method.toUpperCase(), this.#target(operation, wrong)];
    let headers: [string, string][] = [
      ['host', this.#host],
      ['authorization', `Bearer ${operation.access === 'admin' ? this.#adminKey : this.#key}`],
    ];
    let body: Buffer | undefined;
    const content = random.pick(operation.bodies);
    if (content) {
      const [type, { schema, example }] = content;
      headers.push(['content-type', type]);
      body = this.#body(type, schema, random.chance(0.3) ? example : undefined, wrong);
    }
    if (wrong === 'method')
      method = random.pick(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE'])!;
    if (wrong === 'type') {
      headers = headers.filter(([name]) => name !== 'content-type');
      if (random.chance(0.8)) headers.push(['content-type', random.pick(TYPES)!]);
    }
    if (wrong === 'key') headers = headers.filter(([name]) => name !== 'authorization').concat(random.pick(KEYS)!);
    if (wrong === 'headers') headers.push(...random.pick(HEADERS)!);
    if (body !== undefined || (wrong === 'method' && random.chance(0.5))) {
      body ??= Buffer.from('{}');
      headers.push(['content-length', String(body.length)]);
    }
    let last = false;
    if (wrong === 'head') {
      last = true;
      const strange = random.pick(HEADS)!;
      headers = strange(headers, body?.length ?? 0);
    }
    if (wrong === 'path') target = this.#wrongPath(target);
    return { sent: { method, target, headers, ...(body && { body }) }, operation, last };
  }

  #target(operation: Operation, wrong: string | null): string {
    const random = this.#random;
    const { parameters = [] } = operation;
    const inPath = parameters.filter((parameter) => parameter.in === 'path');
    const odd = wrong === 'path' && random.chance(0.7) ? random.pick(inPath)?.name : undefined;
    const values = Object.fromEntries(
      inPath.map(({ name, schema, example }) => [
        name,
        String(name === odd ? this.#values.odd() : this.#parameter(name, { ...schema, examples: [example] })),
      ]),
    );
    const path = examplePath({ ...operation, parameters: inPath }, wellFormed(values));
    const query = parameters.filter(
      (parameter) => parameter.in === 'query' && (parameter.required || random.chance(0.3)),
    );
    const pairs = query.flatMap((parameter) => this.#pair(parameter, wrong));
    if (wrong === 'query' && random.chance(0.4)) pairs.push(random.pick(QUERIES)!);
    return pairs.length === 0 ? path : `${path}?${pairs.join('&')}`;
  }

  #parameter(name: string, schema: Schema): unknown {
    return this.#guess.of(name) ?? this.#values.of(schema, name);
  }

  #pair({ name, schema, example }: Parameter, wrong: string | null): string[] {
    if (name === 'wait') return [`wait=${this.#random.pick(WAITS)}`];
    if (wrong === 'query' && this.#random.chance(0.3)) return [];
    const value = wrong === 'query' ? this.#values.odd() : this.#parameter(name, { ...schema, examples: [example] });
    return [`${name}=${encodeURIComponent(String(value).toWellFormed().slice(0, 3000))}`];
  }

  #wrongPath(target: string): string {
    const random = this.#random;
    const at = random.below(target.length);
    return random.weighted<() => string>([
      [2, () => target.slice(0, at) + random.pick(PIECES) + target.slice(at)],
      [1, () => target.replace(/\/[^/]*$/, '')],
      [1, () => `${target}/`],
      [1, () => target.toUpperCase()],
      [1, () => target.replace('/', '//')],
      [1, () => `http://elsewhere.example${target}`],
      [2, () => target],
      [0.1, () => target + 'a'.repeat(9000)],
    ])();
  }

  #body(type: string, schema: Schema, example: unknown, wrong: string | null): Buffer {
    const random = this.#random;
    const isLines = type !== 'application/json';
    const count = isLines ? random.between(1, 5) : 1;
    const texts = Array.from({ length: count }, () => {
      let value = example ?? this.#values.of(schema);
      if (value === null || typeof value !== 'object') value = {};
      if (wrong === 'body') value = this.#values.mutated(value);
      return JSON.stringify(value) ?? '';
    });
    const text = texts.join('\n') + (isLines ? '\n' : '');
    return wrong === 'text' ? this.#spoilt(text) : Buffer.from(text);
  }

  #spoilt(text: string): Buffer {
    const random = this.#random;
    const at = random.below(text.length + 1);
    const bytes = Buffer.from(text);
    return random.weighted<() => Buffer>([
      [2, () => bytes.subarray(0, at)],
      [2, () => Buffer.concat([bytes.subarray(0, at), Buffer.from(random.pick(SPOIL)!), bytes.subarray(at)])],
      [1, () => Buffer.concat([bytes.subarray(0, at), Buffer.from([random.below(256)]), bytes.subarray(at)])],
      [1, () => Buffer.from(`\ufeff${text}`)],
      [1, () => Buffer.from(text, 'utf16le')],
      [1, () => Buffer.from(text.replace('{', '{"__proto__":{"a":1},'))],
      [1, () => Buffer.from(text.replace('{', '{"name":1,"name":"x",'))],
      [1, () => Buffer.from('['.repeat(random.pick([100, 20_000])!))],
      [1, () => Buffer.from(' '.repeat(random.pick([10, 70_000])!) + text)],
      [1, () => Buffer.alloc(0)],
    ])();
  }
}

const wellFormed = (values: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, value.toWellFormed().slice(0, 2000)]));

const PIECES = ['/', '%', '%zz', '%2f', '%00', '..', '/../', ';a=b', '?', '&', '#', '\u007f', 'é', '%ff', '*', '\\'];
const QUERIES = [
  'x=1',
  'limit=1&limit=2',
  '=',
  '&&',
  'a[b]=c',
  '%=%',
  'limit=%',
  '__proto__=1',
  `q=${'a'.repeat(5000)}`,
];
const SPOIL = ['\0', '}', ']', ',', '"', '\\', '\\u12', '/**/', 'NaN', '1e999', '-', '\n\n', '\ud800', "'", 'é'];
const TYPES = [
  'text/plain',
  'application/json; charset=utf-16',
  'application/json; charset="utf-8"',
  'application/json;;;',
  'APPLICATION/JSON',
  'application/x-ndjson',
  'application/merge-patch+json',
  'multipart/form-data; boundary=x',
  '',
  '/',
  'application/json, application/json',
];
const KEYS: [string, string][][] = [
  [],
  [['authorization', 'Bearer']],
  [['authorization', 'Bearer no-such-key']],
  [['authorization', 'Basic YTpi']],
  [['authorization', `Bearer ${'k'.repeat(4000)}`]],
  [['authorization', 'Bearer é\u00ff']],
];
const HEADERS: [string, string][][] = [
  [['accept', 'text/event-stream']],
  [['accept', 'text/plain;q=0.5, */*;q=0.1']],
  [['accept', ';;;']],
  [['accept-encoding', 'gzip, br']],
  [['content-encoding', 'gzip']],
  [['content-encoding', 'identity']],
  [['if-none-match', '*']],
  [['range', 'bytes=5-1']],
  [['last-event-id', '-5']],
  [['last-event-id', '999999999999999999999-1']],
  [['x-forwarded-for', '1.2.3.4']],
  [['cookie', 'a=b; '.repeat(200)]],
  [['x-http-method-override', 'DELETE']],
  [['origin', 'null']],
];
type Headers = [string, string][];
/** What leaves nobody sure where the next request begins, or whose headers do not fit. */
const HEADS: ((headers: Headers, length: number) => Headers)[] = [
  (headers) => [...headers, ['host', 'another']],
  (headers) => headers.filter(([name]) => name !== 'host'),
  (headers) => [...headers, ['transfer-encoding', 'gzip']],
  (headers) => [...headers, ['content-length', '5']],
  (headers) => [...headers, ['content-length', '-1']],
  (headers) => [...headers, ['expect', 'a-miracle']],
  (headers, length) => (length > 0 ? [...headers, ['expect', '100-continue']] : headers),
  (headers) => [...headers, ['x', 'y'.repeat(20_000)]],
  (headers) => [...headers, ['upgrade', 'websocket'], ['connection', 'upgrade']],
  (headers) => [...headers, ['bad name', 'x']],
  (headers) => [...headers, ['connection', 'close']],
  (headers) => [...headers, ['x', 'a\u0001b']],
];
