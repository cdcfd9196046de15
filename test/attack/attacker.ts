/** What an attacker has: a key of a tenant, JSON, plain sockets, and a ledger of what the service has acknowledged. */
import { Agent, request as httpRequest, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http';
import { connect, type Socket } from 'node:net';

export interface Answer {
  /** 0: there was none. */
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

export interface Sent {
  /** JSON of anything but bytes and text, which go as they are. */
  body?: unknown;
  headers?: OutgoingHttpHeaders;
}

/** What has been acknowledged of a host. */
export interface Acknowledged {
  commands: number;
  /** Somebody has asked for that, whatever became of it. */
  deleted: boolean;
}

/** What an attacker has done. */
export interface Deeds {
  requests: number;
  /** How often each status was answered. */
  statuses: Record<number, number>;
  hosts: Record<string, Acknowledged>;
  /** What the service did not let it do. */
  refused?: string;
  /** An error of the attack itself, which then proves nothing. */
  failed?: string;
}

/** Paths whose requests make one command each. */
const COMMAND = /^\/v1\/hosts\/([^/]+)\/(processes(\/\d+\/calls)?|clock)$/;
const HOST = /^\/v1\/hosts\/([^/?]+)$/;
const CONNECTIONS = 256;

export class Attacker {
  readonly url: URL;
  readonly key: string;
  /** How large the attack is: 1 as it is described, less for a short test. */
  readonly scale: number;
  readonly deeds: Deeds = { requests: 0, statuses: {}, hosts: {} };
  /** False when time is up. */
  going = true;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  readonly #sockets = new Set<Socket>();
  /** What has been done is told: nothing more is. */
  #isOver = false;

  constructor({ url, key, scale }: { url: string; key: string; scale: number }) {
    this.url = new URL(url);
    this.key = key;
    this.scale = scale;
  }

  /** So many at the scale of this trial, and at least one. */
  size(full: number): number {
    return Math.max(1, Math.round(full * this.scale));
  }

  /** Does it again and again, so many at a time, until time is up. */
  async loops(atATime: number, work: (loop: number) => Promise<unknown>): Promise<void> {
    const loop = async (index: number): Promise<void> => {
      while (this.going) await work(index);
    };
    await Promise.all(Array.from({ length: atATime }, (_, index) => loop(index)));
  }

  get(path: string, headers: OutgoingHttpHeaders = {}): Promise<Answer> {
    return this.request('GET', path, { headers });
  }

  post(path: string, body: unknown, headers: OutgoingHttpHeaders = {}): Promise<Answer> {
    return this.request('POST', path, { body, headers });
  }

  request(method: string, path: string, { body, headers = {} }: Sent = {}): Promise<Answer> {
    if (this.#isOver) return Promise.resolve({ status: 0, headers: {}, text: '' });
    const { hostname, port } = this.url;
    const bytes = body === undefined ? null : encode(body);
    const all = {
      authorization: `Bearer ${this.key}`,
      ...(bytes && { 'content-type': 'application/json', 'content-length': bytes.byteLength }),
      ...headers,
    };
    const deleted = method === 'DELETE' ? this.deeds.hosts[HOST.exec(path)?.[1] ?? ''] : undefined;
    if (deleted !== undefined) deleted.deleted = true;
    const { promise, resolve } = Promise.withResolvers<Answer>();
    const none = (): void => resolve({ status: 0, headers: {}, text: '' });
    const asking = httpRequest({ hostname, port, method, path, agent: this.#agent, headers: all }, (answer) => {
      const parts: Buffer[] = [];
      answer.on('data', (part: Buffer) => parts.push(part));
      answer.on('error', none);
      answer.on('end', () => {
        const { statusCode: status = 0, headers } = answer;
        resolve({ status, headers, text: Buffer.concat(parts).toString() });
      });
      answer.on('close', none);
    });
    asking.on('error', none);
    asking.end(bytes);
    return promise.then((answer) => {
      this.#note(method, path, answer);
      return answer;
    });
  }

  /** A connection that is used in ways no client would; it ends with the attack. */
  socket(): Promise<Socket> {
    const { promise, resolve } = Promise.withResolvers<Socket>();
    const socket = connect({ host: this.url.hostname, port: Number(this.url.port), allowHalfOpen: true });
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => this.#sockets.delete(socket));
    socket.once('connect', () => resolve(socket));
    socket.once('close', () => resolve(socket));
    return promise;
  }

  /** The head of a request, as it goes over a socket. */
  head(method: string, path: string, headers: Record<string, string | number> = {}): string {
    const all = { host: this.url.host, authorization: `Bearer ${this.key}`, ...headers };
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
    return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`;
  }

  close(): void {
    this.#isOver = true;
    for (const socket of this.#sockets) socket.destroy();
    this.#agent.destroy();
  }

  #note(method: string, path: string, { status, text }: Answer): void {
    const { statuses, hosts } = this.deeds;
    this.deeds.requests += 1;
    statuses[status] = (statuses[status] ?? 0) + 1;
    if (method === 'POST' && path === '/v1/hosts' && status === 201)
      hosts[(JSON.parse(text) as { id: string }).id] = { commands: 0, deleted: false };
    const host = method === 'POST' && status >= 200 && status < 300 ? COMMAND.exec(path)?.[1] : undefined;
    if (host !== undefined && hosts[host] !== undefined) hosts[host].commands += 1;
  }
}

function encode(body: unknown): Uint8Array {
  if (body instanceof Uint8Array) return body;
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
}
