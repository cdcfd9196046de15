/**
 * Where the memory of mapped areas comes from (drivers/iommu/iommufd/pages.c): memory of a process, or a memfd. Linux
 * has a pages object for each MAP. Here a million areas of one process share one `Source`, as long as each of them is
 * the only one to show its pages; what a COPY or an access shares becomes a `SharedPages`, which pins each page once
 * however many areas show it.
 */
import { PAGE } from '../../../machine/address.ts';
import type { PhysicalMemory } from '../../../machine/memory.ts';
import { assert, type Refusal, refuse } from '../../errno.ts';
import type { OpenFile } from '../../file.ts';
import { FrameMap, type FrameSpan } from '../../mm/frame-map.ts';
import { MemfdFile } from '../../mm/memfd-file.ts';
import type { LockedCounter, Process } from '../../process.ts';

/** Last page number of the 64-bit address space. */
const LAST_PAGE = 2 ** 52 - 1;

/** Who pays for locked memory: nobody (CAP_IPC_LOCK), a user, or an address space (RLIMIT_MODE 1). */
export interface Account {
  mode: 'none' | 'user' | 'mm';
  process: Process;
  counter: LockedCounter;
  uid: number;
}

/** iopt_pages_update_pinned: charges an account for pages. ENOMEM beyond RLIMIT_MEMLOCK of its process. */
export function charge(account: Account, pages: number): Refusal | null {
  if (account.mode === 'none' || pages === 0) return null;
  const limit = account.process.memlock;
  if (limit !== null && BigInt(account.counter.pages + pages) > limit / PAGE)
    return refuse(
      'ENOMEM',
      'iopt_pages_update_pinned',
      `RLIMIT_MEMLOCK of process ${account.process.pid} (${limit} bytes) is too small for ${pages} more pages`,
    );
  account.counter.pages += pages;
  return null;
}

export function uncharge(account: Account, pages: number): void {
  if (account.mode === 'none') return;
  assert(account.counter.pages >= pages, 'what is uncharged was charged');
  account.counter.pages -= pages;
}

export type Origin = { kind: 'user'; process: Process } | { kind: 'file'; file: OpenFile; sealedAtMap: boolean };

/**
 * Returns the frames of pages [first, last] of an origin, without pinning them. EFAULT bad or read-only memory, or its
 * process is gone; EINVAL no memfd, or beyond its end; EOVERFLOW the last page of the address space; ENOMEM.
 */
function resolve(origin: Origin, first: number, last: number, writable: boolean): FrameSpan[] | Refusal {
  if (origin.kind === 'user') {
    if (last >= LAST_PAGE)
      return refuse('EOVERFLOW', 'pfn_reader_user_pin', 'the memory touches the last page of the address space');
    return origin.process.mm.pin(first, last, writable);
  }
  const { file } = origin;
  const where = 'pin_memfd_folios';
  if (!(file instanceof MemfdFile)) return refuse('EINVAL', where, `${file.link()} is not a memfd`);
  // memfd_pin_folios is asked for whole pages: one that the file ends in is out of its reach.
  if (BigInt(last + 1) * PAGE > file.inode.size)
    return refuse('EINVAL', where, 'the range reaches beyond the end of the memfd');
  return file.inode.pin(first, last) ?? refuse('ENOMEM', where, 'the host has no memory left');
}

/** Where areas of one IOAS have their memory from: an origin, whether it was mapped for writing, and who pays. */
export class Source {
  readonly origin: Origin;
  /** The MAP asked for WRITEABLE. */
  readonly writable: boolean;
  account: Account;
  /** Not null: the areas share pages with others. */
  readonly shared: SharedPages | null;
  /** Its number in the list of the IOAS; -1: no area shows it yet. */
  number = -1;
  private _areas = 0;
  private _pinnedPages = 0;

  constructor(origin: Origin, writable: boolean, account: Account, shared: SharedPages | null) {
    this.origin = origin;
    this.writable = writable;
    this.account = account;
    this.shared = shared;
  }

  /** How many areas show it. */
  get areas(): number {
    return this._areas;
  }

  /** Pages that its areas have pinned; 0 where they share pages, which `shared` counts. */
  get pinnedPages(): number {
    return this._pinnedPages;
  }

  /** More areas show it. */
  hold(areas: number): void {
    this._areas += areas;
  }

  /** Fewer areas show it. */
  drop(areas: number): void {
    assert(this._areas >= areas, 'areas that leave a source showed it');
    this._areas -= areas;
  }

  /**
   * Pins pages [first, last] for an area that shares them with none, and returns their frames. The caller charges, and
   * unpins if what follows fails. Errnos of `resolve`.
   */
  pin(memory: PhysicalMemory, first: number, last: number): FrameSpan[] | Refusal {
    const spans = resolve(this.origin, first, last, this.writable);
    if (!Array.isArray(spans)) return spans;
    for (const span of spans) memory.pin(span.frame, span.count);
    this.countPins(last - first + 1);
    return spans;
  }

  /**
   * Pins pages of process memory whose frames are in a row, and returns the first frame; -1, and nothing is pinned, if
   * they are not, or cannot be pinned: `pin` tells why then.
   */
  pinRow(memory: PhysicalMemory, page: number, count: number): number {
    if (this.origin.kind !== 'user') return -1;
    const frame = this.origin.process.mm.frameAt(page, this.writable, count);
    if (frame < 0) return -1;
    if (count === 1) memory.pinOne(frame);
    else memory.pinEach(frame, count);
    this._pinnedPages += count;
    return frame;
  }

  /** Unpins frames that `pinRow` has pinned. */
  unpinRow(memory: PhysicalMemory, frame: number, count: number): void {
    if (count === 1) memory.unpinOne(frame);
    else memory.unpin(frame, count);
    this.countPins(-count);
  }

  /** Counts pins that were added, or, negative, removed. */
  countPins(pages: number): void {
    this._pinnedPages += pages;
  }
}

export interface Hold {
  first: number;
  last: number;
  count: number;
}

/** Pages that several areas or accesses share (struct iopt_pages): each is pinned once and charged once. */
export class SharedPages {
  private readonly _memory: PhysicalMemory;
  readonly origin: Origin;
  readonly writable: boolean;
  account: Account;
  /** Frames of pinned pages, by page number of the address space or file. */
  private readonly _pinned = new FrameMap();
  /** How many areas in domains, and accesses, hold each page: ascending disjoint ranges. */
  private readonly _holds: Hold[] = [];

  constructor(memory: PhysicalMemory, origin: Origin, writable: boolean, account: Account) {
    this._memory = memory;
    this.origin = origin;
    this.writable = writable;
    this.account = account;
  }

  get pinnedPages(): number {
    return this._pinned.pages;
  }

  /** Pages that are pinned, with their frames. */
  get pinned(): Generator<Readonly<FrameSpan>> {
    return this._pinned.spans;
  }

  /** How often pages are held: ascending, disjoint. */
  get holds(): readonly Readonly<Hold>[] {
    return this._holds;
  }

  /** Takes over the pins of the only area that has shown these pages. */
  adopt(first: number, last: number, spans: readonly FrameSpan[]): void {
    for (const span of spans) this._pinned.insert(span);
    this._hold(first, last, 1);
  }

  /** Frames of the pinned pages among [first, last]. */
  frames(first: number, last: number): FrameSpan[] {
    return this._pinned.range(first, last);
  }

  /**
   * Holds pages [first, last] once more. Returns how many were not pinned before: the caller charges them. Errnos of
   * `resolve`.
   */
  pin(first: number, last: number): number | Refusal {
    let fresh = 0;
    const added: { first: number; last: number }[] = [];
    for (const gap of this._unheld(first, last)) {
      const spans = resolve(this.origin, gap.first, gap.last, this.writable);
      if (!Array.isArray(spans)) {
        for (const undo of added) this._drop(undo.first, undo.last);
        return spans;
      }
      for (const span of spans) {
        this._memory.pin(span.frame, span.count);
        this._pinned.insert(span);
      }
      added.push(gap);
      fresh += gap.last - gap.first + 1;
    }
    this._hold(first, last, 1);
    return fresh;
  }

  /**
   * Holds pages [first, last] once less. Returns how many nobody holds any more: they are unpinned, the caller
   * uncharges them.
   */
  unpin(first: number, last: number): number {
    this._hold(first, last, -1);
    let gone = 0;
    for (const gap of this._unheld(first, last)) {
      this._drop(gap.first, gap.last);
      gone += gap.last - gap.first + 1;
    }
    return gone;
  }

  private _drop(first: number, last: number): void {
    for (const span of this._pinned.remove(first, last)) this._memory.unpin(span.frame, span.count);
  }

  /** Parts of [first, last] that nothing holds. */
  private _unheld(first: number, last: number): { first: number; last: number }[] {
    const gaps: { first: number; last: number }[] = [];
    let cursor = first;
    for (let at = this._holdAt(first); at < this._holds.length; at++) {
      const hold = this._holds[at]!;
      if (hold.first > last) break;
      if (hold.first > cursor) gaps.push({ first: cursor, last: hold.first - 1 });
      cursor = hold.last + 1;
    }
    if (cursor <= last) gaps.push({ first: cursor, last });
    return gaps;
  }

  /** Returns the index of the first hold that ends at a page or behind it. */
  private _holdAt(page: number): number {
    let [low, high] = [0, this._holds.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this._holds[middle]!.last < page) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private _hold(first: number, last: number, delta: 1 | -1): void {
    const next: Hold[] = [];
    const push = (from: number, to: number, count: number): void => {
      if (from > to || count === 0) return;
      const left = next[next.length - 1];
      if (left && left.last + 1 === from && left.count === count) left.last = to;
      else next.push({ first: from, last: to, count });
    };
    // The neighbours of what changes may become one with it.
    const from = Math.max(0, this._holdAt(first) - 1);
    let behind = from;
    while (behind < this._holds.length && this._holds[behind]!.first <= last) behind++;
    const touched = this._holds.slice(from, behind + 1);
    let cursor = first;
    for (const hold of touched) {
      if (hold.last < first) {
        push(hold.first, hold.last, hold.count);
        continue;
      }
      if (hold.first > last) {
        push(cursor, last, delta);
        cursor = last + 1;
        push(hold.first, hold.last, hold.count);
        continue;
      }
      push(hold.first, first - 1, hold.count);
      push(cursor, hold.first - 1, delta);
      const to = Math.min(hold.last, last);
      push(Math.max(hold.first, first), to, hold.count + delta);
      cursor = to + 1;
      push(last + 1, hold.last, hold.count);
    }
    push(cursor, last, delta);
    this._holds.splice(from, touched.length, ...next);
  }
}
