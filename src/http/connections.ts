/**
 * What a connection may ask ahead. Node begins every request that has arrived, whether or not anybody reads the
 * answers, and keeps these in memory. Here a connection has one request that is being answered; what comes behind it
 * waits until the answer has gone out. Whoever sends several at once relies on their order, too (RFC 9112, 9.3.2).
 */
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/**
 * A connection is not read while a request of it waits, but what arrives together, up to 64 KiB, has been parsed then.
 * When more requests than this wait, of all connections together, those that have more than a few of them are cut off.
 */
const MAX_WAITING = 16_384;
const FEW = 16;
/** How long an answer may lie there with nobody reading on, in milliseconds. */
const UNREAD_MS = 60_000;
/** Longer than proxies keep idle connections, which would otherwise use one that is being closed; in milliseconds. */
const KEEP_ALIVE_MS = 72_000;

interface Connection {
  readonly socket: Socket;
  /** Whether something is being answered. */
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
    // A body of lines may take as long as it likes. Headers have to arrive within 60 s, as Node has it.
    server.requestTimeout = 0;
    // A client that has sent all and says so, by closing its side, is answered all the same.
    Object.assign(server, { httpAllowHalfOpen: true });
    server.on('connection', (socket) => this.#watch(socket));
    server.on('request', (request, response) => this.#answer(handle, request, response));
    return server;
  }

  /** Answers, in its turn, what is not a request; `late`: because not all of it has arrived in time. */
  answerError(socket: Socket, late: boolean, answer: () => void): void {
    const connection = this.#bySocket.get(socket)!;
    const { busy, waiting, last } = connection;
    // It is we who do not read on.
    if (late && busy) return;
    if (last === null || last.request.complete) {
      this.#enter(connection, () => {
        answer();
        this.#leave(connection);
      });
    }
    // The body of a request has gone wrong: nothing is to come of that any more.
    else if (waiting.length === 0 && !last.response.headersSent) answer();
    else socket.destroy();
  }

  /** Resolves when all is answered. */
  async idle(): Promise<void> {
    if (this.#unanswered === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onIdle = resolve;
    await promise;
  }

  #watch(socket: Socket): void {
    const connection: Connection = { socket, busy: false, waiting: [], last: null };
    this.#bySocket.set(socket, connection);
    // Node itself resumes it on several occasions, such as the end of an answer.
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
        // Node ends a connection on which nothing has moved for so long; beginning the next answer lifts that.
        if (socket.writableLength > 0) socket.setTimeout(this.#unreadMs);
      });
      response.once('close', () => this.#leave(connection));
      handle(request, response);
    });
  }

  /** Begins, or waits until it is its turn. */
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

  /** The next has its turn, behind what others ask in the meantime. */
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
    // The last one that has arrived may have a body that has not.
    if (waiting.length === 0) socket.resume();
  }

  #settle(answers: number): void {
    this.#unanswered -= answers;
    if (this.#unanswered === 0) this.#onIdle();
  }
}
