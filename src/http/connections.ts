/**
 * Bounds what one connection can ask before it reads answers (pipelining). Node begins every request that has arrived,
 * whether or not anybody reads the answers, and keeps them in memory. Here one request of a connection is answered at a
 * time; later ones wait until its answer has gone out. Clients that pipeline rely on this order (RFC 9112, 9.3.2).
 */
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/**
 * How many requests of all connections may wait. A connection is not read while a request of it waits, but all that
 * arrived together, up to 64 KiB, has been parsed by then. Beyond the bound connections with more than FEW are cut off.
 */
const MAX_WAITING = 16_384;
const FEW = 16;
/** How long an answer may wait for a client that does not read on, in milliseconds. */
const UNREAD_MS = 60_000;
/** How long idle connections are kept, in milliseconds: longer than proxies do, which would else use a closing one. */
const KEEP_ALIVE_MS = 72_000;

interface Connection {
  readonly socket: Socket;
  /** A request is being answered. */
  busy: boolean;
  waiting: (() => void)[];
  /** The request that has arrived last, and its answer. */
  last: { request: IncomingMessage; response: ServerResponse } | null;
}

export class Connections {
  readonly #bySocket = new WeakMap<Socket, Connection>();
  readonly #unreadMs: number;
  #unanswered = 0;
  #waiting = 0;
  #onIdle = (): void => {};

  constructor(unreadMs = UNREAD_MS) {
    this.#unreadMs = unreadMs;
  }

  createServer(handle: RequestListener): Server {
    const server = createServer();
    server.keepAliveTimeout = KEEP_ALIVE_MS;
    // A body of lines may take any time. Headers have to arrive within 60 s (Node's headersTimeout).
    server.requestTimeout = 0;
    // A client that closes its side after its last request is still answered.
    Object.assign(server, { httpAllowHalfOpen: true });
    server.on('connection', (socket) => this.#watch(socket));
    server.on('request', (request, response) => this.#answer(handle, request, response));
    return server;
  }

  /** Answers, in its turn, what is not a valid request. `late`: it has not arrived as a whole in time. */
  answerError(socket: Socket, late: boolean, answer: () => void): void {
    const connection = this.#bySocket.get(socket)!;
    const { busy, waiting, last } = connection;
    // It is late because this connection is not read while it is busy.
    if (late && busy) return;
    if (last === null || last.request.complete) {
      this.#enter(connection, () => {
        answer();
        this.#leave(connection);
      });
    }
    // The body of the last request is broken: no request can follow on this connection.
    else if (waiting.length === 0 && !last.response.headersSent) answer();
    else socket.destroy();
  }

  /** Resolves when all requests are answered. */
  async idle(): Promise<void> {
    if (this.#unanswered === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onIdle = resolve;
    await promise;
  }

  #watch(socket: Socket): void {
    const connection: Connection = { socket, busy: false, waiting: [], last: null };
    this.#bySocket.set(socket, connection);
    // Node itself resumes the socket on several occasions, such as the end of an answer.
    socket.on('resume', () => {
      if (connection.waiting.length > 0) socket.pause();
    });
    socket.once('close', () => {
      const { busy, waiting } = connection;
      connection.busy = false;
      connection.waiting = [];
      this.#waiting -= waiting.length;
      this.#settle(waiting.length + (busy ? 1 : 0));
    });
  }

  #answer(handle: RequestListener, request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const connection = this.#bySocket.get(socket)!;
    connection.last = { request, response };
    this.#enter(connection, () => {
      response.once('prefinish', () => {
        // Node ends a connection on which nothing has moved for this long; `#beginNext` lifts the bound.
        if (socket.writableLength > 0) socket.setTimeout(this.#unreadMs);
      });
      response.once('close', () => this.#leave(connection));
      handle(request, response);
    });
  }

  /** Begins an answer, at once or when its turn comes. */
  #enter(connection: Connection, begin: () => void): void {
    const { socket, busy, waiting } = connection;
    if (socket.destroyed) return;
    this.#unanswered += 1;
    if (!busy) {
      connection.busy = true;
      begin();
      return;
    }
    waiting.push(begin);
    this.#waiting += 1;
    socket.pause();
    if (this.#waiting > MAX_WAITING && waiting.length > FEW) socket.destroy();
  }

  /** An answer is done: the next one begins, after what other connections have asked meanwhile. */
  #leave(connection: Connection): void {
    if (!connection.busy) return;
    this.#settle(1);
    if (connection.waiting.length > 0) setImmediate(() => this.#beginNext(connection));
    else Object.assign(connection, { busy: false, last: null });
  }

  #beginNext({ socket, waiting }: Connection): void {
    const begin = waiting.shift();
    if (begin === undefined) return;
    this.#waiting -= 1;
    socket.setTimeout(0);
    begin();
    // The body of the last request may not have arrived yet.
    if (waiting.length === 0) socket.resume();
  }

  #settle(answers: number): void {
    this.#unanswered -= answers;
    if (this.#unanswered === 0) this.#onIdle();
  }
}
