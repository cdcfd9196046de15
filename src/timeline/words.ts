/** The timeline as a table of words, for those who do not see its picture. */
import { MOST_STEPS } from './columns.ts';
import type { DeviceRow, Timeline } from './rows.ts';
import type { SessionRow } from './sessions.ts';
import { wordsOf } from './states.ts';
import { duration, escaped } from './text.ts';

export function inWords(timeline: Timeline, devices: readonly DeviceRow[]): string {
  const { steps, sessions } = timeline;
  const first = Math.max(0, steps.length - MOST_STEPS);
  const kernels = timeline.kernels
    .filter(({ to }) => to > first)
    .map(({ kernel, from, to }) => ({ kernel, from: Math.max(from, first), to }));
  const heads = ['Of', ...kernels.map(({ kernel }) => `kernel ${kernel}`)].map(
    (text) => `<th scope="col">${text}</th>`,
  );
  const when = (step: number): string => duration(steps[Math.min(step, steps.length - 1)]!.time);
  const row = (name: string, cellOf: (from: number, to: number) => string[]): string => {
    const cells = kernels.map(({ from, to }) => `<td>${listed(cellOf(from, to))}</td>`);
    return `<tr><th scope="row">${escaped(name)}</th>${cells.join('')}</tr>`;
  };
  const rows = [
    ...sessions.map((session) => row(`session ${session.name}`, (from, to) => sessionIn(session, from, to, when))),
    ...devices.map((device) => row(device.bdf, (from, to) => deviceIn(device, from, to, when))),
  ];
  const caption = 'Each with the simulated time from which on it is so.';
  return `<table><caption>${caption}</caption><thead><tr>${heads.join('')}</tr></thead><tbody>${rows.join('\n')}</tbody></table>`;
}

const listed = (lines: readonly string[]): string =>
  `<ul class="plain">${lines.map((line) => `<li>${escaped(line)}</li>`).join('')}</ul>`;

type When = (step: number) => string;

function deviceIn({ stretches, marks, engines }: DeviceRow, first: number, behind: number, when: When): string[] {
  const isIn = (step: number): boolean => step >= first && step < behind;
  const lines: [step: number, line: string][] = [];
  for (const { from, to, state } of stretches)
    if (to > first && from < behind) lines.push([Math.max(from, first), `${state.letter}, ${wordsOf(state)}`]);
  for (const { step, what, events } of marks)
    if (isIn(step)) for (const { message } of events.slice(0, 8)) lines.push([step, `${what}: ${message}`]);
  for (const { engine, gaps } of engines)
    for (const { from, gap } of gaps)
      if (isIn(from)) lines.push([from, `gap of engine ${engine.id}: ${gap.pages} pages from ${gap.iova} on`]);
  return lines.sort(([one], [other]) => one - other).map(([step, line]) => `${when(step)}: ${line}`);
}

function sessionIn(session: SessionRow, first: number, behind: number, when: When): string[] {
  const { from, to, end, waiting, marks, isBack } = session;
  const isIn = (step: number): boolean => step >= first && step < behind;
  const lines: string[] = [];
  if (isIn(from)) lines.push(`${when(from)}: it is ${isBack ? 'what it was then' : 'made'}`);
  if (waiting?.to != null && waiting.to > from && isIn(waiting.to)) lines.push(`${when(waiting.to)}: it is retrieved`);
  for (const { step, event } of marks) if (isIn(step)) lines.push(`${when(step)}: ${event.message}`);
  if (to !== null && end !== null && isIn(to - 1)) lines.push(`${when(to - 1)}: it is ${end}`);
  return lines;
}
