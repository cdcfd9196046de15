/** Small parts that several views have. */
import { html, nothing, type TemplateResult } from 'lit-html';
import type { DeviceView, PreservedFile } from '../host/views.ts';
import { NOBODY, shortWordsOf } from '../timeline/states.ts';
import type { Answer } from './answers.ts';
import type { Choices } from './choices.ts';

export type Cell = TemplateResult | string | number | typeof nothing;

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

/** A state of a device: its letter with its colour, and words: short ones if none are given. */
export const stateSign = (
  letter: DeviceView['state'],
  words: string = letter === 'N' ? 'none' : shortWordsOf({ ...NOBODY, letter }),
): TemplateResult => html`<span class=${`sign sign-${letter}`}>${letter}</span> ${words}`;

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

/** Bytes by the largest unit of which it is a whole number. */
export function bytes(hex: string): string {
  let [value, unit] = [BigInt(hex), 0];
  while (value > 0n && value % 1024n === 0n && unit < UNITS.length - 1) [value, unit] = [value / 1024n, unit + 1];
  return `${value} ${UNITS[unit]}`;
}

/** Gives a text to the browser as a file to keep. */
export function download(name: string, text: string, type: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

export const facts = (pairs: readonly (readonly [term: string, text: Cell])[]): TemplateResult =>
  html`<dl class="facts">${pairs.map(([term, text]) => html`<div><dt>${term}</dt><dd>${text}</dd></div>`)}</dl>`;

/** What a list of rows that open looks like. */
export interface Columns {
  /** The class that says how wide they are. */
  kind: string;
  names: readonly string[];
}

export interface Row {
  /** Its name among what is open. */
  key: string;
  isOpenAtFirst?: boolean;
  cells: readonly Cell[];
  /** Drawn only while the row is open. */
  inside: () => Cell;
}

/** Each cell says the name of its column, too, to those who do not see this. */
export const columnHeads = ({ kind, names }: Columns): TemplateResult =>
  html`<div class=${`heads ${kind}`} aria-hidden="true">${names.map((name) => html`<span>${name}</span>`)}</div>`;

export function openingRow({ kind, names }: Columns, choices: Choices, row: Row): TemplateResult {
  const { key, isOpenAtFirst, cells, inside } = row;
  const isOpen = choices.isOpen(key, isOpenAtFirst);
  const toggle = ({ target }: Event): void => {
    const { open } = target as HTMLDetailsElement;
    if (open !== choices.isOpen(key, isOpenAtFirst)) choices.open(key, open);
  };
  return html`<details class=${`row ${kind}`} .open=${isOpen} @toggle=${toggle}>
    <summary>${cells.map((cell, index) => html`<span><span class="column">${names[index]}</span> ${cell}</span>`)}</summary>
    ${isOpen ? html`<div class="inside">${inside()}</div>` : nothing}</details>`;
}

/** So many rows of a long table are shown at first. */
const AT_ONCE = 300;

/** The first ones, and a button for the others. */
export function some<Item>(
  items: readonly Item[],
  name: string,
  choices: Choices,
  view: (items: readonly Item[]) => Cell,
): Cell {
  if (items.length <= AT_ONCE || choices.isOpen(name)) return view(items);
  return html`${view(items.slice(0, AT_ONCE))}
    <button type="button" @click=${() => choices.open(name, true)}>All ${items.length}</button>`;
}

/** Tokens are told in hexadecimal, and chosen in decimal. */
export const tokenOf = (hex: string): string => String(BigInt(hex));

/** Of a list that is longer than what is shown of it. */
export const andMore = (number = 0): TemplateResult | typeof nothing =>
  number > 0 ? html`<p class="soft">and ${number} more</p>` : nothing;

/** What a file in a session is. */
export function fileWords({ device, size, hwpts }: PreservedFile): string {
  if (device !== null) return `cdev of ${device}`;
  if (size !== null) return `memfd of ${bytes(size)}`;
  const marked = hwpts?.map(({ token, domain }) => `HWPT of token ${tokenOf(token)} on domain ${domain}`) ?? [];
  return `iommufd with ${marked.length === 0 ? 'no marked HWPT' : marked.join(', ')}`;
}
