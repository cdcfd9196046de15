/** Where the steps of a timeline stand in its picture. */
import type { KernelColumn, Step, Timeline } from './rows.ts';
import { duration } from './text.ts';

/** Widths, in pixels, at the usual size: of a step, of what lies between two kernels, and of a kernel at the least. */
export const STEP = 46;
const BETWEEN = 40;
const KERNEL = 168;
/** Of what is now, at any size. */
export const NOW = 104;
const EDGE = 4;

/** The newest steps that a page shows. */
export const MOST_STEPS = 400;

interface Place {
  readonly x: number;
  readonly width: number;
}

interface KernelPlace extends Place {
  /** The steps that are shown of it; `to` is behind the last one. */
  readonly from: number;
  readonly to: number;
  readonly column: KernelColumn;
  readonly text: string;
  readonly title: string;
}

export class Columns {
  readonly left = EDGE;
  readonly width: number;
  readonly now: number;
  /** Of a step, in pixels. */
  readonly step: number;
  readonly kernels: KernelPlace[] = [];
  readonly between: (Place & { text: string })[] = [];
  /** The first step that is shown. */
  readonly from: number;
  readonly #timeline: Timeline;

  constructor(timeline: Timeline, { step = STEP, most = MOST_STEPS }: { step?: number; most?: number } = {}) {
    this.#timeline = timeline;
    this.step = step;
    const { steps, kernels } = timeline;
    this.from = Math.max(0, steps.length - most);
    const scale = step / STEP;
    let x = EDGE;
    for (const column of kernels) {
      const from = Math.max(column.from, this.from);
      if (column.to <= from) continue;
      if (this.kernels.length > 0) x = this.#between(x, BETWEEN * scale, column);
      const isLast = column === kernels.at(-1);
      const begin = x;
      x += (column.to - from) * step;
      if (!isLast) x = Math.max(x, begin + KERNEL * scale);
      const width = isLast ? Math.max(x + NOW, begin + KERNEL) - begin : x - begin;
      const { to } = column;
      this.kernels.push({
        x: begin,
        width,
        from,
        to,
        column,
        text: nameOf(column, width),
        title: titleOf(column),
      });
    }
    this.now = x;
    const last = this.kernels.at(-1);
    this.width = Math.max(x + NOW, last === undefined ? 0 : last.x + last.width) + EDGE;
  }

  /** Whether anything that ends at this step, or goes on (null), is in the picture. */
  shows(to: number | null): boolean {
    return to === null || to > this.from;
  }

  /** The left of a step; of one that is not shown any more, of the first that is. */
  x(step: number): number {
    if (step < this.from) return EDGE;
    if (step >= this.#timeline.steps.length) return this.now;
    const { x, from } = this.#kernelOf((place) => place.from <= step)!;
    return x + (step - from) * this.step;
  }

  /** The same for what goes on without a kernel: behind the last step it ends at what is now. */
  edge(step: number): number {
    return step > this.#timeline.steps.length ? this.now + NOW - 6 : this.x(step);
  }

  /** The last step that begins left of there, or the first of all; null: there is none. */
  stepAt(x: number): number | null {
    const kernel = this.#kernelOf((place) => place.x <= x) ?? this.kernels[0];
    if (kernel === undefined) return null;
    const step = kernel.from + Math.floor((x - kernel.x) / this.step);
    return Math.min(Math.max(step, kernel.from), kernel.to - 1);
  }

  /** The last one of which that is so; of all before it, it is so as well. */
  #kernelOf(isBehind: (place: KernelPlace) => boolean): KernelPlace | undefined {
    let [low, high] = [0, this.kernels.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isBehind(this.kernels[middle]!)) low = middle + 1;
      else high = middle;
    }
    return this.kernels[low - 1];
  }

  /** When a step was, in words. */
  when(index: number): string {
    const step = this.#timeline.steps[index]!;
    return `kernel ${step.kernel}, from ${duration(step.time)} on`;
  }

  /** Steps between two edges, each with its left and how long its kernel had run. */
  *steps(left: number, right: number): Generator<{ index: number; step: Step; x: number; since: bigint }> {
    const { steps } = this.#timeline;
    for (const { x, width, from, to, column } of this.kernels) {
      if (x > right || x + width < left) continue;
      const begun = steps[column.from]!.time;
      const first = Math.max(from, from + Math.floor((left - x) / this.step));
      for (let index = first; index < to && x + (index - from) * this.step <= right; index += 1) {
        const step = steps[index]!;
        yield { index, step, x: x + (index - from) * this.step, since: step.time - begun };
      }
    }
  }

  #between(x: number, width: number, { from, begun }: KernelColumn): number {
    const { steps } = this.#timeline;
    const time = steps[from]!.time - steps[from - 1]!.time;
    const isBack = begun?.kind === 'restored';
    const text = isBack ? `back to “${begun!.data.name}”` : time > 0n ? `no kernel for ${duration(time)}` : '';
    this.between.push({ x, width, text });
    return x + width;
  }
}

/** Of a character of a kernel's name, in pixels, about. */
const CHARACTER = 6.8;

function nameOf({ kernel, begun }: KernelColumn, width: number): string {
  const profile = begun?.kind === 'boot' ? ` · ${begun.data.profile}` : '';
  const names = [`kernel ${kernel}${profile}`, `kernel ${kernel}`, String(kernel)];
  return names.find(({ length }) => length * CHARACTER < width) ?? '';
}

const titleOf = ({ kernel, begun }: KernelColumn): string =>
  `kernel ${kernel}${begun === null ? '' : `: ${begun.message}`}`;
