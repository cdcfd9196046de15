/**
 * HTTP over plain sockets: a load generator must not be what is measured, and shares its cores with the service. One
 * request at a time on a connection, answers with a Content-Length, nothing else.
 */
import { connect, type Socket } from 'node:net';

export interface Response {
  status: number;
  body: Buffer;
}

interface Waiting {
  resolve(response: Response): void;
  reject(error: Error): void;
}

const HEAD_END = Buffer.from('\r\n\r\n');

/** A request as the bytes that go out, made once and sent often. */
export function encodeRequest(method: string, path: string, key: string, body: Uint8Array | null = null): Buffer {
  const lines = [`${method} ${path} HTTP/1.1`, 'host: bench', `authorization: Bearer ${key}`];
  if (body) lines.push('content-type: application/json', `content-length: ${body.byteLength}`);
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`);
  return body ? Buffer.concat([head, body]) : head;
}

export class Connection {
  readonly #socket: Socket;
  #waiting: Waiting | null = null;
  #parts: Buffer[] = [];
  #received = 0;
  /** Bytes of the answer in all, as far as that is known. */
  #expected = Number.POSITIVE_INFINITY;
  #bodyStart = 0;
  #status = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (part: Buffer) => this.#receive(part));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the service closed the connection')));
  }

  static open(port: number): Promise<Connection> {
    const { promise, resolve, reject } = Promise.withResolvers<Connection>();
    const socket = connect(port, '127.0.0.1');
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(new Connection(socket));
    });
    return promise;
  }

  send(request: Buffer): Promise<Response> {
    // As one is on which nothing was asked for long.
    if (this.#socket.destroyed) return Promise.reject(new Error('the service has closed the connection'));
    const { promise, resolve, reject } = Promise.withResolvers<Response>();
    this.#waiting = { resolve, reject };
    this.#socket.write(request);
    return promise;
  }

  close(): void {
    this.#waiting = null;
    this.#socket.destroy();
  }

  #receive(part: Buffer): void {
    this.#parts.push(part);
    this.#received += part.length;
    if (this.#expected === Number.POSITIVE_INFINITY) this.#readHead();
    if (this.#received < this.#expected) return;
    const waiting = this.#waiting;
    const body = Buffer.concat(this.#parts).subarray(this.#bodyStart);
    this.#waiting = null;
    this.#parts = [];
    this.#received = 0;
    this.#expected = Number.POSITIVE_INFINITY;
    waiting?.resolve({ status: this.#status, body });
  }

  #readHead(): void {
    const bytes = Buffer.concat(this.#parts);
    this.#parts = [bytes];
    const end = bytes.indexOf(HEAD_END);
    if (end < 0) return;
    const head = bytes.toString('latin1', 0, end);
    const length = /\r\ncontent-length: (\d+)/i.exec(head);
    this.#status = Number(head.slice(9, 12));
    this.#bodyStart = end + HEAD_END.length;
    if (length === null && this.#status !== 204) this.#fail(new Error(`an answer without a length: ${head}`));
    this.#expected = this.#bodyStart + Number(length?.[1] ?? 0);
  }

  #fail(error: Error): void {
    this.#waiting?.reject(error);
    this.#waiting = null;
  }
}

/** A client that speaks JSON and takes nothing but success. */
export class Client {
  readonly port: number;
  readonly key: string;
  readonly connection: Connection;

  private constructor(port: number, key: string, connection: Connection) {
    this.port = port;
    this.key = key;
    this.connection = connection;
  }

  static async open({ port, key }: { port: number; key: string }): Promise<Client> {
    return new Client(port, key, await Connection.open(port));
  }

  request<T = Record<string, unknown>>(method: string, path: string, body?: unknown): Promise<T> {
    const bytes = body === undefined ? null : Buffer.from(JSON.stringify(body));
    return this.send<T>(encodeRequest(method, path, this.key, bytes));
  }

  async send<T = Record<string, unknown>>(request: Buffer): Promise<T> {
    const { status, body } = await this.connection.send(request);
    const text = body.toString();
    if (status < 200 || status > 299) throw new Error(`the service answers ${status}: ${text.slice(0, 500)}`);
    return (text === '' ? {} : JSON.parse(text)) as T;
  }

  close(): void {
    this.connection.close();
  }
}
