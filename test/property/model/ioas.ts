/**
 * The model's IO address spaces and domains, as src/kernel/iommufd/io-pagetable/README.md has them. Areas are a plain list,
 * page tables a Map.
 */
import { ascending, Failure, PAGE, type Range, touches, UMAX } from './base.ts';
import { chooseIova } from './iova.ts';
import type { AddressSpace, Page } from './memory.ts';

export const READ = 1;
export const WRITE = 2;

/** Who pays for locked memory, fixed when it is mapped. `payer` is compared, never looked into. */
export interface Account {
  mode: 'none' | 'user' | 'mm';
  process: { memlock: bigint | null };
  uid: number;
}

export type Source = { kind: 'user'; memory: AddressSpace } | { kind: 'file'; file: object };

/** Where the memory of areas comes from; one for each MAP, shared by copies. */
export interface Pages {
  source: Source;
  /** The MAP asked for WRITEABLE. */
  writable: boolean;
  account: Account;
  pinned: Map<number, Page>;
}

export interface Area {
  iova: bigint;
  last: bigint;
  access: number;
  pages: Pages;
  /** Address in the process, or offset in the file, of its first byte. */
  start: bigint;
}

/** One entry of a page table; all units of it share the dirty bit. */
export interface Leaf {
  iova: bigint;
  bytes: bigint;
  dirty: boolean;
}

export interface Entry {
  page: Page;
  offset: number;
  access: number;
  leaf: Leaf;
}

export interface Format {
  aperture: Range;
  /** Ascending. */
  sizes: readonly bigint[];
}

export class Domain {
  readonly format: Format;
  readonly flags: { dirty: boolean; nestParent: boolean; vtd: boolean };
  tracking = false;
  /** By IOVA divided by the smallest page. */
  readonly table = new Map<bigint, Entry>();

  constructor(format: Format, flags: Domain['flags']) {
    this.format = format;
    this.flags = flags;
  }

  get unit(): bigint {
    return this.format.sizes[0]!;
  }

  clear(area: Area): void {
    for (let at = area.iova / this.unit; at <= area.last / this.unit; at++) this.table.delete(at);
  }
}

/** What an IOAS asks of the world around it. */
export interface World {
  /** EINVAL unless it is a memfd that reaches to the end of this page. */
  checkFile(file: object, number: number): void;
  filePage(file: object, number: number): Page;
  /** Pages that the account has locked, in all iommufds. */
  locked(account: Account): number;
  /** Lets go of pages that no area in a domain needs. */
  settle(): void;
}

/** Last page of the 64-bit address space. */
const LAST_PAGE = 2 ** 52 - 1;

export class Ioas {
  readonly #world: World;
  areas: Area[] = [];
  reserved: (Range & { owner: object })[] = [];
  allowed: Range[] = [];
  domains: Domain[] = [];
  hugePages = true;

  constructor(world: World) {
    this.#world = world;
  }

  alignment(domains = this.domains, hugePages = this.hugePages): bigint {
    return [hugePages ? 1n : PAGE, ...domains.map((domain) => domain.unit)].reduce((a, b) => (a > b ? a : b));
  }

  /** What is not reserved. */
  ranges(): Range[] {
    const holes: Range[] = [];
    let cursor = 0n;
    for (const { start, last } of ascending(this.reserved, (range) => range.start)) {
      if (start > cursor) holes.push({ start: cursor, last: start - 1n });
      if (last >= cursor) cursor = last + 1n;
    }
    if (cursor <= UMAX) holes.push({ start: cursor, last: UMAX });
    return holes;
  }

  area(iova: bigint): Area | undefined {
    return this.areas.find((area) => area.iova <= iova && area.last >= iova);
  }

  overlapping(start: bigint, last: bigint): Area[] {
    return ascending(
      this.areas.filter((area) => area.iova <= last && area.last >= start),
      (area) => area.iova,
    );
  }

  reserve(start: bigint, last: bigint, owner: object): void {
    if (this.overlapping(start, last).length > 0) throw new Failure('EADDRINUSE');
    if (this.allowed.some((range) => touches(range, start, last))) throw new Failure('EADDRINUSE');
    this.reserved.push({ start, last, owner });
  }

  unreserve(owner: object): void {
    this.reserved = this.reserved.filter((range) => range.owner !== owner);
  }

  allow(ranges: Range[]): void {
    for (const range of ranges)
      if (this.reserved.some((other) => touches(other, range.start, range.last))) throw new Failure('EADDRINUSE');
    this.allowed = ascending(ranges, (range) => range.start);
  }

  /** Rows 7 and 8 of MAP: where it goes. */
  place(address: bigint, length: bigint, wanted: bigint | null): bigint {
    const alignment = this.alignment();
    if (length % alignment !== 0n) throw new Failure('EINVAL');
    if (wanted === null) {
      const taken = [...this.reserved, ...this.areas.map((area) => ({ start: area.iova, last: area.last }))];
      return chooseIova({ alignment, allowed: this.allowed, taken }, address, length);
    }
    if (wanted % alignment !== 0n) throw new Failure('EINVAL');
    const last = wanted + length - 1n;
    if (last > UMAX) throw new Failure('EOVERFLOW');
    if (this.reserved.some((range) => touches(range, wanted, last))) throw new Failure('EINVAL');
    if (this.overlapping(wanted, last).length > 0) throw new Failure('EEXIST');
    return wanted;
  }

  /** Rows 9 and 10 of MAP, for all areas or for none. */
  insert(areas: Area[]): void {
    if (areas.some((area) => (area.start % PAGE) % this.alignment() !== 0n)) throw new Failure('EINVAL');
    const before = this.areas;
    try {
      for (const area of areas) {
        if (this.domains.length > 0) this.#fill(area, this.domains);
        this.areas = [...this.areas, area];
      }
    } catch (failure) {
      this.areas = before;
      for (const area of areas) for (const domain of this.domains) domain.clear(area);
      this.#world.settle();
      throw failure;
    }
  }

  remove(area: Area): void {
    this.areas = this.areas.filter((other) => other !== area);
    for (const domain of this.domains) domain.clear(area);
    this.#world.settle();
  }

  /** Whole areas, ascending; stops at the first that the range cuts. */
  unmap(start: bigint, last: bigint, onGone: (bytes: bigint) => void): void {
    for (const area of this.overlapping(start, last)) {
      if (area.iova < start || area.last > last) throw new Failure('ENOENT');
      this.remove(area);
      onGone(area.last - area.iova + 1n);
    }
  }

  /** TYPE1: two areas of one, the second begins at `iova`. */
  cut(iova: bigint): void {
    const area = this.area(iova);
    // Also nothing if only the area's first byte would be split off.
    if (!area || area.iova === iova || area.iova + 1n === iova) return;
    const start = area.start + (iova - area.iova);
    if (iova % this.alignment() !== 0n || (start % PAGE) % this.alignment() !== 0n) throw new Failure('EINVAL');
    const pieces = [
      { ...area, last: iova - 1n },
      { ...area, iova, start },
    ];
    this.areas = this.areas.flatMap((other) => (other === area ? pieces : [other]));
  }

  addDomain(domain: Domain): void {
    if (domain.unit > PAGE) throw new Failure('EINVAL');
    const alignment = this.alignment([...this.domains, domain]);
    if (this.areas.some((area) => misaligned(area, alignment))) throw new Failure('EADDRINUSE');
    const { start, last } = domain.format.aperture;
    try {
      if (start > 0n) this.reserve(0n, start - 1n, domain);
      if (last < UMAX) this.reserve(last + 1n, UMAX, domain);
      for (const area of ascending(this.areas, ({ iova }) => iova)) this.#fill(area, [domain]);
    } catch (failure) {
      this.unreserve(domain);
      domain.table.clear();
      this.#world.settle();
      throw failure;
    }
    this.domains.push(domain);
  }

  removeDomain(domain: Domain): void {
    this.domains = this.domains.filter((other) => other !== domain);
    domain.table.clear();
    this.unreserve(domain);
    this.#world.settle();
  }

  setHugePages(on: boolean): void {
    if (!on && this.hugePages) {
      if (this.domains.length > 0 && this.areas.length > 0) throw new Failure('EINVAL');
      if (this.areas.some((area) => misaligned(area, PAGE))) throw new Failure('EADDRINUSE');
    }
    this.hugePages = on;
  }

  destroy(): void {
    this.areas = [];
    this.#world.settle();
  }

  /** Pins, loads into the domains, charges; whoever calls undoes. */
  #fill(area: Area, domains: readonly Domain[]): void {
    const { pages } = area;
    const fresh = this.#pin(area);
    for (const domain of domains) load(domain, area, this.hugePages);
    const { memlock } = pages.account.process;
    if (fresh > 0 && pages.account.mode !== 'none' && memlock !== null)
      if (BigInt(this.#world.locked(pages.account)) > memlock / PAGE) throw new Failure('ENOMEM');
  }

  /** How many pages were not pinned before. */
  #pin({ pages, iova, last, start }: Area): number {
    const [first, end] = [Number(start / PAGE), Number((start + (last - iova)) / PAGE)];
    const { source, pinned, writable } = pages;
    if (source.kind === 'user' && end >= LAST_PAGE) throw new Failure('EOVERFLOW');
    const missing = function* (): Generator<number> {
      for (let page = first; page <= end; page++) if (!pinned.has(page)) yield page;
    };
    if (source.kind === 'file') for (const page of missing()) this.#world.checkFile(source.file, page);
    const fresh: [number, Page][] = [];
    for (const page of missing())
      fresh.push([
        page,
        source.kind === 'user'
          ? source.memory.page(page, writable ? 'pin to write' : 'pin to read')!
          : this.#world.filePage(source.file, page),
      ]);
    for (const [number, page] of fresh) pinned.set(number, page);
    return fresh.length;
  }
}

function misaligned(area: Area, alignment: bigint): boolean {
  return [area.iova, area.last + 1n - area.iova, area.start % PAGE].some((value) => value % alignment !== 0n);
}

/** Every unit of the area gets an entry; the largest pages that fit, as far as memory lies together. */
function load(domain: Domain, area: Area, hugePages: boolean): void {
  const { flags, format, unit, table } = domain;
  if (area.access === 0) throw new Failure('EINVAL');
  if (flags.vtd && flags.nestParent && !(area.access & WRITE)) throw new Failure('EINVAL');
  for (let iova = area.iova; iova <= area.last; ) {
    const at = area.start + (iova - area.iova);
    const first = area.pages.pinned.get(Number(at / PAGE))!;
    const together = hugePages ? BigInt(first.folio.pages) * PAGE : PAGE;
    const physical = BigInt(first.index) * PAGE + (at % PAGE);
    const fits = (size: bigint): boolean => {
      if (size === unit) return true;
      if (size > together || iova % size !== 0n || physical % size !== 0n || iova + size - 1n > area.last) return false;
      return area.pages.pinned.get(Number((at + size - 1n) / PAGE))!.folio === first.folio;
    };
    const bytes = format.sizes.filter(fits).at(-1)!;
    const leaf = { iova, bytes, dirty: false };
    for (let offset = 0n; offset < bytes; offset += unit) {
      const byte = at + offset;
      const page = area.pages.pinned.get(Number(byte / PAGE))!;
      table.set((iova + offset) / unit, { page, offset: Number(byte % PAGE), access: area.access, leaf });
    }
    iova += bytes;
  }
}
