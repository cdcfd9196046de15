/** The page of a vIOMMU that a process can map through the iommufd (drivers/iommu/iommufd/main.c, iommufd_fops_mmap). */
import { PAGE } from '../../../machine/address.ts';
import { type Refusal, refuse } from '../../errno.ts';
import { ShmemInode } from '../../mm/shmem.ts';
import { PROTECTION } from '../../uapi/bits.ts';
import type { IommufdContext } from '../context.ts';
import type { Viommu } from './viommu.ts';

const BYTES = 2n * PAGE;
const { PROT_EXEC } = PROTECTION;

/** Mapped as a file is, but memory of a device; each piece of a mapping keeps the vIOMMU and the iommufd. */
export class ViommuPage extends ShmemInode {
  private readonly _viommu: Viommu;
  /** The offset, in bytes, at which an mmap of the iommufd shows it. */
  readonly offset: bigint;
  override readonly pinnable = false;

  private constructor(viommu: Viommu, offset: bigint) {
    super(viommu.context.kernel.machine.memory, 'viommu', false, 0);
    this._viommu = viommu;
    this.offset = offset;
    this.size = BYTES;
  }

  /** Makes the page of a vIOMMU, at the lowest free offset; it begins with this word. Null: no memory. */
  static make(viommu: Viommu, word: number): ViommuPage | null {
    const { mmaps } = viommu.context;
    let offset = PAGE;
    while (mmaps.has(offset)) offset += BYTES;
    const page = new ViommuPage(viommu, offset);
    const bytes = new Uint8Array(Number(BYTES));
    new DataView(bytes.buffer).setUint32(0, word, true);
    if (typeof page.write(0n, bytes) !== 'number') return null;
    mmaps.set(offset, page);
    return page;
  }

  get viommu(): Viommu {
    return this._viommu;
  }

  override get(): this {
    this._viommu.hold();
    this._viommu.context.get();
    return super.get();
  }

  override put(): void {
    super.put();
    this._viommu.drop();
    this._viommu.context.put();
  }

  /** The vIOMMU is being destroyed. */
  destroy(): void {
    this._viommu.context.mmaps.delete(this.offset);
    super.put();
  }
}

/**
 * iommufd_fops_mmap: the page that an mmap shows. EINVAL private, EPERM executable, ENXIO not exactly one page's range.
 */
export function pageToMap(
  context: IommufdContext,
  { offset, length, shared, prot }: { offset: bigint; length: bigint; shared: boolean; prot: number },
): ViommuPage | Refusal {
  const where = 'iommufd_fops_mmap';
  if (!shared) return refuse('EINVAL', where, 'an iommufd is mapped shared');
  if (prot & PROT_EXEC) return refuse('EPERM', where, 'an iommufd is not mapped executable');
  const page = context.mmaps.get(offset);
  const bytes = ((length + PAGE - 1n) / PAGE) * PAGE;
  if (!page || bytes !== page.size)
    return refuse('ENXIO', where, 'offset and length are those that IOMMU_VIOMMU_ALLOC told in its data');
  return page;
}
