/** The log of a host: what dmesg and the hardware would show, with a position to read on from. */
import type { HostEvent } from './views.ts';

/** Events that are kept; the oldest go first. */
const MAX_EVENTS = 100_000;

export class EventLog {
  private _events: HostEvent[] = [];
  private _next = 1;

  append(event: { time: bigint; kernel: number; kind: string; message: string; data: HostEvent['data'] }): void {
    this._events.push({ sequence: this._next++, ...event, time: event.time.toString() });
    // Half of the log goes at a time, so that an append costs nothing to speak of.
    if (this._events.length > MAX_EVENTS) this._events = this._events.slice(MAX_EVENTS / 2);
  }

  /** At most `limit` events behind `after`. */
  read(after: number, limit: number): HostEvent[] {
    const first = this._events[0]?.sequence ?? this._next;
    const start = Math.max(0, after + 1 - first);
    return this._events.slice(start, start + limit);
  }
}
