/** Makes the runs of a translation. */
import { MAX_RUNS } from '../../limits.ts';
import { hex } from '../../machine/address.ts';
import type { Refused } from '../command.ts';
import type { TranslationRun } from '../views.ts';

export class Runs {
  readonly runs: TranslationRun[] = [];
  #end = 0n;
  #physicalEnd = -1;
  #length = 0n;

  add(address: bigint, length: bigint, physical: number, readable: boolean, writeable: boolean): void {
    const last = this.runs[this.runs.length - 1];
    if (
      last &&
      this.#end === address &&
      this.#physicalEnd === physical &&
      last.readable === readable &&
      last.writeable === writeable
    ) {
      this.#length += length;
      last.length = hex(this.#length);
    } else {
      this.#length = length;
      this.runs.push({ address: hex(address), length: hex(length), physical: hex(physical), readable, writeable });
    }
    this.#end = address + length;
    this.#physicalEnd = physical + Number(length);
  }
}

/** The answer where there are more than MAX_RUNS. */
export const tooManyRuns = (where: string): Refused => ({
  kind: 'refused',
  errno: 'E2BIG',
  where,
  why: `the range has more than ${MAX_RUNS} runs: ask for a smaller one`,
});
