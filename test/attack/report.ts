/** What trials show, a line each, and what of it must not be. */
import { BACK_WITHIN_S, mostMib, type Outcome } from './trial.ts';

export interface Bounds {
  /** Of the quiet tenant's answers, in milliseconds. */
  p99: number;
  /** MiB of the service's memory in RAM. */
  peak: number;
  /** From SIGTERM to the end, in seconds. */
  exit: number;
}

export const boundsOf = (lanes: number): Bounds => ({ p99: 50, peak: mostMib(lanes), exit: 5 });

/** What does not hold, a sentence each. */
export function findings(outcome: Outcome, bounds: Bounds): string[] {
  const { quiet, deeds, peak, rest, back, lanesDied, exit, exitSeconds, lost } = outcome;
  const found: string[] = [];
  const unless = (holds: boolean, sentence: string): void => {
    if (!holds) found.push(sentence);
  };
  unless(deeds.failed === undefined, `the attack is none: ${deeds.failed}`);
  unless(quiet.p99 <= bounds.p99, `p99 of the quiet tenant is ${quiet.p99.toFixed(0)} ms`);
  const errors = Object.entries(quiet.errors).map(([what, count]) => `${count} × ${what}`);
  unless(errors.length === 0, `the quiet tenant was answered ${errors.join(', ')}`);
  unless(peak <= bounds.peak, `${peak.toFixed(0)} MiB of memory`);
  unless(back !== null, `${rest.toFixed(0)} MiB of memory still, ${BACK_WITHIN_S} s later`);
  unless(lanesDied === 0, `${lanesDied} lanes died`);
  unless(exit === '0', `the service ended with ${exit}`);
  unless(exitSeconds <= bounds.exit, `it took ${exitSeconds.toFixed(1)} s to stop`);
  return [...found, ...lost.slice(0, 3)];
}

const COLUMNS = [
  ['attack', -44],
  ['s', 5],
  ['requests', 8],
  ['p50', 6],
  ['p99', 6],
  ['max', 6],
  ['late', 5],
  ['errors', 6],
  ['MiB', 5],
  ['after', 5],
  ['back', 5],
  ['lanes', 5],
  ['exit', 9],
  ['answers', -1],
] as const;

function row(cells: readonly string[]): string {
  const padded = cells.map((cell, index) => {
    const width = COLUMNS[index]![1];
    return width < 0 ? cell.padEnd(-width) : cell.padStart(width);
  });
  return padded.join('  ');
}

export const heading = (): string => row(COLUMNS.map(([name]) => name));

export function line({ name, seconds, quiet, deeds, ...rest }: Outcome): string {
  const ms = (value: number): string => value.toFixed(value < 10 ? 1 : 0);
  const statuses = Object.entries(deeds.statuses).map(([status, count]) => `${count} × ${status}`);
  return row([
    name,
    seconds.toFixed(1),
    String(deeds.requests),
    ms(quiet.p50),
    ms(quiet.p99),
    ms(quiet.max),
    ms(quiet.late),
    String(Object.values(quiet.errors).reduce((sum, count) => sum + count, 0)),
    rest.peak.toFixed(0),
    rest.rest.toFixed(0),
    rest.back === null ? '–' : rest.back.toFixed(1),
    String(rest.lanesDied),
    `${rest.exit} ${rest.exitSeconds.toFixed(1)} s`,
    [...statuses, ...(deeds.refused === undefined ? [] : [`refused ${deeds.refused}`])].join(', '),
  ]);
}
