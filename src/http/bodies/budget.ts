/**
 * How much of bodies, and of large answers, may be in memory, from the time when a body is let in until its request is answered
 * and the answer has gone: of one tenant, so that it shuts out itself and nobody else, and of all together.
 */
import { RETRY_AFTER, unavailable } from '../errors.ts';
import { Problem } from '../problems.ts';

const MIB = 1 << 20;

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
  readonly #tenants = new Map<string, number>();
  #all = 0;

  constructor(bounds: BodyBounds) {
    this.#bounds = bounds;
  }

  /** Bytes that the bodies of a tenant have now. */
  of(tenant: string): number {
    return this.#tenants.get(tenant) ?? 0;
  }

  /** `tenant`: whose body it is. */
  claim(tenant: string): Claim {
    let has = 0;
    const hold = (bytes: number): void => {
      if (bytes <= has) return;
      this.#add(tenant, bytes - has);
      has = bytes;
    };
    return {
      raise: (bytes) => {
        if (bytes > has) this.#check(tenant, bytes - has);
        hold(bytes);
      },
      hold,
      release: () => {
        this.#add(tenant, -has);
        has = 0;
      },
    };
  }

  #check(tenant: string, more: number): void {
    const { tenantBodies, allBodies } = this.#bounds;
    const own = this.#tenants.get(tenant) ?? 0;
    if (own + more > tenantBodies) {
      const detail = `Your bodies that are not answered yet have ${own} bytes, and with this one more than the ${tenantBodies / MIB} MiB that a tenant may have (HOLDOVER_TENANT_BODIES). Nothing has changed: send it when others are answered.`;
      throw new Problem('too-much-at-once', detail, { headers: { 'retry-after': RETRY_AFTER } });
    }
    if (this.#all + more > allBodies)
      throw unavailable(
        `All bodies that are not answered yet have ${this.#all} bytes, and with this one more than the ${allBodies / MIB} MiB that there is room for (HOLDOVER_ALL_BODIES). Nothing has changed: try again.`,
      );
  }

  #add(tenant: string, bytes: number): void {
    if (bytes === 0) return;
    const own = (this.#tenants.get(tenant) ?? 0) + bytes;
    this.#all += bytes;
    if (own === 0) this.#tenants.delete(tenant);
    else this.#tenants.set(tenant, own);
  }
}
