/** What all benchmarks share: what a figure is, medians, how fast the disk is, and telling how far the run is. */
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** One measured figure. `name` is that of its benchmark, which may have several. */
export interface Result {
  name: string;
  /** Which of several figures of the benchmark; empty: there is only one. */
  figure: string;
  value: number;
  unit: string;
  /** The same of the least that could do it, measured in the same run; null: there is none. */
  floor: number | null;
  /** How the value compares to the floor, so that the goal can be read off it. */
  ratio: number | null;
  goal: string;
  met: boolean;
  /** What the floor is, and what else was seen. */
  note: string;
}

export interface Benchmark {
  name: string;
  /** What is measured, for people. */
  about: string;
  run(): Promise<Omit<Result, 'name'>[]>;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The value below which this part of them lies; of two in the middle their mean. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = part * (sorted.length - 1);
  return (sorted[Math.floor(at)]! + sorted[Math.ceil(at)]!) / 2;
}

export const now = (): number => performance.now();

/** Milliseconds that it takes. */
export async function timed(work: () => unknown): Promise<number> {
  const start = now();
  await work();
  return now() - start;
}

/** Runs it several times and keeps what each run says; the first `warm` runs do not count. */
export async function repeat<T>(runs: number, warm: number, work: (run: number) => Promise<T> | T): Promise<T[]> {
  const kept: T[] = [];
  for (let run = 0; run < warm + runs; run++) {
    const outcome = await work(run);
    if (run >= warm) kept.push(outcome);
  }
  return kept;
}

/** Measures at most once in a run: some figures come out of the same measurement, or rest on another one's. */
export function once<T>(work: () => Promise<T>): () => Promise<T> {
  let begun: Promise<T> | undefined;
  return () => {
    begun ??= work();
    return begun;
  };
}

/** Milliseconds of one fdatasync after a small write where the service keeps its data: disks vary by the minute. */
export function probeDisk(): number {
  const directory = temporaryDirectory('probe');
  const file = openSync(join(directory, 'probe'), 'w');
  const data = Buffer.alloc(4096, 1);
  const times = Array.from({ length: 15 }, () => {
    writeSync(file, data);
    const start = now();
    fdatasyncSync(file);
    return now() - start;
  });
  closeSync(file);
  rmSync(directory, { recursive: true, force: true });
  return median(times);
}

/** To be printed beside every figure that rests on a commit. */
export const diskNote = (): string => `fdatasync ${round(probeDisk())} ms`;

export function temporaryDirectory(what: string): string {
  return mkdtempSync(join(tmpdir(), `holdover-bench-${what}-`));
}

/** Three digits are all that such a figure is worth. */
export const round = (value: number): number => Number(value.toPrecision(3));

export function progress(line: string): void {
  process.stderr.write(`${line}\n`);
}
