/** HTTP as a client sees it that may lose its service at any moment: either there is a whole answer, or none. */
import { Agent, type IncomingMessage, request } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import type { Answer, Request } from './operations.ts';

export const KEY = 'key-of-the-crash-test';
export const ADMIN_KEY = 'admin-key-of-the-crash-test';

/** Nobody listened. */
const REFUSED = Symbol('refused');
/** How often it is asked again then, and for how long, in milliseconds. */
const AGAIN_MS = 10;
const PATIENCE_MS = 10_000;

export class Wire {
  readonly url: string;
  readonly #waits: boolean;
  readonly #agent: Agent;
  readonly #sockets = new WeakSet<Socket>();
  #opened = 0;

  /**
   * `waits`: where nobody listens, which tells that nothing has been asked, it asks again until somebody does. `connections`: so
   * many are open at a time, at the most.
   */
  constructor(url: string, { waits = false, connections = 128 } = {}) {
    this.url = url;
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections });
    this.#waits = waits;
  }

  /** How many connections it has opened. */
  get opened(): number {
    return this.#opened;
  }

  /** Null: no answer came, or not all of it. Of lines, `progress` hears each one of the answer as it comes. */
  async ask(asked: Request, progress?: (line: string) => void): Promise<Answer | null> {
    for (const end = performance.now() + PATIENCE_MS; ; ) {
      const answer = await this.#ask(asked, progress);
      if (answer !== REFUSED) return answer;
      if (!this.#waits) return null;
      if (performance.now() > end) throw new Error('nobody listens');
      await setTimeout(AGAIN_MS);
    }
  }

  async #ask(
    { method, path, body, lines, key = KEY }: Request,
    progress?: (line: string) => void,
  ): Promise<Answer | null | typeof REFUSED> {
    const { promise, resolve } = Promise.withResolvers<Answer | null | typeof REFUSED>();
    const sent = request(`${this.url}${path}`, {
      method,
      agent: this.#agent,
      headers: {
        authorization: `Bearer ${key}`,
        ...(lines !== undefined && { 'content-type': 'application/x-ndjson' }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
    });
    sent.on('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'ECONNREFUSED' ? REFUSED : null));
    sent.on('socket', (socket) => {
      if (this.#sockets.has(socket)) return;
      this.#sockets.add(socket);
      this.#opened += 1;
    });
    let next = 0;
    const sendMore = (): void => {
      if (lines === undefined || next > lines.length || sent.destroyed) return;
      if (next < lines.length) sent.write(lines[next]);
      else sent.end();
      next += 1;
    };
    sent.on('response', (response) => {
      read(response, (line) => {
        progress?.(line);
        // Each piece is sent when the one before is acknowledged, so that there are many.
        sendMore();
      }).then(resolve, () => resolve(null));
    });
    if (lines !== undefined) sendMore();
    else sent.end(body === undefined ? undefined : JSON.stringify(body));
    return await promise;
  }

  async get<Value>(path: string): Promise<Value> {
    const answer = await this.ask({ method: 'GET', path });
    if (answer?.status !== 200) throw new Error(`GET ${path}: ${JSON.stringify(answer)}`);
    return answer.body as Value;
  }

  close(): void {
    this.#agent.destroy();
  }
}

async function read(response: IncomingMessage, hear: (line: string) => void): Promise<Answer> {
  const isLines = response.headers['content-type'] === 'application/x-ndjson';
  let text = '';
  let heard = 0;
  response.setEncoding('utf8');
  for await (const chunk of response) {
    text += chunk;
    for (let end = text.indexOf('\n', heard); isLines && end >= 0; end = text.indexOf('\n', heard)) {
      hear(text.slice(heard, end));
      heard = end + 1;
    }
  }
  // A kill may end the connection as if the body ended.
  if (!response.complete) throw new Error('the answer was cut off');
  const status = response.statusCode!;
  if (text === '') return { status, body: null };
  if (!isLines) return { status, body: JSON.parse(text) };
  return {
    status,
    body: text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line)),
  };
}
