/** The regions of a device (drivers/vfio/pci/vfio_pci_core.c). */
import { type Refusal, refuse } from '../../errno.ts';
import type { IoctlOk } from '../../file.ts';
import type { ArgOf } from '../../uapi/index.ts';
import type { VfioPciCore } from './core.ts';

export function getRegionInfo(_core: VfioPciCore, _arg: ArgOf<'VFIO_DEVICE_GET_REGION_INFO'>): IoctlOk | Refusal {
  return refuse('ENOTTY', 'vfio_pci_ioctl_get_region_info', 'the device has no regions here');
}
