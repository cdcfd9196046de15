/**
 * The contract of a store: what outlives the process. Whatever uses one knows nothing else of it, and
 * test/store/contract.ts is what each has to pass. SQLite is one, in a folder of its own.
 *
 * - **Stored.** When a promise resolves, what was asked is stored: it is there after the death of the process, and
 *   whoever asks from then on sees it, in whichever thread or process. A read sees all of a write or nothing of it.
 * - **All or nothing.** A write that rejects has changed nothing, but for ThreadDied: then it has happened or it has not.
 * - **Order.** Writes of one HostStore about one host are stored in the order in which they were asked for, whether those
 *   before have resolved or not, except where a large payload or a snapshot takes its time on the way: who writes it waits.
 * - **Owners.** A host has one owner at a time, known by its epoch. Who makes a host owns it at epoch 1, and `own` makes
 *   the caller the owner. From then on whatever is written in an older epoch is refused with OwnerPassed.
 * - **Damage** of what is read is told as a value or as a typed error, with what is wrong; it is never taken for what it
 *   was. Where all of a store is concerned, that is StoreDamaged. Everything else that goes wrong is StoreUnavailable.
 */
import type { Transferable } from 'node:worker_threads';
import type { EmittedEvent } from '../host/command.ts';
import type { DamageBook, FoundDamage } from './damage.ts';
import type {
  Divergence,
  EventFilter,
  EventId,
  EventPage,
  HostCopy,
  HostCursor,
  HostFilter,
  HostOrigin,
  HostPurpose,
  HostRow,
  HostSummary,
  JournalEntry,
  KeptQuotas,
  KeyHolder,
  Labels,
  ListedHost,
  Ownership,
  Requested,
  RequestKey,
  Snapshot,
  Stored,
  StoredCommand,
  StoredKey,
  StoredSnapshot,
  Tenant,
} from './rows.ts';

export * from './damage.ts';
export * from './errors.ts';
export { hashKey, newKey } from './keys.ts';
export type * from './rows.ts';
export { accountOf, FIRST_KEY } from './rows.ts';

/** So many hazards of a host a list counts. */
export const MOST_COUNTED = 1000;

/** In which a host belongs to whoever has made it. */
export const FIRST_EPOCH = 1;

export interface Tenants {
  /** With a first key, `FIRST_KEY`. Throws TenantExists where the name or the key is taken. `keyHash` is that of `hashKey`. */
  create(name: string, keyHash: string): Promise<Tenant>;
  /**
   * A throw-away tenant: its name is behind that of its parent, and its id where none is given. Undefined where the parent has
   * `most` of them already. Throws TenantExists where it has one of that name.
   */
  createChild(
    parent: Tenant,
    child: { name?: string | undefined; expiresAt: string; most: number },
    keyHash: string,
  ): Promise<Tenant | undefined>;
  /** Those of a parent, by name. */
  children(parentId: string): Promise<Tenant[]>;
  /** Throw-away ones that come to their end by then, at most `limit`. */
  expired(by: string, limit: number): Promise<Tenant[]>;
  /** A throw-away one has come to its end: nobody has its key any more. */
  end(id: string): Promise<void>;
  /** Deletes a throw-away one that has no hosts; false where it has some. */
  delete(id: string): Promise<boolean>;
  /** From memory where it is known, as every request asks for it. */
  findByKeyHash(keyHash: string): Promise<KeyHolder | undefined>;
  findByName(name: string): Promise<Tenant | undefined>;
  get(id: string): Promise<Tenant | undefined>;
  /** By name, at most `limit` of those behind that name. */
  list(limit: number, after?: string): Promise<Tenant[]>;
  /** What differs from the quotas of all takes the place of what did. */
  setQuotas(id: string, quotas: KeptQuotas): Promise<void>;
  /** Gives a tenant another first key; false where it had that key already. Throws TenantExists where another has it. */
  setKeyHash(id: string, keyHash: string): Promise<boolean>;
  /** All of a tenant, by name; those that have expired, too. */
  keys(id: string): Promise<StoredKey[]>;
  /** One more. Throws KeyExists where the tenant has one of that name. */
  addKey(id: string, key: StoredKey, keyHash: string): Promise<void>;
  /** Whether there was one of that name. */
  removeKey(id: string, name: string): Promise<boolean>;
}

/** Which hosts there are. */
export interface HostDirectory {
  /** From memory, as every request asks for it; as it is, whichever thread has changed it. */
  get(id: string): Promise<HostSummary | undefined>;
  /** It may have been deleted: no thread has it from memory any more. */
  forget(id: string): void;
  origin(id: string): Promise<HostOrigin | undefined>;
  /** A tenant's hosts in the order of their creation, at most `limit` of those after the cursor that fit. */
  list(tenantId: string, limit: number, after?: HostCursor, filter?: HostFilter): Promise<ListedHost[]>;
  /** These labels take the place of those that the host has. */
  setLabels(id: string, labels: Labels): Promise<void>;
  /** At most `limit` hosts that come to their end by then (`expiresAt`), the earliest first. */
  expired(by: string, limit: number): Promise<HostSummary[]>;
  /** How many hosts a tenant and its throw-away ones have, and about how many bytes are stored of them. */
  stored(tenantId: string): Promise<Stored>;
  /**
   * What the request of that key has led to, which came with a host or a command; undefined: there was none, or what came of it
   * is not kept any more. Whoever stores another one of the key gets KeyTaken, and nothing of it is stored.
   */
  requested(key: Pick<RequestKey, 'tenantId' | 'key'>): Promise<Requested | undefined>;
}

/** What the kernels of hosts have told. A host keeps its newest events; how many, each store says. */
export interface EventDirectory {
  /**
   * In their order, at most `limit` of those behind `after` that fit; null: from the oldest one. Throws StoreDamaged where
   * the first of them is not what was stored; those before it are read.
   */
  read(hostId: string, filter: EventFilter, after: EventId | null, limit: number): Promise<EventPage>;
  /** False for a host of an earlier version, whose events are stored when it is built for the first time. */
  areStored(hostId: string): Promise<boolean>;
}

/** What is known of tenants and hosts without running one: all that the HTTP face needs of a store. */
export interface Directory {
  tenants: Tenants;
  hosts: HostDirectory;
  events: EventDirectory;
  /** The damage that is known. */
  damage: DamageBook;
  /** Rejects with StoreUnavailable where the store does not answer, or nothing can be stored. */
  check(): Promise<void>;
}

export interface Hosts extends HostDirectory {
  /**
   * Whoever stores a host owns it, at FIRST_EPOCH. `events`: what its first boot has emitted; `copy`: it begins as this, behind
   * the command of that sequence, and what follows has later ones.
   */
  insert(row: HostRow, events?: readonly EmittedEvent[], copy?: HostCopy): Promise<void>;
  /**
   * Makes the caller the owner: the new epoch, or undefined where there is no such host. What the owner before has stored
   * is there to be read; nothing of what it asks for comes after.
   */
  own(id: string, use?: HostPurpose): Promise<number | undefined>;
  /** The newest command of a host that is known to have been stored, whatever is read of it now; 0: none is. */
  end(id: string): Promise<number>;
  markDiverged(owner: Ownership, divergence: Divergence): Promise<void>;
  /**
   * Deletes the host with all that is stored of it, which is possible where there is no room for anything else. One that is
   * made again under its id begins anew.
   */
  delete(owner: Ownership): Promise<void>;
}

export interface Journal {
  /** Its sequence must follow on the last one stored: what was asked for behind an entry that is refused is refused, too. */
  append(entry: JournalEntry): Promise<void>;
  /**
   * The commands after sequence `after`, in order: some of them (at least one), none at the end. Behind what cannot be read
   * there may be more: it is read as a command that is damaged, and empty.
   */
  read(hostId: string, after: number): Promise<StoredCommand[]>;
  /** What the freeze of that sequence left. Throws HandoverDamaged where it is not what was stored. */
  handover(hostId: string, sequence: number): Promise<{ text: string | null }>;
  /** Hosts whose last freeze was not followed by a boot. */
  unbooted(): Promise<string[]>;
}

/** Events come with their commands (JournalEntry). Those of a host of an earlier version are stored behind them, once. */
export interface Events extends EventDirectory {
  /** All that such a host has told follows. Nothing remains of a time when that was not brought to its end. */
  begin(owner: Ownership): Promise<void>;
  add(owner: Ownership, sequence: number, events: readonly EmittedEvent[]): Promise<void>;
  /** These were all: they are stored. */
  end(owner: Ownership): Promise<void>;
}

export interface Snapshots {
  /**
   * Stores it, and forgets all but the one before. Where a host has more commands than the store keeps, those which that
   * one holds may be forgotten, too.
   */
  put(snapshot: Snapshot): Promise<void>;
  /** The newest one before that sequence. */
  before(hostId: string, sequence: number): Promise<StoredSnapshot | undefined>;
}

/** What hosts are run with, in one thread. */
export interface HostStore {
  hosts: Hosts;
  journal: Journal;
  events: Events;
  snapshots: Snapshots;
  /** Resolves when all that was asked for is stored. */
  close(): Promise<void>;
}

/** The same in a thread that serves others, too: only the damage that is known is to be brought along. */
export interface ThreadStore extends HostStore, Pick<Directory, 'tenants' | 'check'> {}

export interface Store extends Directory, HostStore {
  hosts: Hosts;
  events: Events;
  /**
   * Looks at all that was stored when it was opened, beside what else is asked, and tells of what is hurt or has gone since
   * it was stored, the hosts that are concerned first of all. It never rejects.
   */
  inspect(tell: (damage: FoundDamage) => void): Promise<void>;
  /**
   * From now on hosts are run by so many other threads of this process, and by those of higher numbers that get a pass.
   * `onLost` is called where what they have asked for may never be answered: all of them that have not ended have to end, and
   * others to begin, each with a new pass. The thread of number 0 is the last one to end where nothing is lost.
   */
  share(threads: number, onLost: (cause: unknown) => void): SharedStore;
}

export interface SharedStore {
  /**
   * For the thread of that number (from 0 on), or for the one that takes its place: when it resolves, whatever its
   * predecessor wrote is stored or never will be.
   */
  pass(thread: number): Promise<StorePass>;
  /** When the threads have ended. Hosts may be run in this thread again, or be shared anew. */
  close(): Promise<void>;
}

/** With what another thread opens its ThreadStore. */
export interface StorePass {
  /** Can be sent to it when what is in `transfer` is given away to it. */
  data: unknown;
  transfer: Transferable[];
}
