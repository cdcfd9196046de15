/**
 * Devices of an iommufd, and what they are attached to (drivers/iommu/iommufd/device.c). Hardware attachment is per
 * IOMMU group: the first device's attach programs it, later ones join, the last detach removes it.
 */
import { MAX_HW_INFO } from '../../../limits.ts';
import type { PciFunction } from '../../../machine/pci/function.ts';
import { assert, type Refusal, refuse } from '../../errno.ts';
import type { IoctlOk } from '../../file.ts';
import type { IommuGroup, RestoredOwner } from '../../iommu/group.ts';
import type { ArgOf } from '../../uapi/index.ts';
import type { IommufdContext } from '../context.ts';
import { allocPagingHwpt, Hwpt, HwptPaging, joinIoas } from '../hw-pagetable/hwpt.ts';
import { Ioas } from '../ioas.ts';
import { IommufdObject } from '../objects.ts';
import { deviceCache } from '../selftest/mock-driver.ts';
import { buryVdevice, type Vdevice } from '../viommu/vdevice.ts';
import { mayMove, moved } from './moves.ts';

/** What the devices of one group are attached to, in one context. */
export interface GroupAttachment {
  hwpt: Hwpt;
  devices: Set<IommufdDevice>;
}

export class IommufdDevice extends IommufdObject {
  readonly type = 'device';
  readonly context: IommufdContext;
  readonly fn: PciFunction;
  readonly group: IommuGroup;
  /** The vDEVICE that stands for it on a vIOMMU. */
  vdevice: Vdevice | null = null;
  /** The cache of translations that the mock driver gives it. */
  readonly cache = deviceCache();

  constructor(context: IommufdContext, fn: PciFunction) {
    super();
    this.context = context;
    this.fn = fn;
    this.group = context.kernel.iommu.groupOf(fn)!;
    // The driver that bound it is a user: IOMMU_DESTROY is always EBUSY.
    this.hold();
  }

  /** The HWPT that the device is attached to. */
  get hwpt(): Hwpt | null {
    const attachment = this.context.attachments.get(this.group);
    return attachment?.devices.has(this) ? attachment.hwpt : null;
  }

  destroy(): void {}
}

/**
 * iommufd_device_bind: EPERM interrupts not isolated, the errnos of the claim, ENOMEM. That the unit is coherent was seen by
 * the probe of the VFIO driver.
 * `restoredFor`: the device comes with its restored domain, which stays where it is.
 */
export function bindDevice(
  context: IommufdContext,
  fn: PciFunction,
  restoredFor: RestoredOwner | null,
): IommufdDevice | Refusal {
  const where = 'iommufd_device_bind';
  const { kernel } = context;
  if (!kernel.machine.unitOf(fn).spec.interruptRemapping && !kernel.boot.allowUnsafeInterrupts)
    return refuse(
      'EPERM',
      where,
      `interrupts of group ${fn.spec.group} are not isolated: the host has no interrupt remapping, and its kernel was booted without allow_unsafe_interrupts`,
    );
  const group = kernel.iommu.groupOf(fn)!;
  const refusal = group.claimDmaOwner(context, restoredFor);
  if (refusal) return refusal;
  const injected = kernel.faults.refusal('device.bind', where);
  if (injected) {
    if (restoredFor) group.returnToRestored(restoredFor);
    else group.releaseDmaOwner();
    return injected;
  }
  context.get();
  return context.objects.commit(context.objects.reserve(), new IommufdDevice(context, fn));
}

/** iommufd_device_unbind: ownership first, then the reference on the context, which may be the last. */
export function unbindDevice(device: IommufdDevice, restoredTo: RestoredOwner | null): void {
  const { context, group } = device;
  assert(device.hwpt === null || restoredTo, 'a bound device is detached before it is unbound');
  buryVdevice(device);
  device.drop();
  context.destroy(device);
  if (restoredTo) group.returnToRestored(restoredTo);
  else group.releaseDmaOwner();
  context.put();
}

/** VFIO_DEVICE_ATTACH_IOMMUFD_PT: attaches, or moves a device that is attached. Returns the HWPT that it is on then. */
export function attachDevice(device: IommufdDevice, id: number): Hwpt | Refusal {
  return changePt(device, id, device.hwpt ? REPLACE : ATTACH);
}

export interface Change {
  apply(device: IommufdDevice, hwpt: Hwpt): Refusal | null;
  /** The device is attached before a new HWPT joins its IOAS, so that it sees an empty domain fill; else afterwards. */
  readonly attachFirst: boolean;
}

export const ATTACH: Change = { apply: attachHwpt, attachFirst: true };
const REPLACE: Change = { apply: replaceHwpt, attachFirst: false };

/** iommufd_device_change_pt: to a HWPT, or to one of an IOAS. ENOENT, EINVAL wrong type, or the errno of the change. */
export function changePt(device: IommufdDevice, id: number, change: Change): Hwpt | Refusal {
  const target = device.context.objects.get(id);
  if (!target) return refuse('ENOENT', 'iommufd_device_change_pt', `object ${id} of this iommufd is not there`);
  if (target instanceof Hwpt) return change.apply(device, target) ?? target;
  if (target instanceof Ioas) return attachAuto(device, target, change);
  return refuse('EINVAL', 'iommufd_device_change_pt', `object ${id} is a ${target.type}, not an IOAS or HWPT`);
}

/**
 * iommufd_device_auto_get_domain: the oldest automatic HWPT of the IOAS that fits, else a new one. EINVAL of a HWPT tries the
 * next one, any other errno ends it.
 */
function attachAuto(device: IommufdDevice, ioas: Ioas, change: Change): Hwpt | Refusal {
  for (const hwpt of ioas.hwpts.filter(({ auto }) => auto)) {
    const refusal = change.apply(device, hwpt);
    if (!refusal) return hwpt;
    if (refusal.errno !== 'EINVAL') return refusal;
  }
  const { context } = device;
  const id = context.objects.reserve();
  const hwpt = allocPagingHwpt(context, ioas, device, { flags: 0, auto: true });
  if (!(hwpt instanceof HwptPaging)) {
    context.objects.abort(id);
    return hwpt;
  }
  const fail = (refusal: Refusal): Refusal => {
    context.kernel.iommu.freeDomain(hwpt.domain);
    context.objects.abort(id);
    return refusal;
  };
  hwpt.id = id;
  if (!change.attachFirst) {
    const refusal = joinIoas(hwpt);
    if (refusal) return fail(refusal);
    const refused = change.apply(device, hwpt);
    if (refused) {
      leaveIoas(hwpt);
      return fail(refused);
    }
  } else {
    const refusal = change.apply(device, hwpt);
    if (refusal) return fail(refusal);
    const refused = joinIoas(hwpt);
    if (refused) {
      detachHwpt(device, false);
      return fail(refused);
    }
  }
  context.objects.commit(id, hwpt);
  return hwpt;
}

function leaveIoas(hwpt: HwptPaging): void {
  const ioas = hwpt.ioas!;
  ioas.iopt.removeDomain(hwpt.domain);
  ioas.hwpts.splice(ioas.hwpts.indexOf(hwpt), 1);
  ioas.drop();
}

/** The IOAS into which devices on a HWPT bring their reserved ranges; null: the HWPT is a restored one. */
const ioasOf = (hwpt: Hwpt): Ioas | null => hwpt.paging.ioas;

/** Adds the reserved ranges of a device to an IOAS; EADDRINUSE leaves none. */
function reserveFor(device: IommufdDevice, ioas: Ioas): Refusal | null {
  for (const range of device.context.kernel.iommu.reservedRanges(device.fn)) {
    if (range.type === 'direct-relaxable') continue;
    const refusal = ioas.iopt.reserve(range.start, range.last, device);
    if (refusal) {
      ioas.iopt.unreserve(device);
      return refusal;
    }
  }
  return null;
}

const RESTORED_ATTACH = 'a restored HWPT has no IOAS: it can only be destroyed, not attached again';

/**
 * iommufd_hw_pagetable_attach. EINVAL restored, EBUSY, EINVAL another HWPT, EADDRINUSE reserved ranges, or the core's
 * errno.
 */
function attachHwpt(device: IommufdDevice, hwpt: Hwpt): Refusal | null {
  const where = 'iommufd_hw_pagetable_attach';
  const { context, group } = device;
  const attachment = context.attachments.get(group);
  if (hwpt.paging.restored) return refuse('EINVAL', where, RESTORED_ATTACH, 'R11');
  if (attachment?.devices.has(device)) return refuse('EBUSY', where, `device ${device.id} is attached already`);
  if (attachment && attachment.hwpt !== hwpt)
    return refuse('EINVAL', where, `group ${group.id} is attached to HWPT ${attachment.hwpt.id} by another device`);
  const ioas = ioasOf(hwpt)!;
  const refusal = reserveFor(device, ioas);
  if (refusal) return refusal;
  if (attachment) attachment.devices.add(device);
  else {
    const refused = mayMove(device, hwpt) ?? group.attach(hwpt.domain);
    if (refused) {
      ioas.iopt.unreserve(device);
      return refused;
    }
    const made = { hwpt, devices: new Set([device]) };
    context.attachments.set(group, made);
    moved(device, made, null, hwpt);
  }
  hwpt.hold();
  return null;
}

/**
 * iommufd_device_do_replace: the whole group moves, or nothing changes (R12). EINVAL, EADDRINUSE, or the core's errno.
 */
function replaceHwpt(device: IommufdDevice, hwpt: Hwpt): Refusal | null {
  const { context, group } = device;
  const attachment = context.attachments.get(group)!;
  const old = attachment.hwpt;
  if (old === hwpt) return null;
  if (hwpt.paging.restored) return refuse('EINVAL', 'iommufd_device_do_replace', RESTORED_ATTACH, 'R11');
  const ioas = ioasOf(hwpt)!;
  const oldIoas = ioasOf(old);
  const reserved: IommufdDevice[] = [];
  const undo = (refusal: Refusal): Refusal => {
    for (const other of reserved) ioas.iopt.unreserve(other);
    return refusal;
  };
  if (ioas !== oldIoas)
    for (const other of attachment.devices) {
      const refusal = reserveFor(other, ioas);
      if (refusal) return undo(refusal);
      reserved.push(other);
    }
  const refusal = mayMove(device, hwpt) ?? group.replace(hwpt.domain);
  if (refusal) return undo(refusal);
  if (ioas !== oldIoas && oldIoas) for (const other of attachment.devices) oldIoas.iopt.unreserve(other);
  old.drop(attachment.devices.size);
  hwpt.hold(attachment.devices.size);
  attachment.hwpt = hwpt;
  moved(device, attachment, old, hwpt);
  if (old.paging.restored) context.kernel.restored.swapped(old.paging, hwpt.paging, device.fn.bdf);
  dropAuto(old);
  return null;
}

/**
 * iommufd_device_detach: with its last device the group goes to the blocking domain. Does nothing if it is not
 * attached.
 */
export function detachDevice(device: IommufdDevice): void {
  if (device.hwpt) detachHwpt(device, true);
}

function detachHwpt(device: IommufdDevice, destroyAuto: boolean): void {
  const { context, group } = device;
  const attachment = context.attachments.get(group)!;
  const { hwpt } = attachment;
  attachment.devices.delete(device);
  if (attachment.devices.size === 0) {
    context.attachments.delete(group);
    group.detach();
    moved(device, attachment, hwpt, null);
  }
  ioasOf(hwpt)?.iopt.unreserve(device);
  hwpt.drop();
  if (destroyAuto) dropAuto(hwpt);
}

/** An automatic HWPT dies with its last user; one that is preserved when its session is closed (C2). */
export function dropAuto(hwpt: Hwpt): void {
  if (hwpt instanceof HwptPaging && hwpt.auto && hwpt.users === 0 && !hwpt.preserved) hwpt.context.destroy(hwpt);
}

const INPUT_TYPE = 1;

/** IOMMU_GET_HW_INFO. EOPNOTSUPP flags, reserved; ENOENT; EOPNOTSUPP another type; EFAULT a buffer over MAX_HW_INFO. */
export function getHwInfo(context: IommufdContext, arg: ArgOf<'IOMMU_GET_HW_INFO'>): IoctlOk | Refusal {
  const where = 'iommufd_get_hw_info';
  if (arg.flags & ~INPUT_TYPE || arg.__reserved)
    return refuse('EOPNOTSUPP', where, 'unknown flag, or __reserved is not 0');
  const device = context.objects.lookup(arg.dev_id, IommufdDevice, 'a device');
  if (!(device instanceof IommufdDevice)) return device;
  const unit = context.kernel.machine.unitOf(device.fn);
  const { hwInfo } = unit.spec;
  if (arg.flags & INPUT_TYPE && arg.in_data_type !== 0 && arg.in_data_type !== hwInfo.type)
    return refuse('EOPNOTSUPP', where, 'the driver has no information of this type');
  const room = arg.data_len;
  if (room > MAX_HW_INFO) return refuse('EFAULT', where, `a buffer has at most ${MAX_HW_INFO} bytes here`);
  const buffer = new Uint8Array(room);
  if (hwInfo.data) buffer.set(Uint8Array.fromBase64(hwInfo.data).subarray(0, room));
  const dirty = unit.spec.dirtyTracking && device.fn.spec.dirtyTracking;
  return {
    arg: {
      data_len: hwInfo.length,
      out_data_type: hwInfo.type,
      out_max_pasid_log2: device.fn.spec.pasid ? unit.spec.maxPasidLog2 : 0,
      out_capabilities: (dirty ? 1n : 0n) | (device.fn.spec.ats ? 0n : 8n),
      data: buffer,
    },
  };
}
