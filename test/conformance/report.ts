/** What a run of traces came to, for people and for programs. */
import { relative } from 'node:path';
import type { Difference } from './replay.ts';
import type { Trace } from './trace.ts';

export type Outcome =
  | { trace: Trace; outcome: 'passed' }
  | { trace: Trace; outcome: 'skipped'; reason: string }
  | { trace: Trace; outcome: 'failed'; difference: Difference };

export interface Report {
  add(outcome: Outcome): void;
  /** Prints the figures; whether no trace failed. */
  end(): boolean;
}

type Print = (line: string) => void;

class Tally {
  passed = 0;
  failed = 0;
  readonly skipped = new Map<string, number>();

  add(outcome: Outcome): void {
    if (outcome.outcome === 'passed') this.passed++;
    else if (outcome.outcome === 'failed') this.failed++;
    else this.skipped.set(outcome.reason, (this.skipped.get(outcome.reason) ?? 0) + 1);
  }

  get skippedTraces(): number {
    return [...this.skipped.values()].reduce((sum, count) => sum + count, 0);
  }
}

/** A paragraph for each failed trace, then the figures. */
export function textReport(print: Print): Report {
  const tally = new Tally();
  return {
    add(outcome) {
      tally.add(outcome);
      if (outcome.outcome === 'failed') print(describe(outcome.trace, outcome.difference));
    },
    end() {
      const reasons = [...tally.skipped].map(([reason, count]) => `${count}: ${reason}`);
      if (reasons.length > 0) print(`${tally.skippedTraces} skipped (${reasons.join('; ')})`);
      print(`${tally.passed} passed, ${tally.failed} failed`);
      return tally.failed === 0;
    },
  };
}

/** JSON Lines: an object for each trace, the last one with the figures. */
export function jsonReport(print: Print): Report {
  const tally = new Tally();
  return {
    add({ trace, ...outcome }) {
      tally.add({ trace, ...outcome } as Outcome);
      print(JSON.stringify({ file: path(trace), trace: trace.name, suite: trace.header.suite, ...outcome }));
    },
    end() {
      print(JSON.stringify({ passed: tally.passed, failed: tally.failed, skipped: tally.skippedTraces }));
      return tally.failed === 0;
    },
  };
}

export function describe(trace: Trace, { line, call, expected, got }: Difference): string {
  const { expect: _expect, ...asked } = call;
  return [
    `FAILED ${trace.name} (${path(trace)}:${line}), call ${call.n}`,
    `  call      ${JSON.stringify(asked)}`,
    `  expected  ${JSON.stringify(expected)}`,
    `  got       ${typeof got === 'string' ? got : JSON.stringify(got)}`,
  ].join('\n');
}

function path(trace: Trace): string {
  const fromHere = relative('.', trace.file);
  return fromHere.startsWith('..') ? trace.file : fromHere;
}
