/** Reading and writing the regions of a device through its descriptor (drivers/vfio/pci/vfio_pci_rdwr.c). */
import { type Refusal, refuse } from '../../errno.ts';
import type { ReadOk } from '../../file.ts';
import type { VfioPciCore } from './core.ts';

export function readRegion(_core: VfioPciCore, _offset: bigint, _length: number): ReadOk | Refusal {
  return refuse('EINVAL', 'vfio_pci_core_read', 'the device has no regions here');
}

export function writeRegion(_core: VfioPciCore, _offset: bigint, _data: Uint8Array): number | Refusal {
  return refuse('EINVAL', 'vfio_pci_core_write', 'the device has no regions here');
}
