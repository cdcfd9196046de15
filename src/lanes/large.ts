/** Large answers leave the lane packed: whoever hands them on need not look into them. */
import type { Answer } from '../host/command.ts';
import { LARGE } from '../limits.ts';
import { isPacked, type Packed } from '../threads/packed.ts';
import type { Outcome } from './jobs.ts';
import { addInPieces, PLAIN, roomLeft } from './json-pieces.ts';
import { inSlices, type Pace } from './slices.ts';

/** Whether it is worked on in slices, as others would notice it otherwise. */
export function isLarge(answer: Answer): boolean {
  return answer.kind === 'ok' && roomLeft(answer.value, LARGE) < 0;
}

/** The outcome, whose answer is packed if it is large: then a promise. */
export function packLarge(outcome: Outcome<Answer>, pace: Pace): Outcome<Answer> | Promise<Outcome<Answer>> {
  const { value: answer, stored } = outcome;
  if (answer.kind !== 'ok' || !isLarge(answer)) return outcome;
  return inSlices(packing(answer.value), pace).then((value) => ({ value: { ...answer, value }, stored }));
}

/** What of an answer is given away. */
export function packedIn(answer: unknown): readonly ArrayBuffer[] {
  const { value } = (answer ?? {}) as { value?: unknown };
  return isPacked(value) ? [value.buffer] : [];
}

/** It ends with a line break, as answers do that people read. */
function* packing(value: unknown): Generator<void, Packed<unknown>> {
  const pieces = new Pieces();
  yield* addInPieces(value, PLAIN, (text) => pieces.add(text));
  pieces.add('\n');
  return yield* pieces.together();
}

/** Bytes of texts, whose number is known only at their end. */
class Pieces {
  readonly #full: Uint8Array[] = [];
  #last = Buffer.allocUnsafeSlow(LARGE);
  #used = 0;

  add(text: string): void {
    const size = Buffer.byteLength(text);
    if (this.#used + size > this.#last.length) {
      this.#full.push(this.#last.subarray(0, this.#used));
      this.#last = Buffer.allocUnsafeSlow(Math.max(size, LARGE));
      this.#used = 0;
    }
    this.#used += this.#last.write(text, this.#used);
  }

  *together(): Generator<void, Packed<unknown>> {
    const pieces = [...this.#full, this.#last.subarray(0, this.#used)];
    const bytes = Buffer.allocUnsafeSlow(pieces.reduce((size, piece) => size + piece.length, 0));
    let at = 0;
    for (const piece of pieces) {
      bytes.set(piece, at);
      at += piece.length;
      yield;
    }
    return bytes;
  }
}
