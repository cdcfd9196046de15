/** The log of a host: what dmesg and the hardware would show, with a position to read on from. */
import type { HostEvent } from './views.ts';

/** Events that are kept; the oldest go first. */
const MAX_EVENTS = 100_000;

export class EventLog {
  #events: HostEvent[] = [];
  #next = 1;

  append(event: { time: bigint; kernel: number; kind: string; message: string; data: HostEvent['data'] }): void {
    this.#events.push({ sequence: this.#next++, ...event, time: event.time.toString() });
    // Half of the log goes at a time, so that an append costs nothing to speak of.
    if (this.#events.length > MAX_EVENTS) this.#events = this.#events.slice(MAX_EVENTS / 2);
  }

  /** At most `limit` events behind `after`. */
  read(after: number, limit: number): HostEvent[] {
    const first = this.#events[0]?.sequence ?? this.#next;
    const start = Math.max(0, after + 1 - first);
    return this.#events.slice(start, start + limit);
  }
}
