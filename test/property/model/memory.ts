/** The model's memory: pages, what processes have mapped, page by page, and memfds (src/kernel/mm/README.md). */
import { Failure, PAGE } from './base.ts';

const PROT_WRITE = 2;
/** Pages in one of 2 MiB. */
const HUGE = 512;
const TASK_SIZE = 2n ** 47n - PAGE;
const SEAL = { SEAL: 1, SHRINK: 2, GROW: 4, WRITE: 8, FUTURE_WRITE: 16, ALL: 63 } as const;
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
  readonly #bytes = new Map<number, number>();

  constructor(owner: Page['owner'], folio: Folio, index: number) {
    this.owner = owner;
    this.folio = folio;
    this.index = index;
    if (owner === 'anonymous') this.#bytes.set(0, 1);
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
  readonly pages = new Map<number, Page>();

  constructor(flags: number) {
    this.hugetlb = (flags & MFD.HUGETLB) !== 0;
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
    if (seals & SEAL.WRITE && !(this.seals & SEAL.WRITE) && busy) throw new Failure('EBUSY');
    this.seals |= seals;
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
  writable: boolean;
}

export class AddressSpace {
  readonly pages = new Map<number, Mapped>();
  alive = true;

  map(
    address: bigint,
    length: bigint,
    options: { huge: boolean; inode: Inode | null; offset: bigint; prot: number },
  ): void {
    const { huge, inode, offset, prot } = options;
    const unit = huge ? BigInt(HUGE) * PAGE : PAGE;
    if (length === 0n || address % unit !== 0n) throw new Failure('EINVAL');
    const bytes = ((length + unit - 1n) / unit) * unit;
    if (address + bytes > TASK_SIZE) throw new Failure('ENOMEM');
    const first = Number(address / PAGE);
    const count = Number(bytes / PAGE);
    for (let i = 0; i < count; i++) if (this.pages.has(first + i)) throw new Failure('EEXIST');
    if (offset % PAGE !== 0n) throw new Failure('EINVAL');
    const writable = (prot & PROT_WRITE) !== 0;
    if (inode && writable && inode.seals & (SEAL.WRITE | SEAL.FUTURE_WRITE)) throw new Failure('EPERM');
    const perFolio = huge ? HUGE : 1;
    let folio = { pages: perFolio };
    for (let i = 0; i < count; i++) {
      if (i % perFolio === 0) folio = { pages: perFolio };
      const page = inode ? null : new Page('anonymous', folio, i % perFolio);
      this.pages.set(first + i, { page, inode, filePage: Number(offset / PAGE) + i, writable });
    }
  }

  unmap(address: bigint, length: bigint): void {
    if (address % PAGE !== 0n || length === 0n || address + length > TASK_SIZE) throw new Failure('EINVAL');
    const first = Number(address / PAGE);
    const last = Number((address + length - 1n) / PAGE);
    if (this.#cutsHugePage(first) || this.#cutsHugePage(last + 1)) throw new Failure('EINVAL');
    for (let page = first; page <= last; page++) this.pages.delete(page);
  }

  #cutsHugePage(border: number): boolean {
    const right = this.pages.get(border)?.page;
    return right?.folio.pages === HUGE && right.index !== 0 && this.pages.has(border - 1);
  }

  /** The page behind this number, for a read or a write; EFAULT. */
  page(number: number, write: boolean): Page {
    const mapped = this.pages.get(number);
    if (!this.alive || !mapped || (write && !mapped.writable)) throw new Failure('EFAULT');
    if (mapped.page) return mapped.page;
    if (BigInt(mapped.filePage) * PAGE >= mapped.inode!.size) throw new Failure('EFAULT');
    return mapped.inode!.page(mapped.filePage);
  }

  peek(address: bigint, length: number): Uint8Array {
    const places = this.#places(address, length, false);
    return Uint8Array.from(places.map(([page, offset]) => page.read(offset)));
  }

  poke(address: bigint, data: Uint8Array): void {
    const places = this.#places(address, data.length, true);
    for (const [i, [page, offset]] of places.entries()) page.write(offset, data[i]!);
  }

  #places(address: bigint, length: number, write: boolean): [Page, number][] {
    return Array.from({ length }, (_, i): [Page, number] => {
      const at = address + BigInt(i);
      return [this.page(Number(at / PAGE), write), Number(at % PAGE)];
    });
  }

  exit(): void {
    this.pages.clear();
    this.alive = false;
  }
}
