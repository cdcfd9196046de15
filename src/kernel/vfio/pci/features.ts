/** Features of a device (vfio_ioctl_device_feature, drivers/vfio/vfio_main.c). */
import { type Refusal, refuse } from '../../errno.ts';
import type { IoctlOk } from '../../file.ts';
import type { ArgOf } from '../../uapi/index.ts';
import type { VfioPciCore } from './core.ts';

export function feature(_core: VfioPciCore, _arg: ArgOf<'VFIO_DEVICE_FEATURE'>): IoctlOk | Refusal {
  return refuse('ENOTTY', 'vfio_ioctl_device_feature', 'the device has no features here');
}
