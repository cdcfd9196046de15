/** What a run did: one that did nearly nothing would find nearly nothing. */
import type { CallResult } from '../../src/kernel/uapi/calls.ts';
import type { Found } from './journal.ts';
import type { Operation } from './operations.ts';

export class Statistics {
  rounds = 0;
  /** States that were compared. */
  states = 0;
  answered = 0;
  declined = 0;
  /** Operations of which nobody knew whether they had happened. */
  unknown = 0;
  /** Those of them that had. */
  happened = 0;
  /** Lines whose answer was cut off, behind an acknowledged piece. */
  cut = 0;
  kexecs = 0;
  /** DMA while there was no kernel. */
  between = 0;
  readonly #kinds = new Map<string, { all: number; refused: number }>();
  #frozen = false;

  note({ kind, outcome, answer, acknowledged, request }: Operation): void {
    if (outcome === 'unknown') {
      this.unknown += 1;
      if (acknowledged > 0) this.cut += 1;
    } else if (outcome === 'declined') this.declined += 1;
    else this.answered += 1;
    if (outcome !== 'answered' || answer === null) return;
    if (kind !== 'calls' || answer.status !== 200) {
      this.#count(kind, answer.status >= 300);
      return;
    }
    const { calls } = request.body as { calls: { call: string; request?: string }[] };
    const { results } = answer.body as { results: CallResult[] };
    for (const [index, call] of calls.entries()) {
      // The first one only names the request.
      if (index > 0) this.#count(call.request ?? call.call, results[index]!.errno !== undefined);
    }
  }

  noteFound({ operation, command }: Found): void {
    if (operation.outcome === 'unknown') this.happened += 1;
    if (command.op === 'kexec.boot') this.kexecs += 1;
    if (command.op === 'device.dma' && this.#frozen) this.between += 1;
    this.#frozen = command.op === 'kexec.freeze' || (this.#frozen && command.op === 'device.dma');
  }

  report(): string {
    const kinds = [...this.#kinds]
      .sort(([, a], [, b]) => b.all - a.all)
      .map(([kind, { all, refused }]) => `  ${kind.padEnd(40)} ${String(all).padStart(7)}, ${refused} of them refused`);
    return [
      `${this.rounds} rounds, ${this.answered} operations answered, ${this.declined} declined`,
      `${this.unknown} cut off, of which ${this.happened} commands had happened; ${this.cut} batches cut between lines`,
      `${this.kexecs} kexecs, ${this.between} DMAs between freeze and boot`,
      `${this.states} states compared`,
      ...kinds,
    ].join('\n');
  }

  #count(kind: string, refused: boolean): void {
    const counted = this.#kinds.get(kind) ?? { all: 0, refused: 0 };
    counted.all += 1;
    if (refused) counted.refused += 1;
    this.#kinds.set(kind, counted);
  }
}
