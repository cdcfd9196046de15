/** The log of a host for people: a line an event, under the kernel that ran. */
import type { HostEvent } from '../host/views.ts';
import { EVENT_KINDS } from '../kernel/events.ts';
import { printable, seconds } from '../timeline/text.ts';

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
