/**
 * Requests a second of each tenant. A tenant has as many in hand as it may make in a second, and they come back evenly. What is
 * left is told by the headers of draft-ietf-httpapi-ratelimit-headers-11.
 */

const SECOND = 1000;

interface Hand {
  left: number;
  /** When that was so, in milliseconds. */
  at: number;
}

export class Rates {
  readonly #hands = new Map<string, Hand>();

  /** Takes one of `limit` requests a second. Returns how many are left; null: there was none. */
  take(tenantId: string, limit: number): number | null {
    const hand = this.#handOf(tenantId, limit);
    if (hand.left < 1) return null;
    hand.left -= 1;
    return Math.floor(hand.left);
  }

  /** About how many the last second had. */
  used(tenantId: string, limit: number): number {
    return Math.ceil(limit - this.#handOf(tenantId, limit).left);
  }

  #handOf(tenantId: string, limit: number): Hand {
    const now = performance.now();
    let hand = this.#hands.get(tenantId);
    if (hand === undefined) {
      hand = { left: limit, at: now };
      this.#hands.set(tenantId, hand);
    }
    hand.left = Math.min(limit, hand.left + ((now - hand.at) * limit) / SECOND);
    hand.at = now;
    return hand;
  }
}

export const policyOf = (limit: number): string => `"requests";q=${limit};w=1`;
export const stateOf = (left: number): string => `"requests";r=${left};t=1`;
