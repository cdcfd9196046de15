/** Resets of all functions behind a port (drivers/vfio/pci/vfio_pci_core.c). */
import { type Refusal, refuse } from '../../errno.ts';
import type { IoctlOk } from '../../file.ts';
import type { Process } from '../../process.ts';
import type { ArgOf } from '../../uapi/index.ts';
import type { VfioDeviceFile } from '../device-file.ts';

export function getHotResetInfo(
  _file: VfioDeviceFile,
  _arg: ArgOf<'VFIO_DEVICE_GET_PCI_HOT_RESET_INFO'>,
): IoctlOk | Refusal {
  return refuse('ENOTTY', 'vfio_pci_ioctl_get_pci_hot_reset_info', 'there is no hot reset here');
}

export function hotReset(
  _file: VfioDeviceFile,
  _arg: ArgOf<'VFIO_DEVICE_PCI_HOT_RESET'>,
  _process: Process,
): IoctlOk | Refusal {
  return refuse('ENOTTY', 'vfio_pci_ioctl_pci_hot_reset', 'there is no hot reset here');
}
