/**
 * How much of bodies, and of large answers, may be in memory, from the time when a body is let in until its request is answered
 * and the answer has gone: of one tenant, so that it shuts out itself and nobody else, and of all together.
 */
import type { Common } from '../common.ts';
import { RETRY_AFTER, unavailable } from '../errors.ts';
import { Problem } from '../problems.ts';

const KIB = 1 << 10;
const MIB = 1 << 20;
/** Under this name what all tenants have is counted. */
const ALL = 'all';

export interface BodyBounds {
  /** Bytes of the bodies of one tenant, and of all. */
  tenantBodies: number;
  allBodies: number;
}

/** What one body has of the budget. */
export interface Claim {
  /** Makes it so many bytes at least. Throws a problem, and leaves it as it is, where there is no room for more. */
  raise(bytes: number): void;
  /** The same, whether or not there is room. */
  hold(bytes: number): void;
  /** There is nothing left of the body; more than once does no harm. */
  release(): void;
}

export class BodyBudget {
  readonly #bounds: BodyBounds;
  readonly #common: Common;

  constructor(bounds: BodyBounds, common: Common) {
    this.#bounds = bounds;
    this.#common = common;
    // It has a slot before tenants have them all.
    common.slotOf(ALL);
  }

  /** Bytes that the bodies of a tenant have now, in whole KiB each. */
  of(tenant: string): number {
    return this.#common.of('bodies', tenant) * KIB;
  }

  /** `tenant`: whose body it is. */
  claim(tenant: string): Claim {
    let has = 0;
    /** What was taken for it. */
    const hold = (bytes: number): number => {
      const more = Math.max(Math.ceil(bytes / KIB) - has, 0);
      this.#add(tenant, more);
      has += more;
      return more;
    };
    return {
      raise: (bytes) => {
        const more = hold(bytes);
        try {
          if (more > 0) this.#check(tenant, more);
        } catch (error) {
          this.#add(tenant, -more);
          has -= more;
          throw error;
        }
      },
      hold: (bytes) => void hold(bytes),
      release: () => {
        this.#add(tenant, -has);
        has = 0;
      },
    };
  }

  /** Throws where `more` KiB, which it has taken already, are too many. */
  #check(tenant: string, more: number): void {
    const { tenantBodies, allBodies } = this.#bounds;
    const own = this.of(tenant);
    if (own > tenantBodies) {
      const detail = `Your bodies that are not answered yet have ${own - more * KIB} bytes, and with this one more than the ${tenantBodies / MIB} MiB that a tenant may have (HOLDOVER_TENANT_BODIES). Nothing has changed: send it when others are answered.`;
      throw new Problem('too-much-at-once', detail, { headers: { 'retry-after': RETRY_AFTER } });
    }
    const all = this.of(ALL);
    if (all > allBodies)
      throw unavailable(
        `All bodies that are not answered yet have ${all - more * KIB} bytes, and with this one more than the ${allBodies / MIB} MiB that there is room for (HOLDOVER_ALL_BODIES). Nothing has changed: try again.`,
      );
  }

  #add(tenant: string, kibibytes: number): void {
    if (kibibytes === 0) return;
    this.#common.add('bodies', tenant, kibibytes);
    this.#common.add('bodies', ALL, kibibytes);
  }
}
