/** The service as the console asks it: by fetch, with the key in a header. */
import { createParser } from 'eventsource-parser';
import type { HostEvent } from '../host/views.ts';

/** What the service answers where it refuses (RFC 9457). */
export interface Problem {
  title: string;
  status: number;
  detail: string;
  errno?: string;
  where?: string;
  rule?: string | null;
}

export class Refused extends Error {
  override readonly name = 'Refused';
  readonly problem: Problem;

  constructor(problem: Problem) {
    const { detail, errno, where } = problem;
    super(errno === undefined ? detail : `${errno} (${where}): ${detail}`);
    this.problem = problem;
  }

  get isKeyRefused(): boolean {
    return this.problem.status === 401;
  }
}

/** Nobody answered. */
class Unreached extends Error {
  override readonly name = 'Unreached';
}

export interface Asked {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  path: string;
  /** JSON already, or what becomes it. */
  body?: unknown;
}

interface Page<Item> {
  items: Item[];
  nextPageToken: string | null;
}

/** Where the service is: a proxy may have it below a path of its own. */
const BASE = `${location.origin}${location.pathname.replace(/\/console\/?$/, '')}`;

/** Of a page of a list, at the most. */
const PAGE = 1000;

export class Client {
  readonly #key: string;

  constructor(key: string) {
    this.#key = key;
  }

  /** Throws Refused and Unreached. */
  async ask<Answer>(asked: Asked): Promise<Answer> {
    const { text } = await this.read(asked);
    return (text === '' ? null : JSON.parse(text)) as Answer;
  }

  /** All items of a list, page by page. */
  async *pages<Item>(path: string): AsyncGenerator<Item[]> {
    const sign = path.includes('?') ? '&' : '?';
    for (let after: string | null = ''; after !== null; ) {
      const below: string = after === '' ? '' : `&after=${encodeURIComponent(after)}`;
      const page: Page<Item> = await this.ask({ method: 'GET', path: `${path}${sign}limit=${PAGE}${below}` });
      yield page.items;
      after = page.nextPageToken;
    }
  }

  async all<Item>(path: string): Promise<Item[]> {
    const items: Item[] = [];
    for await (const page of this.pages<Item>(path)) items.push(...page);
    return items;
  }

  /** Of a list that has no pages. */
  async whole<Item>(path: string): Promise<Item[]> {
    return (await this.ask<{ items: Item[] }>({ method: 'GET', path })).items;
  }

  /** The text of an answer and the version that it is of; `text` is empty where that is `known`. */
  async read(asked: Asked, known?: string | null): Promise<{ text: string; version: string | null }> {
    const response = await this.#open(asked, known ? { 'if-none-match': known } : {});
    const version = response.headers.get('etag');
    return { text: await reached(response.text()), version };
  }

  /** Events behind that one, as they happen, until the connection ends. Null: some were lost in between. */
  async *follow(path: string, last: string | null, signal: AbortSignal): AsyncGenerator<HostEvent[] | null> {
    const headers = { accept: 'text/event-stream', ...(last !== null && { 'last-event-id': last }) };
    const { body } = await this.#open({ method: 'GET', path }, headers, signal);
    let told: HostEvent[] = [];
    let isGap = false;
    const parser = createParser({
      onEvent({ event, data }) {
        if (event === 'gap') isGap = true;
        else told.push(JSON.parse(data));
      },
    });
    const reader = body!.pipeThrough(new TextDecoderStream()).getReader();
    // It is open, and tells nothing yet.
    yield [];
    for (;;) {
      const { done, value } = await reached(reader.read());
      if (done) return;
      parser.feed(value);
      if (isGap) yield null;
      if (told.length > 0) yield told;
      [told, isGap] = [[], false];
    }
  }

  async #open(
    { method, path, body }: Asked,
    headers: Record<string, string> = {},
    signal: AbortSignal | null = null,
  ): Promise<Response> {
    const response = await reached(
      fetch(`${BASE}${path}`, {
        method,
        signal,
        cache: 'no-store',
        // What is asked while the page goes is asked all the same.
        keepalive: method === 'DELETE',
        headers: {
          authorization: `Bearer ${this.#key}`,
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { body: textOf(body) }),
      }),
    );
    if (response.ok || response.status === 304) return response;
    const text = await reached(response.text());
    if (response.headers.get('content-type')?.startsWith('application/problem+json'))
      throw new Refused(JSON.parse(text) as Problem);
    throw new Unreached(`What answers (${response.status}) is no Holdover.`);
  }
}

const textOf = (body: unknown): string => (typeof body === 'string' ? body : JSON.stringify(body));

async function reached<Value>(asked: Promise<Value>): Promise<Value> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new Unreached('The service does not answer.');
  }
}

/** The path of a host, or below it. */
export const ofHost = (host: string, below = ''): string => `/v1/hosts/${encodeURIComponent(host)}${below}`;

/** The line that asks the same from a shell; the key is the reader's, in a variable. */
export function curlOf({ method, path, body }: Asked): string {
  const parts = ['curl', ...(method === 'GET' ? [] : ['-X', method])];
  parts.push('-H', '"authorization: Bearer $HOLDOVER_KEY"');
  if (body !== undefined) parts.push('-H', quoted('content-type: application/json'), '-d', quoted(textOf(body)));
  return [...parts, quoted(`${BASE}${path}`)].join(' ');
}

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
