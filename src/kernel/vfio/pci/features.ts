/**
 * Features of a device: which number is which (vfio_ioctl_device_feature, drivers/vfio/vfio_main.c), and those of
 * vfio-pci (vfio_pci_core_ioctl_feature): the low power of a device that a program does not use for a while.
 */
import { Refusal, refuse } from '../../errno.ts';
import { eventfdOf } from '../../eventfd.ts';
import type { IoctlOk } from '../../file.ts';
import type { Process } from '../../process.ts';
import { FEATURE_FLAGS } from '../../uapi/bits.ts';
import type { ArgOf } from '../../uapi/index.ts';
import type { VfioPciCore } from './core.ts';

const { VFIO_DEVICE_FEATURE_GET: GET, VFIO_DEVICE_FEATURE_SET: SET, VFIO_DEVICE_FEATURE_PROBE: PROBE } = FEATURE_FLAGS;
const NUMBER = 0xffff;
const KNOWN = NUMBER | GET | SET | PROBE;

const LOW_POWER_ENTRY = 3;
const LOW_POWER_ENTRY_WITH_WAKEUP = 4;
const LOW_POWER_EXIT = 5;
const MIGRATION_PRECOPY_INFO = 12;

const HEADER_BYTES = 8;
/** struct vfio_device_low_power_entry_with_wakeup: a descriptor, and a reserved word. */
const WAKEUP_BYTES = 8;

/** VFIO_DEVICE_FEATURE. EINVAL unknown flags, GET and SET at once without PROBE; ENOTTY no such feature. */
export function feature(core: VfioPciCore, arg: ArgOf<'VFIO_DEVICE_FEATURE'>, process: Process): IoctlOk | Refusal {
  const where = 'vfio_ioctl_device_feature';
  const { flags } = arg;
  if (flags & ~KNOWN) return refuse('EINVAL', where, 'unknown flag');
  if (!(flags & PROBE) && flags & GET && flags & SET)
    return refuse('EINVAL', where, 'GET and SET exclude each other, except with PROBE');
  switch (flags & NUMBER) {
    case LOW_POWER_ENTRY:
      return check(arg, 'vfio_pci_core_pm_entry', 0) ?? core.enterLowPower(null) ?? {};
    case LOW_POWER_ENTRY_WITH_WAKEUP:
      return check(arg, 'vfio_pci_core_pm_entry_with_wakeup', WAKEUP_BYTES) ?? enterWithWakeup(core, arg, process);
    case LOW_POWER_EXIT:
      return check(arg, 'vfio_pci_core_pm_exit', 0) ?? exitLowPower(core);
    case MIGRATION_PRECOPY_INFO:
      return refuse('EINVAL', where, `${core.fn.bdf} does not migrate`);
    default:
      return refuse('ENOTTY', where, `${core.fn.bdf} has no feature ${flags & NUMBER}`);
  }
}

/**
 * vfio_check_feature, of a feature that can be set and takes `bytes`: what it answers; null: it is to be set. EINVAL GET,
 * neither of PROBE and SET, no room for the bytes.
 */
function check({ flags, argsz }: ArgOf<'VFIO_DEVICE_FEATURE'>, where: string, bytes: number): IoctlOk | Refusal | null {
  if (flags & GET) return refuse('EINVAL', where, 'the feature can be set, there is nothing to get');
  if (flags & PROBE) return {};
  if (!(flags & SET)) return refuse('EINVAL', where, 'the feature is asked for with PROBE, or SET');
  if (argsz < HEADER_BYTES + bytes)
    return refuse('EINVAL', where, `argsz is ${argsz}, the feature needs ${HEADER_BYTES + bytes}`);
  return null;
}

/** vfio_pci_core_pm_entry_with_wakeup. EINVAL a negative descriptor, the reserved word; EBADF, EINVAL no eventfd. */
function enterWithWakeup(
  core: VfioPciCore,
  { data = new Uint8Array() }: ArgOf<'VFIO_DEVICE_FEATURE'>,
  process: Process,
): IoctlOk | Refusal {
  const where = 'vfio_pci_core_pm_entry_with_wakeup';
  const bytes = new Uint8Array(WAKEUP_BYTES);
  bytes.set(data.subarray(0, WAKEUP_BYTES));
  const entry = new DataView(bytes.buffer);
  const fd = entry.getInt32(0, true);
  if (fd < 0 || entry.getUint32(4, true) !== 0)
    return refuse('EINVAL', where, 'the descriptor is negative, or the reserved word is not 0');
  const wakeup = eventfdOf(process, fd);
  if (wakeup instanceof Refusal) return wakeup;
  return core.enterLowPower(wakeup) ?? {};
}

/** vfio_pci_core_pm_exit: also where the device is not in low power. */
function exitLowPower(core: VfioPciCore): IoctlOk {
  core.exitLowPower();
  return {};
}
