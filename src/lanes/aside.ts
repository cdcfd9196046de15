/**
 * Hosts that have ended the thread that ran them, while it was at work on them. They are not run again by whoever asks for
 * them, as each time all other hosts of the lane would have to wait; their owner may have it tried again, and so does the
 * next start of the service.
 */
import { HostSetAside } from './errors.ts';
import type { LaneNews } from './messages.ts';

export interface SetAside {
  /** What has happened, and what to do: a sentence. */
  reason: string;
  /** When it ended the thread. */
  since: string;
}

/** From the second time on it may be tried again after so many milliseconds, twice as many each time, up to a day. */
const PAUSE_MS = 60_000;
const MOST_PAUSE_MS = 86_400_000;

/** As other threads are told. */
export interface KnownAside extends SetAside {
  hostId: string;
  isAside: boolean;
  /** How often it has ended a thread. */
  times: number;
  /** When it may be tried again. */
  from: number;
}

/** Milliseconds, the same in all threads; no change of the time of day is felt. */
const now = (): number => performance.timeOrigin + performance.now();

export class Aside {
  readonly #known = new Map<string, KnownAside>();

  constructor(known: readonly KnownAside[] = []) {
    for (const aside of known) this.hear({ aside });
  }

  get all(): KnownAside[] {
    return [...this.#known.values()];
  }

  /** Another thread has put a host aside, let it be run again, or deleted it; else it is of no interest here. */
  hear(news: LaneNews): void {
    if ('aside' in news) this.#known.set(news.aside.hostId, { ...news.aside });
    else if ('retried' in news) this.retry(news.retried);
    else if ('removed' in news) this.#known.delete(news.removed);
  }

  /** `cause`: what the thread ended with. */
  put(hostId: string, cause: unknown): KnownAside {
    const times = (this.#known.get(hostId)?.times ?? 0) + 1;
    const pause = times === 1 ? 0 : Math.min(PAUSE_MS * 2 ** (times - 2), MOST_PAUSE_MS);
    const what = cause instanceof Error ? cause.message : String(cause);
    const again = times === 1 ? '' : `, ${times} times by now`;
    const reason = `the host has ended the thread that ran it${again} (${what}), and is set aside: what it has told can be read, and it can be deleted, or tried again`;
    const known = { hostId, reason, since: new Date().toISOString(), isAside: true, times, from: now() + pause };
    this.#known.set(hostId, known);
    return known;
  }

  of(hostId: string): SetAside | null {
    const known = this.#known.get(hostId);
    return known?.isAside ? { reason: known.reason, since: known.since } : null;
  }

  get hostIds(): string[] {
    return [...this.#known].filter(([, { isAside }]) => isAside).map(([id]) => id);
  }

  /** Throws HostSetAside where it must not be run. */
  check(hostId: string): void {
    const known = this.#known.get(hostId);
    if (known?.isAside) throw new HostSetAside(known.reason);
  }

  /** It may be run again. Returns the milliseconds after which it may be, if it may not be yet: 0 otherwise. */
  retry(hostId: string): number {
    const known = this.#known.get(hostId);
    if (known === undefined) return 0;
    const left = Math.max(known.from - now(), 0);
    if (left === 0) known.isAside = false;
    return left;
  }
}
