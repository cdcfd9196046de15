/** Eventfds that store into a BAR (drivers/vfio/pci/vfio_pci_rdwr.c). */
import { type Refusal, refuse } from '../../errno.ts';
import type { IoctlOk } from '../../file.ts';
import type { Process } from '../../process.ts';
import type { ArgOf } from '../../uapi/index.ts';
import type { VfioPciCore } from './core.ts';

export function ioeventfd(
  _core: VfioPciCore,
  _arg: ArgOf<'VFIO_DEVICE_IOEVENTFD'>,
  _process: Process,
): IoctlOk | Refusal {
  return refuse('ENOTTY', 'vfio_pci_ioctl_ioeventfd', 'the device has no ioeventfds here');
}
