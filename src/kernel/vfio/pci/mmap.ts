/** Mapping the BARs of a device (vfio_pci_core_mmap, drivers/vfio/pci/vfio_pci_core.c). */
import { PAGE } from '../../../machine/address.ts';
import { barOf, readBar } from '../../../machine/pci/bar-memory.ts';
import type { BarSpec } from '../../../machine/spec.ts';
import { fatal, type Refusal, refuse } from '../../errno.ts';
import type { MapRequest, MapTarget } from '../../file.ts';
import type { DeviceMemory } from '../../mm/device-memory.ts';
import type { VfioDeviceFile } from '../device-file.ts';
import { storeInto } from './rdwr.ts';
import { canBeMapped, positionOf, ROM_REGION, regionOf } from './regions.ts';

const roundUp = (bytes: bigint): bigint => ((bytes + PAGE - 1n) / PAGE) * PAGE;

/**
 * EINVAL: no BAR, private, a BAR that cannot be mapped, or more than there is of it. Memory may be off meanwhile.
 */
export function mapRegion(file: VfioDeviceFile, { offset, length, shared }: MapRequest): MapTarget | Refusal {
  const where = 'vfio_pci_core_mmap';
  const { pci } = file;
  const region = regionOf(offset);
  if (region >= ROM_REGION) return refuse('EINVAL', where, `region ${region} cannot be mapped: only BARs can`);
  if (!shared) return refuse('EINVAL', where, 'a BAR is only mapped shared');
  const bar = barOf(pci.fn, region);
  if (!bar || !canBeMapped(pci, bar))
    return refuse('EINVAL', where, `BAR ${region} of ${pci.fn.bdf} cannot be mapped: see the flags of its region`);
  if (positionOf(offset) + roundUp(length) > roundUp(BigInt(bar.size)))
    return refuse('EINVAL', where, `BAR ${region} of ${pci.fn.bdf} has ${bar.size} bytes`);
  return { device: new BarMapping(file), offset };
}

/**
 * BARs in an address space. It has the file open, so that the device stays bound, and its DMA owned, until the last of it
 * is unmapped, whatever is closed meanwhile.
 */
export class BarMapping implements DeviceMemory {
  readonly file: VfioDeviceFile;

  constructor(file: VfioDeviceFile) {
    this.file = file;
  }

  get(): void {
    this.file.get();
  }

  put(): void {
    this.file.put();
  }

  /**
   * vfio_pci_mmap_huge_fault: refused while memory is off, in D3hot and in low power. What was mapped before is taken away
   * when that begins (vfio_pci_zap_bars), and comes back by itself.
   */
  fault(_offset: bigint): Refusal | null {
    const { dead, pci } = this.file;
    if (!dead && pci.memoryEnabled && !pci.lowPower) return null;
    return fatal(
      'SIGBUS',
      'vfio_pci_mmap_huge_fault',
      `${pci.fn.bdf} does not answer: memory is off in its command register, or its power is low`,
    );
  }

  read(offset: bigint, bytes: Uint8Array): void {
    readBar(this.file.pci.fn, this._barAt(offset), Number(positionOf(offset)), bytes);
  }

  write(offset: bigint, bytes: Uint8Array): void {
    storeInto(this.file.pci, this._barAt(offset), Number(positionOf(offset)), bytes);
  }

  private _barAt(offset: bigint): BarSpec {
    return barOf(this.file.pci.fn, regionOf(offset))!;
  }
}
