/**
 * Resets of all functions behind a bridge at once (drivers/vfio/pci/vfio_pci_core.c). Those that are on VFIO drivers are a
 * device set (struct vfio_device_set); the bus can be reset if they are all that there is on it.
 */
import { functionsOfBus, isBusResettable, pciAddress } from '../../../machine/pci/bus.ts';
import type { PciFunction } from '../../../machine/pci/function.ts';
import { Refusal, refuse } from '../../errno.ts';
import type { IoctlOk } from '../../file.ts';
import type { IommufdContext } from '../../iommufd/context.ts';
import type { Process } from '../../process.ts';
import type { ArgOf, DependentDevice } from '../../uapi/index.ts';
import type { VfioDeviceFile } from '../device-file.ts';
import { VfioGroupFile } from '../group-file.ts';
import type { VfioDevice, VfioKernel } from '../vfio.ts';

/** Flags of GET_PCI_HOT_RESET_INFO. */
const DEV_ID = 1;
const DEV_ID_OWNED = 2;
/** In place of the id of a device: it is in a group of which the iommufd has another device; it is not. */
const OWNED = 0;
const NOT_OWNED = -1;

const HEADER_BYTES = 12;
const DEVICE_BYTES = 8;

/** All functions that a reset of the bus of this one resets. ENODEV: its bus cannot be reset (pci_probe_reset_bus). */
function affectedBy(device: VfioDevice, where: string): PciFunction[] | Refusal {
  const { fn, kernel } = device;
  const functions = functionsOfBus(fn, kernel.machine.functions.values());
  if (isBusResettable(functions)) return functions;
  return refuse('ENODEV', where, `${fn.bdf} is on a root bus, or the bridge above it cannot reset its bus`);
}

/**
 * VFIO_DEVICE_GET_PCI_HOT_RESET_INFO (vfio_pci_ioctl_get_pci_hot_reset_info). ENODEV no bus to reset; ENOSPC, with the
 * count, where `argsz` has no room for all functions.
 */
export function getHotResetInfo(
  file: VfioDeviceFile,
  { argsz }: ArgOf<'VFIO_DEVICE_GET_PCI_HOT_RESET_INFO'>,
): IoctlOk | Refusal {
  const where = 'vfio_pci_ioctl_get_pci_hot_reset_info';
  const functions = affectedBy(file.device, where);
  if (functions instanceof Refusal) return functions;
  const count = functions.length;
  const needed = HEADER_BYTES + count * DEVICE_BYTES;
  if (argsz < needed)
    return refuse('ENOSPC', where, `${count} functions need an argsz of ${needed}`).withArg({ flags: 0, count });
  if (!file.cdev) {
    const devices = functions.map((fn) => ({ group_id: fn.spec.group!, ...pciAddress(fn.bdf) }));
    return { arg: { flags: 0, count, devices } };
  }
  const { context } = file.device.bound!;
  const devices: DependentDevice[] = functions.map((fn) => {
    const devid = deviceId(file.device.kernel, fn, context);
    return { devid, ...pciAddress(fn.bdf) };
  });
  const owned = devices.every(({ devid }) => devid !== NOT_OWNED);
  return { arg: { flags: DEV_ID | (owned ? DEV_ID_OWNED : 0), count, devices } };
}

/** What the function is to an iommufd: its id there, OWNED or NOT_OWNED (vfio_iommufd_get_dev_id). */
function deviceId({ vfio }: VfioKernel, fn: PciFunction, context: IommufdContext): number {
  const device = vfio.devices.get(fn.bdf);
  if (!device) return NOT_OWNED;
  if (device.bound?.context === context) return device.bound.id;
  for (const { bound } of vfio.allOfGroup(fn.spec.group)) if (bound?.context === context) return OWNED;
  return NOT_OWNED;
}

/**
 * VFIO_DEVICE_PCI_HOT_RESET (vfio_pci_ioctl_pci_hot_reset). EINVAL flags; descriptors given for a cdev, or none for a file
 * of a legacy group; ENODEV no bus to reset; EINVAL more descriptors than functions; EBADF, EINVAL a descriptor that is
 * not open, or of no legacy group; EINVAL a function that is on no VFIO driver, or not the caller's; ENOTTY.
 */
export function hotReset(
  file: VfioDeviceFile,
  { flags, count, group_fds: fds = [] }: ArgOf<'VFIO_DEVICE_PCI_HOT_RESET'>,
  process: Process,
): IoctlOk | Refusal {
  const where = 'vfio_pci_ioctl_pci_hot_reset';
  const { device } = file;
  if (flags) return refuse('EINVAL', where, 'flags must be 0');
  if (count > 0 === file.cdev)
    return refuse(
      'EINVAL',
      where,
      file.cdev
        ? 'count must be 0: a device opened by its cdev owns what its iommufd owns'
        : 'count must not be 0: a device opened by its legacy group needs the descriptors of all groups',
    );
  const functions = affectedBy(device, where);
  if (functions instanceof Refusal) return functions;
  if (file.cdev) {
    const { context } = device.bound!;
    return resetSet(functions, device.kernel, (fn) => deviceId(device.kernel, fn, context) !== NOT_OWNED);
  }
  if (count > functions.length)
    return refuse('EINVAL', where, `${count} descriptors, but a reset of the bus has ${functions.length} functions`);
  const groups = new Set<number>();
  for (let index = 0; index < count; index++) {
    const group = process.file(fds[index] ?? 0);
    if (group instanceof Refusal) return group;
    if (!(group instanceof VfioGroupFile))
      return refuse('EINVAL', where, `descriptor ${fds[index]} is ${group.link()}, not a legacy group`);
    if (!group.dead) groups.add(group.group);
  }
  return resetSet(functions, device.kernel, (fn) => groups.has(fn.spec.group!));
}

/**
 * vfio_pci_dev_set_hot_reset. EINVAL: a function is on no VFIO driver, or not the caller's; ENOTTY: the port does not
 * report its link up afterwards, as can be armed: then the functions have been reset all the same.
 */
function resetSet(
  functions: readonly PciFunction[],
  kernel: VfioKernel,
  isOwned: (fn: PciFunction) => boolean,
): IoctlOk | Refusal {
  const where = 'vfio_pci_dev_set_hot_reset';
  const devices = deviceSet(functions, kernel);
  if (devices instanceof Refusal) return devices;
  // vfio_pci_dev_set_pm_runtime_get
  for (const { pci } of devices) pci?.resume();
  const foreign = functions.find((fn) => !isOwned(fn));
  if (foreign) return refuse('EINVAL', where, `${foreign.bdf}, which would be reset too, is not the caller's`);
  for (const fn of functions) kernel.resetFunction(fn, 'VFIO_DEVICE_PCI_HOT_RESET');
  return kernel.faults.refusal('pci.link', 'pci_bridge_wait_for_secondary_bus') ?? {};
}

/** The devices of these functions. EINVAL: one of them is on no VFIO driver (vfio_pci_dev_set_resettable). */
function deviceSet(functions: readonly PciFunction[], { vfio }: VfioKernel): VfioDevice[] | Refusal {
  const devices: VfioDevice[] = [];
  for (const { bdf } of functions) {
    const device = vfio.devices.get(bdf);
    if (!device)
      return refuse(
        'EINVAL',
        'vfio_pci_dev_set_resettable',
        `${bdf}, which would be reset too, is on no VFIO driver: bind vfio-pci to it`,
      );
    devices.push(device);
  }
  return devices;
}

/**
 * vfio_pci_dev_set_try_reset, at the last close of a device: resets its bus if that can be done, nobody has another device
 * of it open, and one of them could not be reset by itself since it was used.
 */
export function tryResetSet(device: VfioDevice): void {
  const { fn, kernel } = device;
  const functions = functionsOfBus(fn, kernel.machine.functions.values());
  if (!isBusResettable(functions)) return;
  const devices = deviceSet(functions, kernel);
  if (devices instanceof Refusal) return;
  if (!devices.some(({ needsReset }) => needsReset) || devices.some((each) => each !== device && each.bound)) return;
  for (const { fn: each } of devices) kernel.resetFunction(each, 'close');
  for (const each of devices) each.needsReset = false;
}
