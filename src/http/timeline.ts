/** The log of a host for people: a line an event, under the kernel that ran. */
import type { HostEvent } from '../host/views.ts';
import { EVENT_KINDS } from '../kernel/events.ts';

const KIND_WIDTH = Math.max(...EVENT_KINDS.map(({ length }) => length));
const SEVERITY_WIDTH = 'warning'.length;

export interface Timeline {
  items: readonly HostEvent[];
  nextPageToken: string | null;
  /** The oldest event that is kept, where it begins with that one and older ones have gone. */
  oldest: string | null;
}

export function timeline({ items, nextPageToken, oldest }: Timeline): string {
  let text = oldest === null ? '' : `(what came before ${oldest} is no longer kept)\n`;
  let kernel: number | null = null;
  const width = Math.max(0, ...items.map(({ id }) => id.length));
  for (const event of items) {
    if (event.kernel !== kernel) text += `${text === '' ? '' : '\n'}kernel ${event.kernel}\n`;
    kernel = event.kernel;
    text += `${line(event, width)}\n`;
  }
  if (nextPageToken !== null) text += `(more: after=${nextPageToken})\n`;
  return text;
}

function line({ id, time, kind, severity, message }: HostEvent, width: number): string {
  const level = (severity === 'info' ? '' : severity).padEnd(SEVERITY_WIDTH);
  return `${seconds(time).padStart(13)}  ${id.padEnd(width)}  ${level}  ${kind.padEnd(KIND_WIDTH)}  ${printable(message)}`;
}

/** With microseconds: a command takes one. */
function seconds(nanoseconds: string): string {
  const digits = nanoseconds.padStart(10, '0');
  return `${digits.slice(0, -9)}.${digits.slice(-9, -3)}`;
}

/** Names may hold what a terminal would obey. */
const printable = (message: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  message.replace(/[\u0000-\u001f\u007f-\u009f]/g, (character) => {
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
