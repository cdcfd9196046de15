/**
 * Users of an IOAS inside the kernel (drivers/iommu/iommufd/device.c, iommufd_access): they pin pages behind IOVAs, or
 * read and write there, without DMA. A mediated device is one, a hardware queue another.
 */
import { READ, WRITE } from '../../../machine/page-table.ts';
import { assert, type Refusal, refuse } from '../../errno.ts';
import type { FrameSpan } from '../../mm/frame-map.ts';
import type { IommufdContext } from '../context.ts';
import { type IoptAccess, PAGE, pageRange, UMAX } from '../io-pagetable.ts';
import type { Ioas } from '../ioas.ts';
import { IommufdObject } from '../objects.ts';
import { charge, type SharedPages, uncharge } from '../pages.ts';

/** A part of an area that is pinned. */
interface Piece {
  area: bigint;
  pages: SharedPages;
  first: number;
  last: number;
}

export interface Pin {
  iova: bigint;
  last: bigint;
  pieces: Piece[];
  frames: FrameSpan[];
}

export class Access extends IommufdObject implements IoptAccess {
  readonly type = 'access';
  readonly context: IommufdContext;
  /** It pins pages, which needs an alignment of 4096 in the IOAS. */
  readonly pinsPages: boolean;
  /** What it pins cannot be unmapped: it does not let go when asked. */
  readonly #locks: boolean;
  ioas: Ioas | null = null;
  readonly #pins = new Set<Pin>();

  constructor(context: IommufdContext, pinsPages: boolean, locks: boolean) {
    super();
    this.context = context;
    this.pinsPages = pinsPages;
    this.#locks = locks;
    // Whoever made it is a user: IOMMU_DESTROY is always EBUSY.
    this.users = 1;
  }

  /** iommufd_access_change_ioas: EADDRINUSE areas that do not fit. All pins end; null: it leaves. */
  moveTo(ioas: Ioas | null): Refusal | null {
    if (ioas === this.ioas) return null;
    const refusal = ioas?.iopt.addAccess(this, this.pinsPages ? PAGE : 1n) ?? null;
    if (refusal) return refusal;
    for (const pin of this.#pins) this.unpin(pin);
    if (this.ioas) {
      this.ioas.iopt.removeAccess(this);
      this.ioas.users--;
    }
    if (ioas) ioas.users++;
    this.ioas = ioas;
    return null;
  }

  /** Its maker lets it go. */
  close(): void {
    this.users--;
    this.context.destroy(this);
  }

  destroy(): void {
    this.moveTo(null);
  }

  unmapped(start: bigint, last: bigint): void {
    for (const pin of this.#pins) if (pin.iova <= last && pin.last >= start) this.unpin(pin);
  }

  has(pin: Pin): boolean {
    return this.#pins.has(pin);
  }

  /**
   * iommufd_access_pin_pages. EINVAL length 0, or not whole pages; EOVERFLOW; ENOENT a hole; EPERM the area or its memory
   * does not allow it; or what pinning and charging answer. All or nothing.
   */
  pin(iova: bigint, length: bigint, write: boolean): Pin | Refusal {
    const where = 'iommufd_access_pin_pages';
    const last = this.#checkRange(where, iova, length);
    if (typeof last !== 'bigint') return last;
    const pin: Pin = { iova, last, pieces: [], frames: [] };
    for (let cursor = iova; cursor <= last; ) {
      const piece = this.#pinPiece(cursor, last, length, write);
      if ('errno' in piece) {
        this.#undo(pin);
        return piece;
      }
      pin.pieces.push(piece.piece);
      pin.frames.push(...piece.piece.pages.frames(piece.piece.first, piece.piece.last));
      cursor = piece.end + 1n;
    }
    this.#pins.add(pin);
    return pin;
  }

  unpin(pin: Pin): void {
    assert(this.#pins.delete(pin), 'a pin is let go once');
    this.#undo(pin);
  }

  #checkRange(where: string, iova: bigint, length: bigint): bigint | Refusal {
    if (length === 0n) return refuse('EINVAL', where, 'length is 0');
    const last = iova + length - 1n;
    return last > UMAX ? refuse('EOVERFLOW', where, 'the range reaches beyond 64 bits') : last;
  }

  #pinPiece(cursor: bigint, last: bigint, length: bigint, write: boolean): { piece: Piece; end: bigint } | Refusal {
    const where = 'iommufd_access_pin_pages';
    const { iopt } = this.ioas!;
    const area = iopt.areas.at(cursor);
    if (!area) return refuse('ENOENT', where, `nothing is mapped at 0x${cursor.toString(16)}`);
    const end = area.last < last ? area.last : last;
    if (cursor % PAGE || (area.start + (cursor - area.iova)) % PAGE || length % PAGE)
      return refuse('EINVAL', where, 'only whole pages are pinned');
    if (!(area.access & (write ? WRITE : READ)))
      return refuse('EPERM', where, `the area at 0x${area.iova.toString(16)} is not mapped for this`);
    if (write && !iopt.sources.at(area.source).writable)
      return refuse('EPERM', 'iopt_area_add_access', 'the memory was mapped without WRITEABLE');
    const [first, lastPage] = pageRange({ ...area, start: area.start + (cursor - area.iova), iova: cursor, last: end });
    const pages = iopt.share(area);
    const fresh = pages.pin(first, lastPage);
    if (typeof fresh !== 'number') return fresh;
    const refusal = charge(pages.account, fresh);
    if (refusal) {
      pages.unpin(first, lastPage);
      return refusal;
    }
    const holds = iopt.holds.get(area.iova) ?? { pins: 0, locks: 0 };
    iopt.holds.set(area.iova, holds);
    holds.pins++;
    if (this.#locks) holds.locks++;
    return { piece: { area: area.iova, pages, first, last: lastPage }, end };
  }

  #undo(pin: Pin): void {
    const { holds } = this.ioas!.iopt;
    for (const { area, pages, first, last } of pin.pieces) {
      uncharge(pages.account, pages.unpin(first, last));
      const held = holds.get(area)!;
      if (this.#locks) held.locks--;
      if (--held.pins === 0) holds.delete(area);
    }
  }
}
