/** Figures as people read them: in a terminal, and in the README. */
import { cpus, totalmem } from 'node:os';
import type { Result } from './harness.ts';

/** What the figures are measured by. */
export const YARDSTICK =
  'Yardstick: the kernel itself. Linux 7.3, run natively as user-mode Linux with the mock domain of its own tests on two\n' +
  'shared cores, takes about 375 ns for an IOMMU_IOAS_MAP of 4 KiB without a domain and 1,255 ns with one, 370 and\n' +
  '1,020 ns to unmap it, and about 200 µs to choose an IOVA among 20,000 areas.';

export function machineLine(): string {
  const [cpu] = cpus();
  return `${cpus().length} × ${cpu?.model ?? 'unknown CPU'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}`;
}

const HEADERS = ['benchmark', 'value', 'floor', 'ratio', 'goal', 'met'];

/** Three digits and thousands separated: 1,230,000, 12.3, 0.0123. */
function shown(value: number): string {
  return value.toLocaleString('en-US', { maximumSignificantDigits: 3 });
}

function cells({ name, figure, value, unit, floor, ratio, goal, met }: Result): string[] {
  return [
    figure === '' ? name : `${name} (${figure})`,
    `${shown(value)} ${unit}`,
    floor === null ? '-' : shown(floor),
    ratio === null ? '-' : shown(ratio),
    goal,
    met ? 'yes' : 'no',
  ];
}

/** Columns of equal width; under each line what else is to be said of it. */
export function table(results: readonly Result[]): string {
  const rows = [HEADERS, ...results.map(cells)];
  const widths = HEADERS.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (row: string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd();
  const lines = [line(HEADERS), widths.map((width) => '-'.repeat(width)).join('  ')];
  for (const [index, result] of results.entries()) {
    lines.push(line(rows[index + 1]!));
    if (result.note !== '') lines.push(`    ${result.note}`);
  }
  return lines.join('\n');
}

/** The same as Markdown. */
export function markdown(results: readonly Result[]): string {
  const row = (values: string[]): string => `| ${values.join(' | ')} |`;
  const lines = [row(HEADERS), row(HEADERS.map(() => '---'))];
  for (const result of results) {
    const [name, ...rest] = cells(result);
    lines.push(row([name!.replace(result.name, `\`${result.name}\``), ...rest]));
  }
  return lines.join('\n');
}
