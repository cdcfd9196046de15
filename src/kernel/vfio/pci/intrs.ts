/** The interrupts of a device (drivers/vfio/pci/vfio_pci_intrs.c). */
import { type Refusal, refuse } from '../../errno.ts';
import type { IoctlOk } from '../../file.ts';
import type { Process } from '../../process.ts';
import type { ArgOf } from '../../uapi/index.ts';
import type { VfioPciCore } from './core.ts';

export function getIrqInfo(_core: VfioPciCore, _arg: ArgOf<'VFIO_DEVICE_GET_IRQ_INFO'>): IoctlOk | Refusal {
  return refuse('ENOTTY', 'vfio_pci_ioctl_get_irq_info', 'the device has no interrupts here');
}

export function setIrqs(_core: VfioPciCore, _arg: ArgOf<'VFIO_DEVICE_SET_IRQS'>, _process: Process): IoctlOk | Refusal {
  return refuse('ENOTTY', 'vfio_pci_ioctl_set_irqs', 'the device has no interrupts here');
}
