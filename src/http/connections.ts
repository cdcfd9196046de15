/**
 * Bounds what one connection can ask before it reads answers (pipelining). Node begins every request that has arrived,
 * whether or not anybody reads the answers, and keeps them in memory. Here one request of a connection is answered at a
 * time; later ones wait until its answer has gone out. Clients that pipeline rely on this order (RFC 9112, 9.3.2).
 */
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import {
  DRAIN_MS,
  FEW,
  HEADERS_MS,
  KEEP_ALIVE_MS,
  MAX_CONNECTIONS,
  MAX_HEAD,
  MAX_HELD,
  MAX_WAITING,
  UNREAD_MS,
} from '../limits.ts';
import { probeWhenHalfClosed } from './clients.ts';
import { FairTurns, KnownKeys, keyIn } from './fair-turns.ts';
import { Linger } from './linger.ts';
import { createServer } from './node-http.ts';
import { type Reader, Reading } from './reading.ts';

/** How long things may take, in milliseconds: see limits.ts. */
export interface Patience {
  headers: number;
  keepAlive: number;
  unread: number;
  drain: number;
}

const PATIENCE: Patience = { headers: HEADERS_MS, keepAlive: KEEP_ALIVE_MS, unread: UNREAD_MS, drain: DRAIN_MS };
/** So many times within that it is looked whether the headers of a connection are late. */
const LOOKS = 6;

/** So many requests are begun in one turn of the event loop. */
const AT_A_TIME = 32;
/** So many new connections are begun with in one turn. */
const ARRIVALS_AT_A_TIME = 32;

interface Connection {
  readonly socket: Socket;
  readonly reader: Reader;
  /** A request is being answered. */
  busy: boolean;
  /** The answer that is being made, if it is not one to what is no request. */
  current: ServerResponse | undefined;
  /** Another one is. */
  onCurrent: () => void;
  waiting: (() => void)[];
  /** The request that has arrived last, and its answer. */
  last: { request: IncomingMessage; response: ServerResponse } | null;
  /** Ends it, whatever else comes. */
  end?: NodeJS.Timeout;
}

/** Somebody asks for a tunnel (CONNECT). */
class NoTunnel extends Error {
  readonly code = NO_TUNNEL;
}
export const NO_TUNNEL = 'no tunnel';

/** Requests whose clients send their bodies only when they are told to (Expect: 100-continue). */
const awaitingLeave = new WeakMap<IncomingMessage, ServerResponse>();

/** The body of this request is going to be read. */
export function letBodyCome(request: IncomingMessage): void {
  awaitingLeave.get(request)?.writeContinue();
  awaitingLeave.delete(request);
}

export class Connections {
  readonly #bySocket = new WeakMap<Socket, Connection>();
  readonly #patience: Patience;
  #unanswered = 0;
  #waiting = 0;
  #onIdle = (): void => {};
  /** Those of tenants, whose requests have turns of their own. */
  readonly keys = new KnownKeys();
  readonly #turns = new FairTurns(this.keys, AT_A_TIME);
  readonly #reading: Reading;
  readonly #linger: Linger;
  readonly #mostConnections: number;
  readonly #mostWaiting: number;
  /** New connections. */
  readonly #arrivals = new FairTurns(this.keys, ARRIVALS_AT_A_TIME);

  /** `threads`: so many share what connections may have. */
  constructor(patience: Partial<Patience> = {}, threads = 1) {
    this.#patience = { ...PATIENCE, ...patience };
    this.#reading = new Reading(this.keys, Math.ceil(MAX_HELD / threads));
    this.#linger = new Linger(threads);
    this.#mostConnections = Math.ceil(MAX_CONNECTIONS / threads);
    this.#mostWaiting = Math.ceil(MAX_WAITING / threads);
  }

  createServer(handle: RequestListener): Server {
    const { headers, keepAlive } = this.#patience;
    const server = createServer({
      headersTimeout: headers,
      connectionsCheckingInterval: Math.ceil(headers / LOOKS),
      // Bodies have bounds of their own (bodies/receive.ts, batch-lines.ts): lines may come for any time.
      requestTimeout: 0,
      keepAliveTimeout: keepAlive,
      maxHeaderSize: MAX_HEAD,
      // Node would answer without a word, and before those whose turn it is: head.ts does it.
      requireHostHeader: false,
    });
    server.maxConnections = this.#mostConnections;
    // A client that closes its side after its last request is still answered.
    Object.assign(server, { httpAllowHalfOpen: true });
    // What Node does with a new connection, and what we do, takes its time where thousands come at once.
    const listeners = server.listeners('connection') as ((socket: Socket) => void)[];
    server.removeAllListeners('connection');
    server.on('connection', (socket: Socket) => {
      // It may be reset before its turn.
      socket.on('error', () => {});
      this.#arrivals.enter(undefined, () => {
        if (socket.destroyed) return;
        for (const listen of listeners) listen.call(server, socket);
        this.#watch(socket);
      });
    });
    const answer: RequestListener = (request, response) => this.#answer(handle, request, response);
    server.on('request', answer);
    // Without this one Node would refuse what it does not know; head.ts does it with words.
    server.on('checkExpectation', answer);
    // A tunnel: it is for proxies.
    server.on('connect', ({ socket }) => {
      this.#reading.end(this.#bySocket.get(socket)!.reader);
      server.emit('clientError', new NoTunnel(), socket);
    });
    server.on('checkContinue', (request, response) => {
      awaitingLeave.set(request, response);
      answer(request, response);
    });
    return server;
  }

  /** Answers, in its turn, what is not a valid request, and ends the connection. `late`: it has not arrived in time. */
  answerError(socket: Socket, late: boolean, answer: () => void): void {
    const connection = this.#bySocket.get(socket)!;
    const { busy, waiting, last } = connection;
    // It is late because this connection is not read while it is busy.
    if (late && busy) return;
    if (last === null || last.request.complete) {
      this.#enter(connection, () => {
        answer();
        this.#endSoon(connection);
        this.#leave(connection);
      });
    }
    // The body of the last request is broken: no request can follow on this connection.
    else if (waiting.length === 0 && !last.response.headersSent) {
      answer();
      this.#endSoon(connection);
    } else socket.destroy();
  }

  /** Resolves when all requests are answered. */
  async idle(): Promise<void> {
    if (this.#unanswered === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onIdle = resolve;
    await promise;
  }

  #watch(socket: Socket): void {
    const connection: Connection = {
      socket,
      reader: this.#reading.watch(socket, () => connection.waiting.length === 0),
      busy: false,
      current: undefined,
      onCurrent: probeWhenHalfClosed(socket, () => connection.current),
      waiting: [],
      last: null,
    };
    this.#bySocket.set(socket, connection);
    // Node calls this behind the last answer of a connection. If bytes came then that nobody reads, the system would reset
    // the connection, and the client might lose the answer.
    const destroySoon = socket.destroySoon.bind(socket);
    socket.destroySoon = () => {
      if (connection.last?.request.complete !== false) return destroySoon();
      this.#forget(connection);
      socket.end();
      this.#endSoon(connection);
    };
    socket.once('close', () => {
      clearTimeout(connection.end);
      this.#forget(connection);
      if (!connection.busy) return;
      connection.busy = false;
      this.#settle(1);
    });
  }

  /** Nothing of what waits on the connection is begun. */
  #forget(connection: Connection): void {
    const { waiting } = connection;
    connection.waiting = [];
    this.#waiting -= waiting.length;
    this.#settle(waiting.length);
  }

  /** What still comes is thrown away, but not for long. */
  #endSoon(connection: Connection): void {
    connection.end ??= setTimeout(() => connection.socket.destroy(), this.#patience.drain);
  }

  #answer(handle: RequestListener, request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const connection = this.#bySocket.get(socket)!;
    connection.last = { request, response };
    const key = keyIn(request.headers);
    connection.reader.key = key;
    this.#enter(connection, () => {
      connection.current = response;
      connection.onCurrent();
      response.once('prefinish', () => {
        // Node ends a connection on which nothing has moved for this long; `#beginNext` lifts the bound.
        if (socket.writableLength > 0) socket.setTimeout(this.#patience.unread);
      });
      response.once('pipe', () => this.#endUnread(socket, response));
      response.once('close', () => {
        if (!request.complete) this.#awaitRest(connection, request);
        this.#leave(connection);
      });
      this.#turns.enter(key, () => {
        // Its client has gone meanwhile.
        if (!response.destroyed) handle(request, response);
      });
    });
  }

  /** Ends the connection where a stream of an answer stands still, since nobody reads it. */
  #endUnread(socket: Socket, response: ServerResponse): void {
    let written = socket.bytesWritten;
    const timer = setInterval(() => {
      if (response.writableNeedDrain && socket.bytesWritten === written) socket.destroy();
      written = socket.bytesWritten;
    }, this.#patience.unread).unref();
    response.once('close', () => clearInterval(timer));
  }

  /** The request is answered, and the rest of its body still arrives: the next one can only come behind it. */
  #awaitRest(connection: Connection, request: IncomingMessage): void {
    if (connection.socket.destroyed) return;
    this.#endSoon(connection);
    request.once('close', () => {
      if (!connection.socket.writable) return;
      clearTimeout(connection.end);
      delete connection.end;
    });
  }

  /** Begins an answer, at once or when its turn comes. */
  #enter(connection: Connection, begin: () => void): void {
    const { socket, busy, waiting } = connection;
    // It is closed, or about to be: what comes behind the last answer is not begun.
    if (!socket.writable) return;
    if (this.#unanswered === 0) this.#linger.busy();
    this.#unanswered += 1;
    if (!busy) {
      connection.busy = true;
      begin();
      return;
    }
    waiting.push(begin);
    this.#waiting += 1;
    if (this.#waiting > this.#mostWaiting && waiting.length > FEW) socket.destroy();
  }

  /** An answer is done: the next one begins, after what other connections have asked meanwhile. */
  #leave(connection: Connection): void {
    if (!connection.busy) return;
    connection.current = undefined;
    this.#settle(1);
    if (connection.waiting.length > 0) return void setImmediate(() => this.#beginNext(connection));
    connection.busy = false;
    connection.last = null;
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
    if (this.#unanswered > 0) return;
    this.#linger.idle();
    this.#onIdle();
  }
}
