/** HTTP/1.1 on a socket, so that a request can be anything, and an answer is taken as it stands on the wire. */
import { connect, type Socket } from 'node:net';

export interface Sent {
  method: string;
  /** Path and query, as they are. */
  target: string;
  headers: [name: string, value: string][];
  body?: Buffer;
}

export interface Answer {
  status: number;
  headers: Map<string, string>;
  text: string;
  milliseconds: number;
}

/** How long an answer is waited for, in milliseconds. */
const PATIENCE_MS = 30_000;
const END_OF_HEAD = '\r\n\r\n';

/** One connection, which is opened again where it is closed. */
export class Wire {
  readonly #port: number;
  #socket: Socket | null = null;
  #received: Buffer = Buffer.alloc(0);
  #wake: () => void = () => {};
  #ended = false;

  constructor(url: string) {
    this.#port = Number(new URL(url).port);
  }

  /** Throws if there is no answer, or not all of it. `last`: the connection is of no use afterwards. */
  async ask({ method, target, headers, body }: Sent, last = false): Promise<Answer> {
    if (this.#socket === null || this.#ended) this.#open();
    const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`);
    const head = Buffer.from(`${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`, 'utf8');
    const started = performance.now();
    this.#socket!.write(body === undefined ? head : Buffer.concat([head, body]));
    const timer = setTimeout(() => this.close(), PATIENCE_MS);
    try {
      const answer = await this.#answer(method);
      if (last || answer.headers.get('connection') === 'close') this.close();
      return { ...answer, milliseconds: performance.now() - started };
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.#socket?.destroy();
    this.#ended = true;
    this.#wake();
  }

  #open(): void {
    this.#socket?.destroy();
    this.#received = Buffer.alloc(0);
    this.#ended = false;
    const socket = connect({ port: this.#port, host: '127.0.0.1', noDelay: true });
    this.#socket = socket;
    const end = (): void => {
      if (this.#socket === socket) this.#ended = true;
      this.#wake();
    };
    socket.on('data', (chunk: Buffer) => {
      this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
      this.#wake();
    });
    socket.on('error', end);
    socket.on('end', end);
    socket.on('close', end);
  }

  /** Resolves when something has changed. Throws where nothing can come any more. */
  async #more(): Promise<void> {
    if (this.#ended)
      throw new Error(`the connection ended after ${JSON.stringify(this.#received.toString('latin1').slice(0, 300))}`);
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }

  async #until(length: number): Promise<Buffer> {
    while (this.#received.length < length) await this.#more();
    const taken = this.#received.subarray(0, length);
    this.#received = this.#received.subarray(length);
    return taken;
  }

  async #line(end: string): Promise<string> {
    let at = this.#received.indexOf(end);
    for (; at < 0; at = this.#received.indexOf(end)) await this.#more();
    return (await this.#until(at + end.length)).toString('latin1', 0, at);
  }

  async #answer(method: string): Promise<Omit<Answer, 'milliseconds'>> {
    const [first, ...lines] = (await this.#line(END_OF_HEAD)).split('\r\n');
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first!)?.[1]);
    if (!status) throw new Error(`not an answer: ${first}`);
    if (status < 200) return await this.#answer(method);
    const headers = new Map(
      lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
    );
    if (method === 'HEAD' || status === 204 || status === 304) return { status, headers, text: '' };
    // It goes on for as long as there are events.
    if (headers.get('content-type') === 'text/event-stream') {
      this.close();
      return { status, headers, text: '' };
    }
    const bytes = headers.get('transfer-encoding') === 'chunked' ? await this.#chunks() : await this.#body(headers);
    return { status, headers, text: bytes.toString('utf8') };
  }

  async #body(headers: Map<string, string>): Promise<Buffer> {
    const length = headers.get('content-length');
    if (length === undefined) throw new Error('an answer without a length');
    return await this.#until(Number(length));
  }

  async #chunks(): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for (;;) {
      const length = Number.parseInt(await this.#line('\r\n'), 16);
      if (length === 0) break;
      chunks.push(await this.#until(length));
      await this.#line('\r\n');
    }
    await this.#line('\r\n');
    return Buffer.concat(chunks);
  }
}
