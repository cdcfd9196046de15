/** What a person reads in a terminal: a line for each scenario, and all about those that failed. */
import type { Failure, Outcome, Summary } from '../outcome.ts';

export function line({ name, file, failure, milliseconds }: Outcome): string {
  const mark = failure === undefined ? 'ok  ' : 'FAIL';
  return `${mark}  ${name}  (${file}, ${Math.round(milliseconds)} ms)\n`;
}

export function end({ outcomes, passed, failed, milliseconds }: Summary): string {
  const failures = outcomes.flatMap(({ name, failure }) => (failure === undefined ? [] : [failureText(name, failure)]));
  const seconds = (milliseconds / 1000).toFixed(1);
  return `${failures.join('')}\n${passed} passed, ${failed} failed, in ${seconds} s\n`;
}

function failureText(name: string, failure: Failure): string {
  return `\nFAILED  ${name}\n${describe(failure)}\n`;
}

/** A failure in lines: where, what, the timeline, how to do it again. */
export function describe({ at, message, step, differences, timeline, reproduce }: Failure): string {
  const lines = [`  ${at}: ${message}`];
  if (step !== '') lines.push(...indented(step.split('\n'), '    > '));
  for (const { what, expected, got } of differences)
    lines.push(
      `    ${what === '' ? '' : `${what}: `}expected ${show(expected)}`,
      `    ${' '.repeat(what.length && what.length + 2)}got      ${show(got)}`,
    );
  if (timeline.length > 0) lines.push('  timeline:', ...indented(timeline, '    '));
  if (reproduce.length > 0)
    lines.push('  the same by hand, with HOLDOVER_URL and HOLDOVER_KEY set:', ...indented(reproduce, '    '));
  return lines.join('\n');
}

const indented = (lines: readonly string[], by: string): string[] => lines.map((text) => `${by}${text}`);

/** A value as people write it; text that is no value as it is. */
export function show(value: unknown): string {
  if (typeof value === 'string') return /^\(/.test(value) ? value : readable(value);
  const text = JSON.stringify(value);
  return text.length > 600 ? `${text.slice(0, 600)}…` : text;
}

/** Base64 with what it stands for, where that is plain text. */
function readable(value: string): string {
  if (!/^(?:[A-Za-z0-9+/]{4}){1,100}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(value)) return value;
  const text = Buffer.from(value, 'base64').toString('latin1');
  return /^[\x20-\x7e]+$/.test(text) && value.length > 4 ? `${value} (text: ${text})` : value;
}
