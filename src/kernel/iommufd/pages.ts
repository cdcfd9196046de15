/**
 * Where the memory of mapped areas comes from (drivers/iommu/iommufd/pages.c): memory of a process or a memfd. Pages are
 * pinned while a domain needs them, once however many areas and domains there are, and charged to the account that the
 * MAP fixed.
 */
import type { PhysicalMemory } from '../../machine/memory.ts';
import { type Refusal, refuse } from '../errno.ts';
import type { OpenFile } from '../file.ts';
import { FrameMap, type FrameSpan } from '../mm/frame-map.ts';
import { MemfdFile } from '../mm/shmem.ts';
import type { LockedCounter, Process } from '../process.ts';

const PAGE = 4096n;
/** Last page number of the 64-bit address space. */
const LAST_PAGE = 2 ** 52 - 1;

/** Who pays for locked memory: nobody, a user, or an address space. */
export interface Account {
  mode: 'none' | 'user' | 'mm';
  process: Process;
  counter: LockedCounter;
  uid: number;
}

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
  if (account.mode !== 'none') account.counter.pages -= pages;
}

export type PagesSource = { kind: 'user'; process: Process } | { kind: 'file'; file: OpenFile; sealedAtMap: boolean };

interface Hold {
  first: number;
  last: number;
  count: number;
}

export class Pages {
  readonly #memory: PhysicalMemory;
  readonly source: PagesSource;
  /** The MAP asked for WRITEABLE. */
  readonly writable: boolean;
  account: Account;
  /** Areas that show a part of it. */
  areas = 0;
  /** Frames of pinned pages, by page number of the address space or file. */
  readonly #pinned = new FrameMap();
  /** How many areas in domains (and accesses) hold each page: ascending disjoint ranges. */
  #holds: Hold[] = [];

  readonly #putFile: (file: OpenFile) => void;

  constructor(
    memory: PhysicalMemory,
    source: PagesSource,
    writable: boolean,
    account: Account,
    putFile: (file: OpenFile) => void,
  ) {
    this.#memory = memory;
    this.#putFile = putFile;
    this.source = source;
    this.writable = writable;
    this.account = account;
  }

  get pinnedPages(): number {
    return this.#pinned.pages;
  }

  /** Lets go of the file, once no area shows it. */
  releaseFile(): void {
    if (this.source.kind === 'file') this.#putFile(this.source.file);
  }

  /** Frames of pinned pages in [first, last]. */
  frames(first: number, last: number): FrameSpan[] {
    return this.#pinned.range(first, last);
  }

  /**
   * Pins pages [first, last] once more. EFAULT bad or read-only memory, or its process is gone; EINVAL no memfd, or
   * beyond its end; EOVERFLOW the last page of the address space; ENOMEM. Returns the pages that were not pinned
   * before, to be charged.
   */
  pin(first: number, last: number): number | Refusal {
    let fresh = 0;
    const added: { first: number; last: number }[] = [];
    for (const gap of this.#unheld(first, last)) {
      const spans = this.#resolve(gap.first, gap.last);
      if (!Array.isArray(spans)) {
        for (const undo of added) this.#drop(undo.first, undo.last);
        return spans;
      }
      for (const span of spans) {
        this.#memory.get(span.frame, span.count);
        this.#pinned.insert(span);
      }
      added.push(gap);
      fresh += gap.last - gap.first + 1;
    }
    if (this.source.kind === 'file' && this.source.file instanceof MemfdFile)
      this.source.file.inode.pinnedPages += fresh;
    this.#hold(first, last, 1);
    return fresh;
  }

  /** Lets go of [first, last] once; returns how many pages nobody holds any more. */
  unpin(first: number, last: number): number {
    this.#hold(first, last, -1);
    let gone = 0;
    for (const gap of this.#unheld(first, last)) {
      this.#drop(gap.first, gap.last);
      gone += gap.last - gap.first + 1;
    }
    if (this.source.kind === 'file' && this.source.file instanceof MemfdFile)
      this.source.file.inode.pinnedPages -= gone;
    return gone;
  }

  #resolve(first: number, last: number): FrameSpan[] | Refusal {
    if (this.source.kind === 'user') {
      if (last >= LAST_PAGE)
        return refuse('EOVERFLOW', 'pfn_reader_user_pin', 'the memory touches the last page of the address space');
      return this.source.process.mm.resolve(first, last, this.writable);
    }
    const { file } = this.source;
    const where = 'pin_memfd_folios';
    if (!(file instanceof MemfdFile)) return refuse('EINVAL', where, `${file.link()} is not a memfd`);
    if (BigInt(last) * PAGE >= file.inode.size)
      return refuse('EINVAL', where, 'the range reaches beyond the end of the memfd');
    return file.inode.populate(first, last) ?? refuse('ENOMEM', where, 'the host has no memory left');
  }

  #drop(first: number, last: number): void {
    for (const span of this.#pinned.remove(first, last)) this.#memory.put(span.frame, span.count);
  }

  /** Parts of [first, last] that nothing holds. */
  #unheld(first: number, last: number): { first: number; last: number }[] {
    const gaps: { first: number; last: number }[] = [];
    let cursor = first;
    for (const hold of this.#holds) {
      if (hold.last < first) continue;
      if (hold.first > last) break;
      if (hold.first > cursor) gaps.push({ first: cursor, last: hold.first - 1 });
      cursor = hold.last + 1;
    }
    if (cursor <= last) gaps.push({ first: cursor, last });
    return gaps;
  }

  #hold(first: number, last: number, delta: 1 | -1): void {
    const next: Hold[] = [];
    const push = (from: number, to: number, count: number): void => {
      if (from > to || count === 0) return;
      const left = next[next.length - 1];
      if (left && left.last + 1 === from && left.count === count) left.last = to;
      else next.push({ first: from, last: to, count });
    };
    let cursor = first;
    for (const hold of this.#holds) {
      if (hold.last < first || hold.first > last) {
        if (hold.first > last && cursor <= last) {
          push(cursor, last, delta);
          cursor = last + 1;
        }
        push(hold.first, hold.last, hold.count);
        continue;
      }
      push(hold.first, first - 1, hold.count);
      if (hold.first > cursor) push(cursor, hold.first - 1, delta);
      const from = Math.max(hold.first, first);
      const to = Math.min(hold.last, last);
      push(from, to, hold.count + delta);
      cursor = to + 1;
      push(last + 1, hold.last, hold.count);
    }
    if (cursor <= last) push(cursor, last, delta);
    this.#holds = next;
  }
}
