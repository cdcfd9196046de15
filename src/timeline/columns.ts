/** Where the steps of a timeline stand in its picture. */
import type { KernelColumn, Step, Timeline } from './rows.ts';
import { duration } from './text.ts';

/** Widths, in pixels: of a step, of what lies between two kernels, of what is now, and of a kernel at the least. */
export const STEP = 46;
export const NOW = 104;
const BETWEEN = 40;
const KERNEL = 168;
const EDGE = 4;

/** The newest steps that are shown. */
export const MOST_STEPS = 400;

interface Place {
  readonly x: number;
  readonly width: number;
}

export class Columns {
  readonly left = EDGE;
  readonly width: number;
  readonly now: number;
  readonly kernels: (Place & { text: string; title: string })[] = [];
  readonly between: (Place & { text: string })[] = [];
  readonly steps: { step: Step; x: number; since: bigint }[] = [];
  /** The first step that is shown. */
  readonly from: number;
  readonly #xs: number[] = [];
  readonly #timeline: Timeline;

  constructor(timeline: Timeline) {
    this.#timeline = timeline;
    const { steps, kernels } = timeline;
    this.from = Math.max(0, steps.length - MOST_STEPS);
    let x = EDGE;
    for (const column of kernels) {
      const first = Math.max(column.from, this.from);
      if (column.to <= first) continue;
      if (this.steps.length > 0) x = this.#between(x, column);
      const isLast = column === kernels.at(-1);
      const begin = x;
      for (let index = first; index < column.to; index += 1) {
        const step = steps[index]!;
        this.#xs[index] = x;
        this.steps.push({ step, x, since: step.time - steps[column.from]!.time });
        x += STEP;
      }
      if (!isLast) x = Math.max(x, begin + KERNEL);
      const width = isLast ? Math.max(x + NOW, begin + KERNEL) - begin : x - begin;
      this.kernels.push({ x: begin, width, text: this.#nameOf(column, width), title: this.#titleOf(column) });
    }
    this.now = x;
    this.width = Math.max(x + NOW, (this.kernels.at(-1)?.x ?? 0) + (this.kernels.at(-1)?.width ?? 0)) + EDGE;
  }

  /** Whether anything that ends at this step, or goes on (null), is in the picture. */
  shows(to: number | null): boolean {
    return to === null || to > this.from;
  }

  /** The left of a step; of one that is not shown any more, of the first that is. */
  x(step: number): number {
    return this.#xs[step] ?? (step < this.from ? EDGE : this.now);
  }

  /** The same for what goes on without a kernel: behind the last step it ends at what is now. */
  edge(step: number): number {
    return step > this.#timeline.steps.length ? this.now + NOW - 6 : this.x(step);
  }

  /** When a step was, in words. */
  when(index: number): string {
    const step = this.#timeline.steps[index]!;
    return `kernel ${step.kernel}, from ${duration(step.time)} on`;
  }

  #between(x: number, { from, begun }: KernelColumn): number {
    const { steps } = this.#timeline;
    const time = steps[from]!.time - steps[from - 1]!.time;
    const isBack = begun?.kind === 'restored';
    const text = isBack ? `back to “${begun!.data.name}”` : time > 0n ? `no kernel for ${duration(time)}` : '';
    this.between.push({ x, width: BETWEEN, text });
    return x + BETWEEN;
  }

  #nameOf({ kernel, begun }: KernelColumn, width: number): string {
    const profile = begun?.kind === 'boot' ? ` · ${begun.data.profile}` : '';
    const whole = `kernel ${kernel}${profile}`;
    return whole.length * 6.8 < width ? whole : `kernel ${kernel}`;
  }

  #titleOf({ kernel, begun }: KernelColumn): string {
    return `kernel ${kernel}${begun === null ? '' : `: ${begun.message}`}`;
  }
}
