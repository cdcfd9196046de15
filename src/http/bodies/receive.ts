/** Receives the body of a request as a whole, within bounds of size, time and memory. */
import type { IncomingMessage } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import { letBodyCome } from '../connections.ts';
import { Problem } from '../problems.ts';
import type { Claim } from './budget.ts';
import { takeBuffer } from './buffers.ts';

export interface Rules {
  /** The most bytes. */
  limit: number;
  claim: Claim;
  /** How long no byte may arrive, and how long all of them may take, in milliseconds. */
  idle: number;
  timeout: number;
}

/** What is taken of memory for a body that does not say its length: to begin with, and at the most at once. */
const FIRST_BYTES = 64 << 10;
const MOST_BYTES = 1 << 20;

/** The error that Fastify raises where it reads bodies itself. */
function tooLarge(): Error {
  return Object.assign(new Error('the body is too large'), { code: 'FST_ERR_CTP_BODY_TOO_LARGE', statusCode: 413 });
}

/** The problem of a body that takes too long. */
export function late(what: string, milliseconds: number, variable: string, advice: string): Problem {
  const detail = `${what} within ${milliseconds / 1000} s (${variable}). ${advice}`;
  return new Problem('request-timeout', detail, { headers: { connection: 'close' } });
}

const ADVICE = 'Nothing has changed: send it again.';

/**
 * Resolves with the bytes; those of a body of more than 16 KiB are in a buffer of their own, which can be given to another
 * thread. Rejects with a problem (408, 429, 503) or as Fastify does (413; cut off: 400). What can be refused by its length
 * is refused before any of it is read, and before a client that asks for it (Expect: 100-continue) is told to send it.
 */
export async function receive(request: IncomingMessage, rules: Rules): Promise<Uint8Array> {
  const { limit, claim } = rules;
  const header = request.headers['content-length'];
  const length = header === undefined ? undefined : Number(header);
  if (length !== undefined && length > limit) throw tooLarge();
  claim.raise(length ?? Math.min(FIRST_BYTES, limit));
  letBodyCome(request);
  return await new Promise((resolve, reject) => new Reception(request, length, rules, resolve, reject));
}

class Reception {
  readonly #request: IncomingMessage;
  readonly #length: number | undefined;
  readonly #rules: Rules;
  readonly #resolve: (body: Uint8Array) => void;
  readonly #reject: (error: Error) => void;
  readonly #begun = performance.now();
  readonly #timer: NodeJS.Timeout | undefined;
  /** Of a body that says its length. */
  #body: Uint8Array | undefined;
  /** Of others, one behind the other; only the last one has room. */
  readonly #blocks: Uint8Array[] = [];
  #room = 0;
  #size = 0;

  constructor(
    request: IncomingMessage,
    length: number | undefined,
    rules: Rules,
    resolve: (body: Uint8Array) => void,
    reject: (error: Error) => void,
  ) {
    this.#request = request;
    this.#length = length;
    this.#rules = rules;
    this.#resolve = resolve;
    this.#reject = reject;
    request.on('data', this.#onData);
    request.on('end', this.#onEnd);
    request.on('error', this.#onError);
    request.on('close', this.#onClose);
    if (!request.complete) {
      const { idle } = rules;
      this.#timer = setTimeout(
        () => this.#fail(late('No byte of the body arrived', idle, 'HOLDOVER_BODY_IDLE', ADVICE)),
        idle,
      );
    }
  }

  readonly #onData = (chunk: Buffer): void => {
    const { limit, timeout } = this.#rules;
    const end = this.#size + chunk.length;
    try {
      if (end > limit) throw tooLarge();
      if (performance.now() - this.#begun > timeout)
        throw late('The body did not arrive', timeout, 'HOLDOVER_BODY_TIMEOUT', ADVICE);
      // Most bodies are one chunk, which is not kept for long.
      if (end === this.#length && this.#size === 0) this.#body = chunk;
      else if (this.#length === undefined) this.#append(chunk);
      else {
        this.#body ??= takeBuffer(this.#length);
        this.#body.set(chunk, this.#size);
      }
      this.#size = end;
      this.#timer?.refresh();
    } catch (error) {
      this.#fail(error as Error);
    }
  };

  #append(chunk: Buffer): void {
    const { limit, claim } = this.#rules;
    for (let at = 0; at < chunk.length; ) {
      if (this.#room === 0) {
        const size = this.#size + at;
        this.#room = Math.min(limit - size, MOST_BYTES, Math.max(FIRST_BYTES, size));
        claim.raise(size + this.#room);
        this.#blocks.push(Buffer.allocUnsafeSlow(this.#room));
      }
      const block = this.#blocks.at(-1)!;
      const piece = chunk.subarray(at, at + this.#room);
      block.set(piece, block.length - this.#room);
      this.#room -= piece.length;
      at += piece.length;
    }
  }

  readonly #onEnd = (): void => {
    this.#stop();
    if (this.#length === undefined) void this.#join().then(this.#resolve);
    else this.#resolve(this.#body ?? new Uint8Array(0));
  };

  /** All blocks in one. Others have their turns between two of them. */
  async #join(): Promise<Uint8Array> {
    const body = takeBuffer(this.#size);
    for (let at = 0; at < body.length; ) {
      const block = this.#blocks.shift()!;
      body.set(block.subarray(0, body.length - at), at);
      at += block.length;
      if (at < body.length && block.length === MOST_BYTES) await setImmediate();
    }
    return body;
  }

  readonly #onError = (error: Error): void => this.#fail(Object.assign(error, { statusCode: 400 }));

  readonly #onClose = (): void => this.#fail(new Problem('malformed-body', 'The body was cut off.'));

  #fail(error: Error): void {
    this.#stop();
    // Nothing is kept of what still comes.
    this.#request.resume();
    this.#reject(error);
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#request.off('data', this.#onData);
    this.#request.off('end', this.#onEnd);
    this.#request.off('error', this.#onError);
    this.#request.off('close', this.#onClose);
  }
}
