/** The page of a vIOMMU that a process can map through the iommufd (drivers/iommu/iommufd/main.c, iommufd_fops_mmap). */
import { PAGE, PAGE_SHIFT, PAGE_SIZE } from '../../../machine/address.ts';
import type { PhysicalMemory } from '../../../machine/memory.ts';
import { type Refusal, refuse } from '../../errno.ts';
import type { DeviceMemory } from '../../mm/device-memory.ts';
import { FrameMap } from '../../mm/frame-map.ts';
import { PROTECTION } from '../../uapi/bits.ts';
import type { IommufdContext } from '../context.ts';
import type { Viommu } from './viommu.ts';

/** How many bytes an mmap shows. */
export const VIOMMU_PAGE_BYTES = 2n * PAGE;
const { PROT_EXEC } = PROTECTION;

/** Memory of a device; each piece of a mapping keeps the vIOMMU and the iommufd. */
export class ViommuPage implements DeviceMemory {
  readonly memory: PhysicalMemory;
  readonly pages = new FrameMap();
  private readonly _viommu: Viommu;
  /** The offset, in bytes, at which an mmap of the iommufd shows it. */
  readonly offset: bigint;
  private _refs = 1;

  private constructor(viommu: Viommu, offset: bigint) {
    this.memory = viommu.context.kernel.machine.memory;
    this._viommu = viommu;
    this.offset = offset;
  }

  /** Makes the page of a vIOMMU, at the lowest free offset; it begins with this word. Null: no memory. */
  static make(viommu: Viommu, word: number): ViommuPage | null {
    const { mmaps } = viommu.context;
    let offset = PAGE;
    while (mmaps.has(offset)) offset += VIOMMU_PAGE_BYTES;
    const page = new ViommuPage(viommu, offset);
    // Counted with the memory of memfds.
    const runs = page.memory.allocate(Number(VIOMMU_PAGE_BYTES / PAGE), { owner: 'memfd' });
    if (!runs) return null;
    page.pages.insertRuns(0, runs, PAGE_SHIFT);
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, word, true);
    page.write(0n, bytes);
    mmaps.set(offset, page);
    return page;
  }

  get viommu(): Viommu {
    return this._viommu;
  }

  /** How many mappings show it, and 1 for the vIOMMU. */
  get refs(): number {
    return this._refs;
  }

  get(): void {
    this._viommu.hold();
    this._viommu.context.get();
    this._refs++;
  }

  put(): void {
    this._drop();
    this._viommu.drop();
    this._viommu.context.put();
  }

  /** The vIOMMU is being destroyed. */
  destroy(): void {
    this._viommu.context.mmaps.delete(this.offset);
    this._drop();
  }

  fault(): null {
    return null;
  }

  read(offset: bigint, bytes: Uint8Array): void {
    this._move(offset, bytes, (physical, part) => this.memory.read(physical, part));
  }

  write(offset: bigint, bytes: Uint8Array): void {
    this._move(offset, bytes, (physical, part) => this.memory.write(physical, part));
  }

  private _move(offset: bigint, bytes: Uint8Array, move: (physical: number, part: Uint8Array) => void): void {
    for (let done = 0; done < bytes.length; ) {
      const at = Number(offset) + done;
      const skip = at % PAGE_SIZE;
      const part = bytes.subarray(done, done + PAGE_SIZE - skip);
      move(this.pages.at(Math.floor(at / PAGE_SIZE)) * PAGE_SIZE + skip, part);
      done += part.length;
    }
  }

  private _drop(): void {
    if (--this._refs > 0) return;
    for (const { frame, count } of this.pages.spans) this.memory.release(frame, count);
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
  if (!page || bytes !== VIOMMU_PAGE_BYTES)
    return refuse('ENXIO', where, 'offset and length are those that IOMMU_VIOMMU_ALLOC told in its data');
  return page;
}
