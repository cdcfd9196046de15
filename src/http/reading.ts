/**
 * How much is read of a connection, and of how many, before others have their turn. Node reads up to 2 MiB of each connection that
 * has sent so much, parses all of it, and tells of every request and every chunk of a body in it before it hears anybody else: a few
 * dozen connections with thousands of small ones would keep everybody waiting. Here the parser is given a little at a time, for as
 * long as its turn is. The rest goes back into the connection, which is not read meanwhile. And libuv reads all connections that have
 * something to say, up to 48 times 1,024 of them, before anything else is done (uv__io_poll): thousands that speak or go at once would
 * keep everybody waiting by that alone. So when a few have been heard in a turn, the others wait unread for theirs.
 */
import type { Socket } from 'node:net';
import { MAX_HELD } from '../limits.ts';
import { FairTurns, type KnownKeys } from './fair-turns.ts';

/**
 * The parser gets so many bytes at once: first what most requests have, and the most where those before were nothing but a piece of
 * a body, which is quick. The least, where many requests or chunks come, is not much more than one of them.
 */
const FIRST_BYTES = 1024;
const LEAST_BYTES = 256;
const MOST_BYTES = 64 << 10;
const QUICK_MS = 0.1;
/** For so long one connection is read, in milliseconds, until it is another one's turn. */
const SLICE_MS = 2;
/** So many connections are read in one turn of the event loop, if they have little to say. */
const AT_A_TIME = 64;

type Parse = (bytes: Buffer) => void;

/** What Node reads of a connection with. Behind its back it is stopped and started again: Node starts it wherever it looks for more. */
interface Handle {
  /** Node believes that it has been started. */
  reading: boolean;
  readStart(): void;
  readStop(): void;
}

const handleOf = (socket: Socket): Handle | null => (socket as unknown as { _handle: Handle | null })._handle;

/** Of one connection, what has arrived and is not parsed yet. */
export class Reader {
  readonly socket: Socket;
  parse: Parse;
  /** Whether the parser may have more. Who changes it to that resumes the socket. */
  readonly mayGoOn: () => boolean;
  /** The key that its last request came with. */
  key: string | undefined;
  /** It waits for its turn; it has its turn; it waits until its client reads answers. */
  isQueued = false;
  hasTurn = false;
  isDraining = false;
  /** In this turn it is read although others wait for theirs: it has waited before. */
  turn = -1;
  /** Bytes that went back into the socket. */
  held = 0;
  /** How many the parser is given at once. */
  bytes = FIRST_BYTES;

  constructor(socket: Socket, parse: Parse, mayGoOn: () => boolean) {
    this.socket = socket;
    this.parse = parse;
    this.mayGoOn = mayGoOn;
  }
}

export class Reading {
  readonly #turns: FairTurns;
  readonly #mostHeld: number;
  #held = 0;
  /** Those that Node reads as soon as they have something to say. */
  readonly #listening = new Set<Reader>();
  /** How many have been heard in this turn. */
  #heard = 0;
  #turn = -1;

  /** `mostHeld`: how many bytes may wait to be parsed. */
  constructor(keys: KnownKeys, mostHeld = MAX_HELD) {
    this.#mostHeld = mostHeld;
    this.#turns = new FairTurns(keys, AT_A_TIME);
  }

  /** Puts itself between the connection and the parser of Node's server, which has just got it. */
  watch(socket: Socket, mayGoOn: () => boolean): Reader {
    const [parse] = socket.listeners('data') as [Parse];
    socket.removeListener('data', parse);
    const reader = new Reader(socket, parse, mayGoOn);
    this.#listening.add(reader);
    socket.on('data', (bytes: Buffer) => this.#take(reader, bytes));
    socket.once('end', () => this.#hear());
    socket.once('error', () => this.#hear());
    socket.once('close', () => {
      this.#listening.delete(reader);
      this.#release(reader);
    });
    return reader;
  }

  /** The parser of the connection is gone: what still comes is thrown away. */
  end(reader: Reader): void {
    reader.parse = () => {};
  }

  /** A connection has said something, or is gone. */
  #hear(): void {
    const { turn } = this.#turns;
    if (this.#turn !== turn) this.#heard = 0;
    this.#turn = turn;
    this.#heard += 1;
    if (this.#heard !== AT_A_TIME) return;
    for (const reader of this.#listening) {
      if (reader.turn === turn) continue;
      this.#listening.delete(reader);
      handleOf(reader.socket)?.readStop();
      this.#turns.queue(reader.key, () => this.#listen(reader));
    }
  }

  #listen(reader: Reader): void {
    const handle = handleOf(reader.socket);
    if (handle === null) return;
    reader.turn = this.#turns.turn;
    this.#listening.add(reader);
    if (handle.reading) handle.readStart();
  }

  #take(reader: Reader, bytes: Buffer): void {
    const { socket } = reader;
    this.#release(reader);
    if (!reader.hasTurn) this.#hear();
    // Node itself resumes the socket on several occasions, such as the end of a request.
    if (!reader.mayGoOn()) this.#putBack(reader, bytes);
    // Nothing may come to Node's server while its answers are not read.
    else if (socket.writableNeedDrain) {
      this.#putBack(reader, bytes);
      if (!reader.isDraining) socket.once('drain', () => this.#drained(reader));
      reader.isDraining = true;
    } else if (reader.hasTurn || (!reader.isQueued && this.#turns.takes(reader.turn === this.#turns.turn)))
      this.#give(reader, bytes);
    else {
      this.#putBack(reader, bytes);
      this.#queue(reader);
    }
  }

  /** Gives the parser as much as there is time for. */
  #give(reader: Reader, bytes: Buffer): void {
    const { socket } = reader;
    const begun = performance.now();
    let before = begun;
    for (let at = 0; ; ) {
      const end = at + reader.bytes;
      reader.parse(at === 0 && end >= bytes.length ? bytes : bytes.subarray(at, end));
      at = end;
      const now = performance.now();
      this.#turns.spend(now - before);
      if (at >= bytes.length || socket.destroyed) return;
      const isPaused = socket.isPaused() || !reader.mayGoOn();
      reader.bytes = !isPaused && now - before < QUICK_MS ? Math.min(2 * reader.bytes, MOST_BYTES) : LEAST_BYTES;
      before = now;
      if (!isPaused && now - begun < SLICE_MS) continue;
      this.#putBack(reader, bytes.subarray(at));
      // Who has paused it will resume it.
      if (!isPaused) this.#queue(reader);
      return;
    }
  }

  /** The bytes come again when the connection is resumed. */
  #putBack(reader: Reader, bytes: Buffer): void {
    const { socket } = reader;
    socket.pause();
    socket.unshift(bytes);
    reader.held = bytes.length;
    this.#held += bytes.length;
    if (this.#held > this.#mostHeld && bytes.length > FIRST_BYTES) socket.destroy();
  }

  #queue(reader: Reader): void {
    if (reader.isQueued) return;
    reader.isQueued = true;
    this.#turns.queue(reader.key, () => {
      const { socket } = reader;
      reader.isQueued = false;
      if (socket.destroyed) return;
      reader.hasTurn = true;
      socket.resume();
      // What has been put back comes at once.
      socket.read();
      reader.hasTurn = false;
    });
  }

  #drained(reader: Reader): void {
    reader.isDraining = false;
    reader.socket.resume();
  }

  #release(reader: Reader): void {
    this.#held -= reader.held;
    reader.held = 0;
  }
}
