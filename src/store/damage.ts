/** What of the stored is hurt: found at the start, or when somebody needs it. It is told until it is mended or deleted. */

/**
 * What is hurt. `database`: pages of the file, so any host may be concerned. `marks`: what is known of the ends of journals.
 * `tenants`: who may use the service. `host`: all of a host, which is gone. Of a host that is there: `description`: what it
 * was made as. `journal`: its commands. `end`: its newest commands, which are gone. `handover`: what a frozen kernel hands
 * over. `snapshot`: the host as it was, for which its commands stand in. `events`: what it has told. `requests`: which
 * of those with a key it has carried out. `deletion`: it was deleted, and is back.
 */
export const DAMAGE_KINDS = [
  'database',
  'marks',
  'tenants',
  'host',
  'description',
  'journal',
  'end',
  'handover',
  'snapshot',
  'events',
  'requests',
  'deletion',
] as const;

export interface Damage {
  kind: (typeof DAMAGE_KINDS)[number];
  /** What is hurt, what it means and what to do, for a person. */
  what: string;
}

export interface FoundDamage extends Damage {
  /** Null: not one host alone is concerned. */
  hostId: string | null;
}

export interface KnownDamage extends FoundDamage {
  /** When this service has found it. */
  since: string;
}

/** What books of several threads tell each other. */
export type DamageNews = { damage: KnownDamage } | { mended: string } | { inspected: true };

/** So much is remembered. */
const MOST = 10_000;

/** The damage that is known. */
export class DamageBook {
  readonly #known = new Map<string, KnownDamage>();
  #inspected = false;
  /** Is told what comes to be known here, but not what was heard. */
  onNews: (news: DamageNews) => void = () => {};

  /** Whether all that was stored when the service started has been looked at. */
  get inspected(): boolean {
    return this.#inspected;
  }

  noteInspected(): void {
    this.#inspected = true;
    this.onNews({ inspected: true });
  }

  /** False where it is known already. */
  add(found: FoundDamage): boolean {
    const damage = { ...found, since: new Date().toISOString() };
    const isNew = this.#put(damage);
    if (isNew) this.onNews({ damage });
    return isNew;
  }

  /** The book of another thread has told it. */
  hear(news: DamageNews): void {
    if ('damage' in news) this.#put(news.damage);
    else if ('mended' in news) this.#remove(news.mended);
    else this.#inspected = true;
  }

  /** What another book has to hear to be as this one. */
  get news(): DamageNews[] {
    const known = this.all.map((damage) => ({ damage }));
    return this.#inspected ? [...known, { inspected: true }] : known;
  }

  /** Whether it is the database itself, of whose pages some may not lead where they should. */
  get isOfDatabase(): boolean {
    return this.all.some(({ kind }) => kind === 'database');
  }

  get all(): KnownDamage[] {
    return [...this.#known.values()];
  }

  /** That of a host, and of the database, which may be its own; null: none. */
  of(host: string): KnownDamage[] | null {
    if (this.#known.size === 0) return null;
    const found = this.all.filter(({ hostId, kind }) => hostId === host || kind === 'database');
    return found.length === 0 ? null : found;
  }

  /** The host is deleted. */
  forget(hostId: string): void {
    this.#remove(hostId);
    this.onNews({ mended: hostId });
  }

  #put({ hostId, kind, what, since }: KnownDamage): boolean {
    const key = `${hostId} ${kind} ${what}`;
    if (this.#known.has(key) || this.#known.size >= MOST) return false;
    this.#known.set(key, { hostId, kind, what, since });
    return true;
  }

  #remove(hostId: string): void {
    for (const [key, damage] of this.#known) if (damage.hostId === hostId) this.#known.delete(key);
  }
}

const MEND = 'delete it, or have a copy of the database put back';

export const damagedDescription = (why: string): Damage => ({
  kind: 'description',
  what: `the host cannot be run: ${why}; ${MEND}`,
});

/** There is too little to build it from. */
export const damagedAll = (why: string): Damage => ({
  kind: 'journal',
  what: `the host cannot be read: ${why}; ${MEND}`,
});

/** Of the first command that cannot be executed again. */
export const damagedCommand = (sequence: number, why: string): Damage => ({
  kind: 'journal',
  what: `command ${sequence} of the host is damaged: ${why}; it can be read as it was before that command, and takes no more: ${MEND}`,
});

/** The journal ends behind `last`, and should behind `end`. */
export const lostEnd = (last: number, end: number): Damage => ({
  kind: 'end',
  what: `commands ${last + 1} to ${end} of the host were stored and are gone; it can be read as it was before them, and takes no more: ${MEND}`,
});

/** `why` names the command. */
export const damagedHandover = (why: string): Damage => ({
  kind: 'handover',
  what: `${why}: no kernel can be booted from it, so the host stands between two kernels: ${MEND}`,
});

export const damagedSnapshot = (sequence: number, why: string): Damage => ({
  kind: 'snapshot',
  what: `the snapshot of the host behind command ${sequence} is damaged: ${why}; an older one, or its commands, stand in for it: nothing has to be done`,
});
