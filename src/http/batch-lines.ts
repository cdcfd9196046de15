/**
 * Batches of any size, sent as lines: the body is cut into pieces, and each piece is a command that is stored by
 * itself.
 */

import { finished, type Readable } from 'node:stream';
import type { BatchResult, BatchView } from '../host/batch/execution.ts';
import type { Answer } from '../host/command.ts';
import { MAX_BATCH_ERRORS, MAX_LINE } from '../limits.ts';
import { hex } from '../machine/address.ts';
import { granted } from './answers.ts';
import { giveBack, takeBuffer } from './bodies/buffers.ts';
import { checkUtf8 } from './bodies/json.ts';
import { late } from './bodies/receive.ts';
import { Problem, type ProblemDocument } from './problems.ts';
import { invalid } from './validation.ts';

/** About how many bytes a piece has. */
const PIECE_BYTES = 1 << 20;
/** If nothing arrives for this long, in milliseconds, the lines that are there become a piece. */
const PATIENCE_MS = 100;
/** What reading lines takes of memory: a piece, what becomes the next one, and what has arrived in between. */
export const LINES_MEMORY = 3 * PIECE_BYTES;

const NEWLINE = 0x0a;

/**
 * Yields pieces of whole lines as they arrive. Throws if the stream breaks off, or no line arrives for `idle` milliseconds;
 * lines that are no piece yet are dropped. `isEven`: where pieces end depends on nothing but the bytes. A body that is not read to its end is not destroyed: its connection would be, too.
 */
async function* piecesOf(
  source: Readable,
  idle: number,
  isEven: boolean,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  const arrivals = new Arrivals(source);
  /** Whole lines; `rest`: the beginning of the line behind them. */
  let lines: Buffer[] = [];
  let rest: Buffer[] = [];
  /** Their bytes: they are not counted anew with each. */
  let lineBytes = 0;
  let restBytes = 0;
  const take = (buffers: Buffer[], bytes: number): Uint8Array<ArrayBuffer> => {
    // A buffer of its own, which can be transferred to another thread.
    const piece = takeBuffer(bytes);
    let at = 0;
    for (const buffer of buffers) {
      piece.set(buffer, at);
      at += buffer.length;
    }
    return piece;
  };
  /** When a line has arrived last. While a piece is worked off nobody looks for lines, so that does not count. */
  let heard = performance.now();
  try {
    for (;;) {
      // All that has arrived, however many chunks it came in.
      const arrived = source.read() as Buffer | null;
      const chunk = isEven ? beginningOf(arrived, PIECE_BYTES - lineBytes - restBytes, source) : arrived;
      if (chunk !== null) {
        const end = chunk.lastIndexOf(NEWLINE) + 1;
        if (end > 0) {
          lines.push(...rest, chunk.subarray(0, end));
          lineBytes += restBytes + end;
          rest = [];
          restBytes = 0;
          heard = performance.now();
        }
        if (end < chunk.length) rest.push(chunk.subarray(end));
        restBytes += chunk.length - end;
        if (restBytes > MAX_LINE) throw tooLong();
        if (lineBytes + (isEven ? restBytes : 0) < PIECE_BYTES) continue;
      } else {
        if (arrivals.areOver()) break;
        const left = heard + idle - performance.now();
        if (left > 0 && (await arrivals.come(lines.length > 0 && !isEven ? PATIENCE_MS : left))) continue;
        if (lines.length === 0 || isEven)
          throw late(
            'No line arrived',
            idle,
            'HOLDOVER_BODY_IDLE',
            'Send those that have not been acknowledged again.',
          );
      }
      const piece = take(lines, lineBytes);
      lines = [];
      lineBytes = 0;
      yield piece;
      heard = performance.now();
    }
    if (lines.length + rest.length > 0) yield take([...lines, ...rest], lineBytes + restBytes);
  } finally {
    arrivals.forget();
  }
}

/** At most so many bytes of what has arrived; the others arrive once more. */
function beginningOf(arrived: Buffer | null, most: number, source: Readable): Buffer | null {
  if (arrived === null || arrived.length <= most) return arrived;
  source.unshift(arrived.subarray(most));
  return arrived.subarray(0, most);
}

/** What comes of a stream, and its end. */
class Arrivals {
  readonly #source: Readable;
  readonly #forgetEnd: () => void;
  #end: { error: Error | null | undefined } | undefined;
  #wake = (): void => {};

  constructor(source: Readable) {
    this.#source = source;
    source.on('readable', this.#note);
    this.#forgetEnd = finished(source, { writable: false }, (error) => {
      this.#end = { error };
      this.#wake();
    });
  }

  readonly #note = (): void => this.#wake();

  /** Nothing more comes. Throws where the stream broke off. */
  areOver(): boolean {
    if (this.#end?.error) throw this.#end.error;
    return this.#end !== undefined;
  }

  /** Resolves when something has come, or the end, and with false if neither does for so many milliseconds. */
  async come(patience: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(resolve, patience, false);
    this.#wake = () => resolve(true);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  forget(): void {
    this.#source.off('readable', this.#note);
    this.#forgetEnd();
  }
}

function tooLong(): Problem {
  return invalid([{ in: 'body', pointer: '', reason: `a line may have ${MAX_LINE} bytes at most` }]);
}

/** The answer of a host to one piece. */
type PieceView = BatchView & { results?: BatchResult[] };

interface Progress {
  acknowledged: number;
  applied: number;
  failed: number;
  mappedBytes: string;
  unmappedBytes: string;
}

export interface LinesOptions {
  source: Readable;
  /** How long no line may arrive, in milliseconds. */
  idle: number;
  /** Pieces are cut as they would be if the same body came another time. */
  isEven: boolean;
  /** The first refusal ends the batch. */
  stops: boolean;
  /** Runs a piece; `base`: how many operations of the request came before it. */
  run: (piece: Uint8Array<ArrayBuffer>, base: number) => Promise<Answer>;
  /** Turns an error into the problem of the last line, when the answer has begun. */
  explain: (error: Error) => ProblemDocument;
}

/**
 * Yields the lines of the answer: one for each piece, when it is stored, and a last one. An error before the first line
 * is thrown; a later one is in the last line (`problem`).
 */
export async function* answerLines({
  source,
  idle,
  isEven,
  stops,
  run,
  explain,
}: LinesOptions): AsyncGenerator<string, void> {
  const so: Progress = { acknowledged: 0, applied: 0, failed: 0, mappedBytes: '0x0', unmappedBytes: '0x0' };
  let told = 0;
  let begun = false;
  try {
    for await (const piece of piecesOf(source, idle, isEven)) {
      checkUtf8(piece);
      const view = granted<PieceView>(await run(piece, so.acknowledged));
      giveBack(piece);
      const { applied, failed, results } = view;
      so.acknowledged += applied + failed;
      so.applied += applied;
      so.failed += failed;
      so.mappedBytes = sum(so.mappedBytes, view.mappedBytes);
      so.unmappedBytes = sum(so.unmappedBytes, view.unmappedBytes);
      const errors = view.errors.slice(0, MAX_BATCH_ERRORS - told);
      told += errors.length;
      begun = true;
      yield line({ ...so, errors, ...(results && { results }) });
      if (stops && failed > 0) break;
    }
  } catch (error) {
    if (!begun) throw wasCut(error) ? new Problem('malformed-body', 'The body was cut off.') : error;
    yield line({ ...so, errors: [], problem: explain(error as Error) });
    return;
  }
  yield line({ ...so, errors: [], done: true });
}

const wasCut = (error: unknown): boolean => (error as { code?: string }).code === 'ECONNRESET';

const sum = (a: string, b: string): string => hex(BigInt(a) + BigInt(b));

const line = (progress: object): string => `${JSON.stringify(progress)}\n`;
