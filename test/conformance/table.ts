/**
 * `npm run conformance:table`: replays all golden traces and writes what passed into docs/conformance.md, request by
 * errno. `--check` only compares.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Outcome } from './report.ts';
import { runTraces } from './run.ts';
import { readTraces, type TracedCall, traceFiles } from './trace.ts';

const TRACES = fileURLToPath(new URL('traces', import.meta.url));
const PAGE = fileURLToPath(new URL('../../docs/conformance.md', import.meta.url));
const BEGIN = '<!-- table: npm run conformance:table -->';
const END = '<!-- end of table -->';

/** How a call is counted: by request where it has a known one. */
const rowOf = ({ call, request }: TracedCall): string =>
  typeof request !== 'string' ? call : request.startsWith('0x') ? '(unknown request)' : request;

function columnOf({ call, expect }: TracedCall): string {
  if (expect.blocked) return 'blocked';
  if (expect.errno) return expect.errno;
  return expect.ret === -1 && call === 'check' ? 'fail' : 'ok';
}

function markdown(outcomes: readonly Outcome[]): string {
  const suites = new Map<string, { passed: number; failed: number; skipped: number; calls: number }>();
  const counts = new Map<string, Map<string, number>>();
  const columns = new Map<string, number>();
  for (const { trace, outcome } of outcomes) {
    const folder = /traces\/([^/]+)\//.exec(trace.file)![1]!;
    const suite = suites.get(folder) ?? { passed: 0, failed: 0, skipped: 0, calls: 0 };
    suites.set(folder, suite);
    suite[outcome]++;
    if (outcome !== 'passed') continue;
    suite.calls += trace.calls.length;
    for (const { call } of trace.calls) {
      const row = counts.get(rowOf(call)) ?? new Map<string, number>();
      counts.set(rowOf(call), row);
      const column = columnOf(call);
      row.set(column, (row.get(column) ?? 0) + 1);
      columns.set(column, (columns.get(column) ?? 0) + 1);
    }
  }
  const names = [...columns].sort((a, b) => b[1] - a[1]).map(([name]) => name);
  const lines = [
    '| suite | traces passing | failing | not replayed | calls compared |',
    '| --- | --- | --- | --- | --- |',
    ...[...suites].map(
      ([name, { passed, failed, skipped, calls }]) => `| ${name} | ${passed} | ${failed} | ${skipped} | ${calls} |`,
    ),
    '',
    `| request | ${names.join(' | ')} |`,
    `| --- |${' --- |'.repeat(names.length)}`,
    ...[...counts]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, row]) => `| ${name} | ${names.map((column) => row.get(column) ?? '').join(' | ')} |`),
  ];
  return lines.join('\n');
}

const outcomes: Outcome[] = [];
await runTraces(traceFiles([TRACES]).flatMap(readTraces), { stopAtFirst: false }, (outcome) => outcomes.push(outcome));
const page = readFileSync(PAGE, 'utf8');
const [before, rest] = page.split(BEGIN);
const after = rest?.split(END)[1];
if (after === undefined) throw new Error(`${PAGE} has no place for the table`);
const next = `${before}${BEGIN}\n\n${markdown(outcomes)}\n\n${END}${after}`;
if (!process.argv.includes('--check')) writeFileSync(PAGE, next);
else if (next !== page) {
  console.error('docs/conformance.md is not what the traces say: npm run conformance:table');
  process.exitCode = 1;
}
