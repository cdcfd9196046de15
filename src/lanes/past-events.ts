/**
 * Events of a host that an earlier version has made: they were part of the host then, and become rows when it is built
 * for the first time, as the replay of its journal emits them again.
 */
import type { EmittedEvent } from '../host/command.ts';
import type { HostStore, Ownership } from '../store/store.ts';

export class PastEvents {
  readonly #events: HostStore['events'];
  readonly #owner: Ownership;
  #waiting: { sequence: number; events: readonly EmittedEvent[] }[] = [];

  private constructor(events: HostStore['events'], owner: Ownership) {
    this.#events = events;
    this.#owner = owner;
  }

  /**
   * Null for a host whose events are rows already. `before`: those of the state that the replay begins with, of the
   * creation of the host or of all that a snapshot of the earlier version has kept.
   */
  static async begin(
    { events }: HostStore,
    owner: Ownership,
    before: readonly EmittedEvent[],
  ): Promise<PastEvents | null> {
    if (await events.areStored(owner.hostId)) return null;
    await events.begin(owner);
    const past = new PastEvents(events, owner);
    past.add(0, before);
    return past;
  }

  add(sequence: number, events: readonly EmittedEvent[]): void {
    if (events.length > 0) this.#waiting.push({ sequence, events });
  }

  /** Stores what has come so far. */
  async flush(): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = [];
    await Promise.all(waiting.map(({ sequence, events }) => this.#events.add(this.#owner, sequence, events)));
  }

  async end(): Promise<void> {
    await this.flush();
    await this.#events.end(this.#owner);
  }
}
