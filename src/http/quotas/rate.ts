/**
 * Requests a second of each tenant. A tenant has as many in hand as it may make in a second, and they come back evenly. What is
 * left is told by the headers of draft-ietf-httpapi-ratelimit-headers-11.
 *
 * Of each tenant one word is kept, which all threads share: where the requests that it has made would have brought a clock that
 * moves on by one with each that it may make (modulo 2 ** 32). What that is ahead of the clock are requests that are not in hand.
 */
import type { Common } from '../common.ts';

/** More than that nobody can make, so a higher limit is as good as this one: the clock must not outrun what a number can hold. */
const MOST = 2 ** 20;

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

/** By the clock that all threads have. `performance.now()` counts from the start of each, and how far these are apart nobody can measure at once. */
function clockAt(limit: number): number {
  const [seconds, nanoseconds] = process.hrtime();
  return Math.floor((seconds + nanoseconds / 1e9) * Math.min(limit, MOST)) | 0;
}

/** Never more than the limit: what is more was written by the clock of another limit, or long ago. */
function aheadOf(place: number, clock: number, limit: number): number {
  const ahead = (place - clock) | 0;
  return ahead < 0 || ahead > Math.min(limit, MOST) ? 0 : ahead;
}

export const policyOf = (limit: number): string => `"requests";q=${limit};w=1`;
export const stateOf = (left: number): string => `"requests";r=${left};t=1`;
