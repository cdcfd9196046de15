/** Text as pages and the terminal show it. */
import type { HostEvent } from '../host/views.ts';

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
};
/** What XML 1.0 has no place for, however it is written: control characters, halves of pairs. */
const NO_XML = /[^\P{Cc}\t\n\r]|\p{Cs}|[\ufffe\uffff]/gu;

/** For text and for attributes, of XML and of HTML. */
export const escaped = (text: string): string =>
  text.replaceAll(NO_XML, '\ufffd').replaceAll(/[&<>"']/g, (character) => ENTITIES[character]!);

/** For a terminal: names may hold what it would obey. */
export const printable = (text: string): string =>
  text.replace(/\p{Cc}/gu, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`);

/** Simulated nanoseconds as seconds with microseconds: a command takes one. */
export function seconds(nanoseconds: string): string {
  const digits = nanoseconds.padStart(10, '0');
  return `${digits.slice(0, -9)}.${digits.slice(-9, -3)}`;
}

/** A length of time, by the unit that fits: `7 µs`, `1.000001 s`. */
export function duration(nanoseconds: bigint): string {
  if (nanoseconds < 1_000n) return `${nanoseconds} ns`;
  if (nanoseconds < 1_000_000n) return `${decimal(nanoseconds, 3)} µs`;
  if (nanoseconds < 1_000_000_000n) return `${decimal(nanoseconds, 6)} ms`;
  return `${decimal(nanoseconds, 9)} s`;
}

function decimal(value: bigint, places: number): string {
  const digits = String(value).padStart(places + 1, '0');
  const fraction = digits.slice(-places).replace(/0+$/, '');
  return `${digits.slice(0, -places)}${fraction === '' ? '' : `.${fraction}`}`;
}

/** The same in three digits, for where there is little room. */
export function brief(nanoseconds: bigint): string {
  const [number, unit] = duration(nanoseconds).split(' ');
  return `${Number(Number(number).toPrecision(3))} ${unit}`;
}

export const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? '' : 's'}`;

/** What an event is called: a hazard by its own name. */
export const nameOf = ({ kind, data }: Pick<HostEvent, 'kind' | 'data'>): string =>
  kind === 'hazard' ? String(data.hazard) : kind;

/** Whether somebody has to look at it. */
export const isBad = ({ severity }: Pick<HostEvent, 'severity'>): boolean =>
  severity === 'error' || severity === 'warning';
