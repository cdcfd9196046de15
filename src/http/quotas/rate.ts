/**
 * Requests a second of each tenant. A tenant has as many in hand as it may make in a second, and they come back evenly. What is
 * left is told by the headers of draft-ietf-httpapi-ratelimit-headers-11.
 *
 * Of each tenant one word is kept, which all threads share: where the requests that it has made would have brought a clock that
 * moves on by one with each that it may make (modulo 2 ** 32). What that is ahead of the clock are requests that are not in hand.
 */
import type { Common } from '../common.ts';

const SECOND = 1000;
/** More than that nobody can make, so a higher limit is as good as this one: the clock must not outrun what a number can hold. */
const MOST = 2 ** 20;
/** From this thread's clock to that of all, in milliseconds. */
const SINCE = Number(process.hrtime.bigint()) / 1e6 - performance.now();

export class Rates {
  readonly #common: Common;

  constructor(common: Common) {
    this.#common = common;
  }

  /** Takes one of `limit` requests a second. Returns how many are left; null: there was none. */
  take(tenantId: string, limit: number): number | null {
    const { rates } = this.#common;
    const slot = this.#common.slotOf(tenantId);
    const clock = clockAt(limit);
    for (;;) {
      const place = Atomics.load(rates, slot);
      const ahead = aheadOf(place, clock, limit);
      if (ahead + 1 > limit) return null;
      if (Atomics.compareExchange(rates, slot, place, (clock + ahead + 1) | 0) === place) return limit - ahead - 1;
    }
  }

  /** About how many the last second had. */
  used(tenantId: string, limit: number): number {
    const place = Atomics.load(this.#common.rates, this.#common.slotOf(tenantId));
    return aheadOf(place, clockAt(limit), limit);
  }
}

const clockAt = (limit: number): number =>
  Math.floor(((performance.now() + SINCE) * Math.min(limit, MOST)) / SECOND) | 0;

/** Never more than the limit: what is more was written by the clock of another limit, or long ago. */
function aheadOf(place: number, clock: number, limit: number): number {
  const ahead = (place - clock) | 0;
  return ahead < 0 || ahead > Math.min(limit, MOST) ? 0 : ahead;
}

export const policyOf = (limit: number): string => `"requests";q=${limit};w=1`;
export const stateOf = (left: number): string => `"requests";r=${left};t=1`;
