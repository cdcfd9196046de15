/** The model's memory: pages, what processes have mapped, page by page, and memfds (src/kernel/mm/README.md). */
import { Failure, PAGE } from './base.ts';

const [PROT_READ, PROT_WRITE, PROT_ALL] = [1, 2, 7];
/** Pages in one of 2 MiB. */
const HUGE = 512;
const TASK_SIZE = 2n ** 47n - PAGE;
const SEAL = { SEAL: 1, SHRINK: 2, GROW: 4, WRITE: 8, FUTURE_WRITE: 16, EXEC: 32, ALL: 63 } as const;
const MFD = { CLOEXEC: 1, ALLOW_SEALING: 2, HUGETLB: 4, NOEXEC_SEAL: 8, EXEC: 16 } as const;

let serial = 0;

export interface Folio {
  pages: number;
}

/** A page of physical memory. */
export class Page {
  readonly serial = serial++;
  readonly owner: 'anonymous' | 'memfd';
  /** The pages that it lies beside and belongs together with, and its place among them. */
  readonly folio: Folio;
  readonly index: number;
  readonly #bytes: Map<number, number>;

  /** `bytes`: those that are not 0. */
  constructor(owner: Page['owner'], folio: Folio, index: number, bytes: readonly (readonly [number, number])[] = []) {
    this.owner = owner;
    this.folio = folio;
    this.index = index;
    this.#bytes = new Map(bytes);
  }

  /** A page of a process with the same bytes. */
  copy(): Page {
    return new Page('anonymous', { pages: 1 }, 0, [...this.#bytes]);
  }

  read(offset: number): number {
    return this.#bytes.get(offset) ?? 0;
  }

  write(offset: number, value: number): void {
    this.#bytes.set(offset, value);
  }

  clear(from: number): void {
    for (let offset = from; offset < Number(PAGE); offset++) this.#bytes.delete(offset);
  }
}

export class Inode {
  size = 0n;
  seals: number;
  readonly hugetlb: boolean;
  readonly executable: boolean;
  readonly pages = new Map<number, Page>();

  constructor(flags: number) {
    this.hugetlb = (flags & MFD.HUGETLB) !== 0;
    this.executable = (flags & MFD.NOEXEC_SEAL) === 0;
    this.seals = flags & MFD.NOEXEC_SEAL ? 32 : flags & MFD.ALLOW_SEALING ? 0 : SEAL.SEAL;
  }

  /** The page of the file, made if it is a hole. */
  page(number: number): Page {
    const folio = { pages: this.hugetlb ? HUGE : 1 };
    const first = number - (number % folio.pages);
    if (!this.pages.has(first))
      for (let i = 0; i < folio.pages; i++) this.pages.set(first + i, new Page('memfd', folio, i));
    return this.pages.get(number)!;
  }

  /** Whether a mapping can touch this page. */
  reaches(number: number): boolean {
    if (!this.hugetlb) return BigInt(number) * PAGE < this.size;
    return BigInt(number - (number % HUGE) + HUGE) * PAGE <= this.size || this.pages.has(number);
  }

  get writeSealed(): boolean {
    return (this.seals & (SEAL.WRITE | SEAL.FUTURE_WRITE)) !== 0;
  }

  truncate(length: bigint): void {
    if (length >= 2n ** 63n) throw new Failure('EINVAL');
    if (this.hugetlb && length % (BigInt(HUGE) * PAGE) !== 0n) throw new Failure('EINVAL');
    if (length < this.size && this.seals & SEAL.SHRINK) throw new Failure('EPERM');
    if (length > this.size && this.seals & SEAL.GROW) throw new Failure('EPERM');
    for (const [number, page] of this.pages) {
      if (BigInt(number) * PAGE >= length) this.pages.delete(number);
      else if (BigInt(number + 1) * PAGE > length) page.clear(Number(length % PAGE));
    }
    this.size = length;
  }

  write(offset: bigint, data: Uint8Array): number {
    if (data.length === 0) return 0;
    if (this.hugetlb) throw new Failure('EINVAL');
    const end = offset + BigInt(data.length);
    if (this.seals & (SEAL.WRITE | SEAL.FUTURE_WRITE)) throw new Failure('EPERM');
    if (end > this.size && this.seals & SEAL.GROW) throw new Failure('EPERM');
    for (const [i, value] of data.entries()) {
      const at = offset + BigInt(i);
      this.page(Number(at / PAGE)).write(Number(at % PAGE), value);
    }
    if (end > this.size) this.size = end;
    return data.length;
  }

  read(offset: bigint, length: number): Uint8Array {
    const bytes: number[] = [];
    for (let at = offset; at < offset + BigInt(length) && at < this.size; at++)
      bytes.push(this.pages.get(Number(at / PAGE))?.read(Number(at % PAGE)) ?? 0);
    return Uint8Array.from(bytes);
  }

  addSeals(seals: number, busy: boolean): void {
    if (seals & ~SEAL.ALL) throw new Failure('EINVAL');
    if (this.seals & SEAL.SEAL) throw new Failure('EPERM');
    const added = seals & SEAL.EXEC && this.executable ? seals | 30 : seals;
    if (added & SEAL.WRITE && !(this.seals & SEAL.WRITE) && busy) throw new Failure('EBUSY');
    this.seals |= added;
  }
}

export function makeInode(flags: number, size: bigint): Inode {
  if (flags & ~31 || (flags & MFD.EXEC && flags & MFD.NOEXEC_SEAL)) throw new Failure('EINVAL');
  const inode = new Inode(flags);
  const { seals } = inode;
  inode.seals = 0;
  inode.truncate(size);
  inode.seals = seals;
  return inode;
}

/** What one page of a process is: a page of its own, or one of a file. */
interface Mapped {
  page: Page | null;
  inode: Inode | null;
  filePage: number;
  shared: boolean;
  huge: boolean;
  prot: number;
  may: number;
}

/** EFAULT, which a program is told by a signal. */
export class Signal extends Failure {
  readonly signal: string;

  constructor(signal: string) {
    super('EFAULT');
    this.signal = signal;
  }
}

/** How a page is reached: by the process, or to be pinned. */
type Way = 'load' | 'store' | 'pin to read' | 'pin to write';

export class AddressSpace {
  readonly pages = new Map<number, Mapped>();
  alive = true;

  map(
    address: bigint,
    length: bigint,
    options: { huge: boolean; inode: Inode | null; offset: bigint; prot: number; shared: boolean },
  ): void {
    const { inode, offset, prot, shared } = options;
    if (offset % PAGE !== 0n) throw new Failure('EINVAL');
    const huge = inode ? inode.hugetlb : options.huge;
    const unit = huge ? BigInt(HUGE) * PAGE : PAGE;
    if (length === 0n) throw new Failure('EINVAL');
    const bytes = ((length + unit - 1n) / unit) * unit;
    if (bytes > TASK_SIZE) throw new Failure('ENOMEM');
    if (huge && address % unit !== 0n) throw new Failure('EINVAL');
    if (address + bytes > TASK_SIZE) throw new Failure('ENOMEM');
    if (address % PAGE !== 0n) throw new Failure('EINVAL');
    const first = Number(address / PAGE);
    const count = Number(bytes / PAGE);
    for (let i = 0; i < count; i++) if (this.pages.has(first + i)) throw new Failure('EEXIST');
    const sealed = shared && inode?.writeSealed === true;
    if (sealed && prot & PROT_WRITE) throw new Failure('EPERM');
    if (inode?.hugetlb) {
      if (offset % unit !== 0n) throw new Failure('EINVAL');
      if (prot & PROT_WRITE && inode.size < offset + bytes) inode.size = offset + bytes;
    }
    const perFolio = huge ? HUGE : 1;
    let folio = { pages: perFolio };
    for (let i = 0; i < count; i++) {
      if (i % perFolio === 0) folio = { pages: perFolio };
      const page = inode || !(prot & PROT_WRITE) ? null : new Page('anonymous', folio, i % perFolio, [[0, 1]]);
      const filePage = Number(offset / PAGE) + i;
      const may = sealed ? PROT_ALL & ~PROT_WRITE : PROT_ALL;
      this.pages.set(first + i, { page, inode, filePage, shared, huge, prot: prot & PROT_ALL, may });
    }
  }

  unmap(address: bigint, length: bigint): void {
    if (address % PAGE !== 0n || length === 0n || address + length > TASK_SIZE) throw new Failure('EINVAL');
    const first = Number(address / PAGE);
    const last = Number((address + length - 1n) / PAGE);
    if (this.#cutsHugePage(first) || this.#cutsHugePage(last + 1)) throw new Failure('EINVAL');
    for (let page = first; page <= last; page++) this.pages.delete(page);
  }

  protect(address: bigint, length: bigint, prot: number): void {
    if (address % PAGE !== 0n) throw new Failure('EINVAL');
    if (length === 0n) return;
    const first = Number(address / PAGE);
    const count = Number((length + PAGE - 1n) / PAGE);
    if (address + BigInt(count) * PAGE >= 2n ** 64n) throw new Failure('ENOMEM');
    if (prot & ~PROT_ALL) throw new Failure('EINVAL');
    for (let page = first; page < first + count; page++) {
      const mapped = this.pages.get(page);
      if (!mapped) throw new Failure('ENOMEM');
      if (prot & ~mapped.may) throw new Failure('EACCES');
      // Mappings of huge pages are of one here.
      const whole = page % HUGE === 0 && page + HUGE <= first + count;
      if (mapped.huge && mapped.prot !== prot && !whole) throw new Failure('EINVAL');
      for (let i = 0; i < (mapped.huge && whole ? HUGE : 1); i++) this.pages.get(page + i)!.prot = prot;
    }
  }

  #cutsHugePage(border: number): boolean {
    return border % HUGE !== 0 && this.pages.get(border)?.huge === true;
  }

  /** Private mappings lose what lies behind the end of their file. */
  dropBehind(inode: Inode): void {
    for (const mapped of this.pages.values())
      if (mapped.inode === inode && !mapped.shared && !inode.reaches(mapped.filePage)) mapped.page = null;
  }

  /** The page behind this number; null: the page of zeroes. EFAULT. */
  page(number: number, way: Way): Page | null {
    const mapped = this.pages.get(number);
    const wanted = { load: PROT_ALL, store: PROT_WRITE, 'pin to read': PROT_READ, 'pin to write': PROT_WRITE }[way];
    if (!this.alive || !mapped || !(mapped.prot & wanted)) throw new Signal('SIGSEGV');
    if (mapped.page) return mapped.page;
    const { inode, filePage, shared } = mapped;
    if (inode && !inode.reaches(filePage)) throw new Signal('SIGBUS');
    if (inode && (shared || way === 'load')) return inode.page(filePage);
    if (way === 'load') return null;
    mapped.page = inode ? inode.page(filePage).copy() : new Page('anonymous', { pages: 1 }, 0);
    return mapped.page;
  }

  peek(address: bigint, length: number): Uint8Array {
    const places = this.#places(address, length, 'load');
    return Uint8Array.from(places.map(([page, offset]) => page?.read(offset) ?? 0));
  }

  poke(address: bigint, data: Uint8Array): void {
    const places = this.#places(address, data.length, 'store');
    for (const [i, [page, offset]] of places.entries()) page!.write(offset, data[i]!);
  }

  #places(address: bigint, length: number, way: Way): [Page | null, number][] {
    return Array.from({ length }, (_, i): [Page | null, number] => {
      const at = address + BigInt(i);
      return [this.page(Number(at / PAGE), way), Number(at % PAGE)];
    });
  }

  exit(): void {
    this.pages.clear();
    this.alive = false;
  }
}
