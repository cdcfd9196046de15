/** Small parts that several views have. */
import { html, nothing, type TemplateResult } from 'lit-html';
import type { Answer } from './answers.ts';

type Cell = TemplateResult | string | number | typeof nothing;

/** What is shown of an answer; while there is none, or it was refused, that. */
export function shown<Value>({ value, error, isAsking }: Answer<Value>, view: (value: Value) => Cell): Cell {
  if (value !== null) return view(value);
  if (error !== null) return html`<p class="bad" role="alert">${error.message}</p>`;
  return isAsking ? html`<p class="soft" role="status">Reading…</p>` : nothing;
}

/** A table in a part that can be scrolled, by keyboard, too. The first cell of a row is its head. */
export function table(
  name: string,
  heads: readonly string[],
  rows: readonly (readonly Cell[])[],
  none: string,
): TemplateResult {
  if (rows.length === 0) return html`<p class="soft">${none}</p>`;
  return html`<div class="wide" tabindex="0" role="region" aria-label=${name}>
    <table><thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
    <tbody>${rows.map(([first, ...cells]) => html`<tr><th scope="row">${first}</th>${cells.map((cell) => html`<td>${cell}</td>`)}</tr>`)}</tbody></table></div>`;
}

/** A state of a device: its letter with its colour, and words. */
export const stateSign = (letter: string, words: string): TemplateResult =>
  html`<span class=${`sign sign-${letter}`}>${letter}</span> ${words}`;

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

/** Bytes by the largest unit of which it is a whole number. */
export function bytes(hex: string): string {
  let [value, unit] = [BigInt(hex), 0];
  while (value > 0n && value % 1024n === 0n && unit < UNITS.length - 1) [value, unit] = [value / 1024n, unit + 1];
  return `${value} ${UNITS[unit]}`;
}

export const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? '' : 's'}`;

/** Gives a text to the browser as a file to keep. */
export function download(name: string, text: string, type: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
