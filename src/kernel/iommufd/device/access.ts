/**
 * Users of an IOAS inside the kernel (drivers/iommu/iommufd/device.c, iommufd_access): they pin pages behind IOVAs, or
 * read and write there, without DMA. A mediated device is one, a hardware queue another.
 */
import { hex, PAGE, UMAX } from '../../../machine/address.ts';
import { READ, WRITE } from '../../../machine/page-table.ts';
import { Refusal, refuse } from '../../errno.ts';
import type { FrameSpan } from '../../mm/frame-map.ts';
import type { IommufdContext } from '../context.ts';
import type { IoptAccess } from '../io-pagetable/domain-space.ts';
import { charge, type SharedPages, uncharge } from '../io-pagetable/pages.ts';
import { pageRange } from '../io-pagetable/span.ts';
import type { Ioas } from '../ioas.ts';
import { IommufdObject } from '../objects.ts';

/** The part of one area that a pin holds: pages `first` to `last` of its memory. */
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
}

export class Access extends IommufdObject implements IoptAccess {
  readonly type = 'access';
  readonly context: IommufdContext;
  /** It may pin pages, for which the IOAS needs an alignment of 4096. */
  readonly pinsPages: boolean;
  /** What it pins cannot be unmapped, since it does not let go when asked (a hardware queue). */
  private readonly _locks: boolean;
  ioas: Ioas | null = null;
  private readonly _pins = new Map<number, Pin>();
  private _nextPin = 0;

  constructor(context: IommufdContext, pinsPages: boolean, locks: boolean) {
    super();
    this.context = context;
    this.pinsPages = pinsPages;
    this._locks = locks;
    // Whoever made it is a user: IOMMU_DESTROY is always EBUSY.
    this.hold();
  }

  /** What it pins, by number. */
  get pins(): ReadonlyMap<number, Readonly<Pin>> {
    return this._pins;
  }

  /** What it pins cannot be unmapped. */
  get locks(): boolean {
    return this._locks;
  }

  /**
   * iommufd_access_change_ioas: moves to an IOAS, or (null) leaves; all pins end. EADDRINUSE an area is less aligned.
   */
  moveTo(ioas: Ioas | null): Refusal | null {
    if (ioas === this.ioas) return null;
    const refusal = ioas?.iopt.addAccess(this, this.pinsPages ? PAGE : 1n) ?? null;
    if (refusal) return refusal;
    for (const number of this._pins.keys()) this.unpin(number);
    if (this.ioas) {
      this.ioas.iopt.removeAccess(this);
      this.ioas.drop();
    }
    ioas?.hold();
    this.ioas = ioas;
    return null;
  }

  /** Its maker drops it: it is destroyed. */
  close(): void {
    this.drop();
    this.context.destroy(this);
  }

  destroy(): void {
    this.moveTo(null);
  }

  /**
   * iommufd_access_pin_pages: returns the number of the pin. EINVAL length 0; EOVERFLOW; area by area ENOENT a hole,
   * EINVAL not whole pages, EPERM the area or its memory does not allow it, the errnos of pinning and charging; then
   * what `check` says of the frames. All or nothing.
   */
  pin(
    iova: bigint,
    length: bigint,
    write: boolean,
    check: (frames: readonly FrameSpan[]) => Refusal | null,
  ): number | Refusal {
    const where = 'iommufd_access_pin_pages';
    if (length === 0n) return refuse('EINVAL', where, 'length is 0');
    const last = iova + length - 1n;
    if (last > UMAX) return refuse('EOVERFLOW', where, 'the range reaches beyond 64 bits');
    const pin: Pin = { iova, last, pieces: [] };
    for (let cursor = iova; cursor <= last; ) {
      const piece = this._pinPiece(cursor, last, length, write);
      if (piece instanceof Refusal) {
        this._undo(pin);
        return piece;
      }
      pin.pieces.push(piece);
      cursor += BigInt(piece.last - piece.first + 1) * PAGE;
    }
    const refusal = check(pin.pieces.flatMap(({ pages, first, last: end }) => pages.frames(first, end)));
    if (refusal) {
      this._undo(pin);
      return refusal;
    }
    const number = this._nextPin++;
    this._pins.set(number, pin);
    return number;
  }

  /** ENOENT: there is no such pin, or it has ended. */
  unpin(number: number): Refusal | null {
    const pin = this._pins.get(number);
    if (!pin) return refuse('ENOENT', 'iommufd_test_access_item_destroy', `there is no pin ${number}, or it has ended`);
    this._pins.delete(number);
    this._undo(pin, number);
    return null;
  }

  private _pinPiece(cursor: bigint, last: bigint, length: bigint, write: boolean): Piece | Refusal {
    const where = 'iommufd_access_pin_pages';
    const { iopt } = this.ioas!;
    const area = iopt.areas.at(cursor);
    if (!area) return refuse('ENOENT', where, `nothing is mapped at ${hex(cursor)}`);
    const rest = { ...area, start: area.start + (cursor - area.iova), iova: cursor };
    if (cursor % PAGE || rest.start % PAGE || length % PAGE)
      return refuse('EINVAL', where, 'only whole pages are pinned');
    if (!(area.access & (write ? WRITE : READ)))
      return refuse('EPERM', where, `the area at ${hex(area.iova)} is not mapped for this`);
    if (write && !iopt.sources.at(area.source).writable)
      return refuse('EPERM', 'iopt_area_add_access', 'the memory was mapped without WRITEABLE');
    const [first, end] = pageRange({ ...rest, last: area.last < last ? area.last : last });
    const pages = iopt.share(area);
    const fresh = pages.pin(first, end);
    if (typeof fresh !== 'number') return fresh;
    const refusal = charge(pages.account, fresh);
    if (refusal) {
      pages.unpin(first, end);
      return refusal;
    }
    iopt.holdArea(area.iova, this, this._nextPin, this._locks);
    return { area: area.iova, pages, first, last: end };
  }

  private _undo(pin: Pin, number = this._nextPin): void {
    const { iopt } = this.ioas!;
    for (const { area, pages, first, last } of pin.pieces) {
      uncharge(pages.account, pages.unpin(first, last));
      iopt.dropArea(area, this, number, this._locks);
    }
  }
}
