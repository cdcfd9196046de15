/** Mapping the BARs of a device (drivers/vfio/pci/vfio_pci_core.c). */
import { type Refusal, refuse } from '../../errno.ts';
import type { MapRequest, MapTarget } from '../../file.ts';
import type { VfioPciCore } from './core.ts';

export function mapRegion(_core: VfioPciCore, _request: MapRequest): MapTarget | Refusal {
  return refuse('EINVAL', 'vfio_pci_core_mmap', 'the device has no regions here');
}
