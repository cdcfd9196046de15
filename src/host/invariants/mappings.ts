/**
 * The areas of an IOAS against the page tables of its domains: each page of an area is mapped in all of them, with the
 * area's access and to the same memory, and nothing else is. On the way it is counted what areas hold.
 */

import type { PagingDomain } from '../../kernel/iommu/domain.ts';
import { IOVA, LAST, META, START, WORDS } from '../../kernel/iommufd/areas/area-blocks.ts';
import { ACCESS_BITS } from '../../kernel/iommufd/areas/area-cursor.ts';
import type { IoPagetable } from '../../kernel/iommufd/io-pagetable/io-pagetable.ts';
import type { SharedPages, Source } from '../../kernel/iommufd/io-pagetable/pages.ts';
import { hexOf, PAGE_SIZE, pageOf, unitOf } from '../../machine/address.ts';
import { FRAME_SIZE } from '../../machine/memory.ts';
import type { Extent } from '../../machine/table-walk.ts';
import type { Findings } from './finding.ts';
import type { Ledger } from './ledger.ts';

const ACCESS_MASK = (1 << ACCESS_BITS) - 1;

/** Pauses behind each group of blocks. */
export function* checkMappings(iopt: IoPagetable, where: string, ledger: Ledger, found: Findings): Generator<void> {
  const { blocks, index } = iopt.areas.parts;
  const walk = new MappingWalk(iopt, where, ledger, found);
  for (const group of index.groups) {
    for (let position = 0; position < group.count; position++) {
      const block = group.blocks[position]!;
      const words = blocks.words(block);
      const end = blocks.base(block) + blocks.count(block) * WORDS;
      for (let at = blocks.base(block); at < end; at += WORDS) walk.area(words, at);
    }
    yield;
  }
  walk.end();
}

/** Memory behind a range: pieces of as many bytes from an address on, one behind the other. */
class Pieces {
  count = 0;
  readonly addresses: number[] = [];
  readonly bytes: number[] = [];

  clear(): void {
    this.count = 0;
  }

  add(address: number, bytes: number): void {
    const last = this.count - 1;
    if (last >= 0 && this.addresses[last]! + this.bytes[last]! === address) this.bytes[last]! += bytes;
    else {
      this.addresses[this.count] = address;
      this.bytes[this.count++] = bytes;
    }
  }

  equals({ count, addresses, bytes }: Pieces): boolean {
    if (count !== this.count) return false;
    for (let at = 0; at < count; at++)
      if (addresses[at] !== this.addresses[at] || bytes[at] !== this.bytes[at]) return false;
    return true;
  }

  toString(): string {
    const first = this.addresses.slice(0, Math.min(this.count, 4));
    return first
      .map((address, at) => `0x${this.bytes[at]!.toString(16)} bytes at 0x${address.toString(16)}`)
      .join(', ');
  }
}

class MappingWalk {
  readonly #where: string;
  readonly #ledger: Ledger;
  readonly #found: Findings;
  readonly #sources: (Source | undefined)[] = [];
  readonly #numbers: number;
  readonly #tables: TableWalk[];
  /** By number of the source. */
  readonly #areas: Float64Array;
  readonly #pages: Float64Array;
  readonly #shared = new Pieces();
  /** Frames that are to be pinned. */
  #frame = 0;
  #frames = 0;

  constructor(iopt: IoPagetable, where: string, ledger: Ledger, found: Findings) {
    this.#where = where;
    this.#ledger = ledger;
    this.#found = found;
    this.#numbers = iopt.sources.numbers;
    for (const source of iopt.sources) this.#sources[source.number] = source;
    this.#areas = new Float64Array(this.#numbers);
    this.#pages = new Float64Array(this.#numbers);
    this.#tables = iopt.domains.map((domain) => new TableWalk(domain, where, found));
    checkNumbers(iopt, where, found);
  }

  area(words: Uint32Array, at: number): void {
    const number = words[at + META]! >>> ACCESS_BITS;
    const source = this.#sources[number];
    const [startHigh, startLow] = [words[at + START]!, words[at + START + 1]!];
    if (!source) {
      this.#found.note('source', this.#nameOf(words, at), 'one that is listed', number);
      return;
    }
    this.#areas[number]!++;
    if (this.#tables.length === 0) return;
    for (const table of this.#tables) table.area(words, at);
    const [{ pieces }] = this.#tables as [TableWalk];
    const offset = startLow % PAGE_SIZE;
    const first = pageOf(startHigh, startLow);
    const bytes =
      (words[at + LAST]! - words[at + IOVA]!) * 2 ** 32 + (words[at + LAST + 1]! - words[at + IOVA + 1]! + 1);
    const last = first + Math.floor((offset + bytes - 1) / PAGE_SIZE);
    this.#pages[number]! += last - first + 1;
    let expected = pieces;
    if (source.shared) {
      this.#ledger.hold(source.shared, first, last);
      expected = this.#piecesOf(source.shared, first, last, offset, bytes);
    } else this.#pin(pieces, offset);
    for (const table of this.#tables)
      if (table.pieces !== expected && !table.pieces.equals(expected))
        this.#found.note(
          'memory',
          `${this.#nameOf(words, at)} in domain ${table.domain.id}`,
          String(expected),
          String(table.pieces),
        );
  }

  #nameOf(words: Uint32Array, at: number): string {
    return `the area at ${hexOf(words[at + IOVA]!, words[at + IOVA + 1]!)} of ${this.#where}`;
  }

  #piecesOf(shared: SharedPages, first: number, last: number, offset: number, bytes: number): Pieces {
    const pieces = this.#shared;
    pieces.clear();
    let left = bytes;
    for (const { page, frame, count } of shared.frames(first, last)) {
      const skip = page === first ? offset : 0;
      const taken = Math.min(left, count * PAGE_SIZE - skip);
      pieces.add(frame * FRAME_SIZE + skip, taken);
      left -= taken;
    }
    return pieces;
  }

  /** Each page of an area is pinned once, also where two pieces share it. */
  #pin({ count, addresses, bytes }: Pieces, offset: number): void {
    let done = offset;
    let next = 0;
    for (let piece = 0; piece < count; piece++) {
      const page = Math.floor(done / PAGE_SIZE);
      const behind = Math.floor((done + bytes[piece]! - 1) / PAGE_SIZE) + 1;
      const from = Math.max(page, next);
      if (behind > from) this.#pinFrames(Math.floor(addresses[piece]! / FRAME_SIZE) + (from - page), behind - from);
      next = behind;
      done += bytes[piece]!;
    }
  }

  #pinFrames(frame: number, count: number): void {
    if (frame === this.#frame + this.#frames) {
      this.#frames += count;
      return;
    }
    this.#flush();
    this.#frame = frame;
    this.#frames = count;
  }

  #flush(): void {
    if (this.#frames > 0) this.#ledger.pins.pin(this.#frame, this.#frames);
  }

  end(): void {
    this.#flush();
    for (const table of this.#tables) table.end();
    for (let number = 0; number < this.#numbers; number++) {
      const source = this.#sources[number];
      if (source) this.#checkSource(source, number);
    }
  }

  #checkSource(source: Source, number: number): void {
    const name = `source ${number} of ${this.#where}`;
    const pages = source.shared ? 0 : this.#pages[number]!;
    this.#found.same('areas', name, this.#areas[number]!, source.areas);
    this.#found.same('pinned pages', name, pages, source.pinnedPages);
    if (source.shared) {
      this.#ledger.meet(source.shared);
      return;
    }
    const { account } = source;
    if (account.mode !== 'none') this.#ledger.lock(account.counter, pages);
  }
}

/** Numbers of sources: each is one's, or free. */
function checkNumbers({ sources }: IoPagetable, where: string, found: Findings): void {
  const taken = [...sources].map(({ number }) => number);
  const name = (number: number): string => `number ${number}`;
  const all = Array.from({ length: sources.numbers }, (_, number) => number);
  found.set('numbers of sources', where, all, [...taken, ...sources.free], name);
  found.set('sources by origin', where, sources, [...sources.byOrigin.values()].flat(), ({ number }) => name(number));
}

/** One domain's page table, as areas go by. */
class TableWalk {
  readonly domain: PagingDomain;
  /** What it maps the current area to. */
  readonly pieces = new Pieces();
  readonly #where: string;
  readonly #found: Findings;
  readonly #extents: Iterator<Extent, void>;
  readonly #unitBytes: number;
  /** What is mapped next, from a unit on that no area has shown yet. */
  #extent: Extent | null;
  #unit = 0;

  constructor(domain: PagingDomain, where: string, found: Findings) {
    this.domain = domain;
    this.#where = `${where} in domain ${domain.id}`;
    this.#found = found;
    this.#unitBytes = 2 ** domain.format.minShift;
    this.#extents = domain.table.extents(0, Number.MAX_SAFE_INTEGER);
    this.#extent = null;
    this.#next();
  }

  #next(): void {
    const { value, done } = this.#extents.next();
    this.#extent = done ? null : (value ?? null);
    this.#unit = this.#extent?.unit ?? Number.POSITIVE_INFINITY;
  }

  area(words: Uint32Array, at: number): void {
    const shift = this.domain.format.minShift;
    const access = words[at + META]! & ACCESS_MASK;
    const end = unitOf(words[at + LAST]!, words[at + LAST + 1]!, shift) + 1;
    let unit = unitOf(words[at + IOVA]!, words[at + IOVA + 1]!, shift);
    this.pieces.clear();
    this.#passTo(unit);
    while (unit < end) {
      if (this.#unit > unit) {
        this.#found.note('mapping', this.#nameOf(unit), 'there, as an area shows it', 'missing');
        unit = Math.min(end, this.#unit);
        continue;
      }
      const extent = this.#extent!;
      const behind = extent.unit + extent.units;
      const units = Math.min(end, behind) - unit;
      if (extent.access !== access) this.#found.note('access', this.#nameOf(unit), access, extent.access);
      this.pieces.add(extent.physical + (unit - extent.unit) * this.#unitBytes, units * this.#unitBytes);
      unit += units;
      if (unit === behind) this.#next();
      else this.#unit = unit;
    }
  }

  /** Whatever is mapped before a unit is shown by no area. */
  #passTo(unit: number): void {
    while (this.#unit < unit) {
      this.#found.note('mapping', this.#nameOf(this.#unit), 'missing, as no area shows it', 'there');
      const behind = this.#extent!.unit + this.#extent!.units;
      if (behind <= unit) this.#next();
      else this.#unit = unit;
    }
  }

  end(): void {
    if (this.#extent) this.#passTo(Number.MAX_SAFE_INTEGER);
  }

  #nameOf(unit: number): string {
    return `0x${(BigInt(unit) * BigInt(this.#unitBytes)).toString(16)} of ${this.#where}`;
  }
}
