/** Attach, replace and detach of the model's devices, as src/kernel/iommufd/device/README.md has them. */
import { Failure } from './base.ts';
import { Domain } from './ioas.ts';
import {
  addObject,
  type Device,
  destroyObject,
  type Hwpt,
  type IoasObject,
  type Iommufd,
  type Unit,
} from './objects.ts';

export interface Machine {
  unit: Unit;
  functions: readonly Device['fn'][];
}

type Change = (machine: Machine, context: Iommufd, device: Device, hwpt: Hwpt) => void;

export function attachmentOf(context: Iommufd, device: Device): Hwpt | null {
  const attachment = context.attachments.get(device.fn.group);
  return attachment?.devices.includes(device) ? attachment.hwpt : null;
}

/** The HWPT that the device is on afterwards. */
export function attachTo(machine: Machine, context: Iommufd, device: Device, id: number): Hwpt {
  const target = context.objects.get(id);
  if (!target) throw new Failure('ENOENT');
  if (target.type === 'device') throw new Failure('EINVAL');
  const change = attachmentOf(context, device) ? replace : attach;
  if (target.type === 'ioas') return automatic(machine, context, device, target, change);
  change(machine, context, device, target);
  return target;
}

function automatic(machine: Machine, context: Iommufd, device: Device, ioas: IoasObject, change: Change): Hwpt {
  for (const hwpt of ioas.hwpts.filter(({ auto }) => auto)) {
    try {
      change(machine, context, device, hwpt);
      return hwpt;
    } catch (failure) {
      if (!(failure instanceof Failure) || failure.errno !== 'EINVAL') throw failure;
    }
  }
  const flags = { dirty: false, nestParent: false, vtd: machine.unit.kind === 'intel-vtd' };
  const domain = new Domain(machine.unit.formats[0], flags);
  const hwpt: Hwpt = { type: 'hwpt', ioas, domain, auto: true, nestParent: false };
  const id = addObject(context, hwpt);
  const join = (): void => {
    ioas.space.addDomain(domain);
    ioas.hwpts.push(hwpt);
  };
  if (change === replace) {
    try {
      join();
    } catch (failure) {
      context.objects.delete(id);
      throw failure;
    }
    try {
      replace(machine, context, device, hwpt);
    } catch (failure) {
      destroyObject(context, hwpt);
      throw failure;
    }
    return hwpt;
  }
  try {
    attach(machine, context, device, hwpt);
  } catch (failure) {
    context.objects.delete(id);
    throw failure;
  }
  try {
    join();
  } catch (failure) {
    leave(context, device);
    context.objects.delete(id);
    throw failure;
  }
  return hwpt;
}

/** The device's reserved regions into the IOAS, all or none. */
function reserveRegions(device: Device, ioas: IoasObject): void {
  try {
    for (const { start, last } of device.fn.reserved) ioas.space.reserve(start, last, device);
  } catch (failure) {
    ioas.space.unreserve(device);
    throw failure;
  }
}

/** The driver's word: can every function of the group be on the domain? */
function checkFit(machine: Machine, group: number, hwpt: Hwpt): void {
  const functions = machine.functions.filter((fn) => fn.group === group);
  if (hwpt.domain.flags.dirty && functions.some((fn) => !fn.dirtyTracking)) throw new Failure('EINVAL');
}

function attach(machine: Machine, context: Iommufd, device: Device, hwpt: Hwpt): void {
  const { group } = device.fn;
  const attachment = context.attachments.get(group);
  if (attachment && attachment.hwpt !== hwpt) throw new Failure('EINVAL');
  reserveRegions(device, hwpt.ioas);
  if (attachment) {
    attachment.devices.push(device);
    return;
  }
  try {
    checkFit(machine, group, hwpt);
  } catch (failure) {
    hwpt.ioas.space.unreserve(device);
    throw failure;
  }
  context.attachments.set(group, { hwpt, devices: [device] });
}

function replace(machine: Machine, context: Iommufd, device: Device, hwpt: Hwpt): void {
  const attachment = context.attachments.get(device.fn.group)!;
  const old = attachment.hwpt;
  if (old === hwpt) return;
  const moves = old.ioas !== hwpt.ioas;
  const reserved: Device[] = [];
  try {
    if (moves)
      for (const other of attachment.devices) {
        reserveRegions(other, hwpt.ioas);
        reserved.push(other);
      }
    checkFit(machine, device.fn.group, hwpt);
  } catch (failure) {
    for (const other of reserved) hwpt.ioas.space.unreserve(other);
    throw failure;
  }
  if (moves) for (const other of attachment.devices) old.ioas.space.unreserve(other);
  attachment.hwpt = hwpt;
  dropAutomatic(context, old);
}

export function detach(context: Iommufd, device: Device): void {
  const hwpt = attachmentOf(context, device);
  if (!hwpt) return;
  leave(context, device);
  dropAutomatic(context, hwpt);
}

function leave(context: Iommufd, device: Device): void {
  const attachment = context.attachments.get(device.fn.group)!;
  attachment.devices = attachment.devices.filter((other) => other !== device);
  if (attachment.devices.length === 0) context.attachments.delete(device.fn.group);
  attachment.hwpt.ioas.space.unreserve(device);
}

/** An automatic HWPT goes with its last device. */
function dropAutomatic(context: Iommufd, hwpt: Hwpt): void {
  const used = [...context.attachments.values()].some((attachment) => attachment.hwpt === hwpt);
  if (hwpt.auto && !used) destroyObject(context, hwpt);
}
