/**
 * PASIDs (drivers/iommu/iommufd/device.c): address spaces of a device beside its own, each on a HWPT that was made for
 * them. PASID 0 is the device itself.
 */
import { type Refusal, refuse } from '../../errno.ts';
import type { IommuGroup } from '../../iommu/group.ts';
import type { Hwpt } from '../hw-pagetable/hwpt.ts';
import { ATTACH, type Change, changePt, detachDevice, type GroupAttachment, type IommufdDevice } from './device.ts';
import { mayFault } from './moves.ts';

/** What the PASIDs of each group are attached to, in one context. */
export class PasidTable {
  private readonly _groups = new Map<IommuGroup, Map<number, GroupAttachment>>();

  get(group: IommuGroup, pasid: number): GroupAttachment | undefined {
    return this._groups.get(group)?.get(pasid);
  }

  *[Symbol.iterator](): Generator<{ group: IommuGroup; pasid: number; attachment: GroupAttachment }> {
    for (const [group, pasids] of this._groups)
      for (const [pasid, attachment] of pasids) yield { group, pasid, attachment };
  }

  /** Whether any PASID of the group is attached. */
  has(group: IommuGroup): boolean {
    return this._groups.has(group);
  }

  set(group: IommuGroup, pasid: number, attachment: GroupAttachment): void {
    const pasids = this._groups.get(group) ?? new Map<number, GroupAttachment>();
    this._groups.set(group, pasids.set(pasid, attachment));
  }

  delete(group: IommuGroup, pasid: number): void {
    const pasids = this._groups.get(group);
    pasids?.delete(pasid);
    if (pasids?.size === 0) this._groups.delete(group);
  }
}

/** iommufd_device_attach with a PASID. Returns the HWPT that it is on then. */
export function attachPasid(device: IommufdDevice, pasid: number, id: number): Hwpt | Refusal {
  if (pasid === 0) return changePt(device, id, ATTACH);
  const apply: Change['apply'] = (_device, hwpt) => attach(device, pasid, hwpt);
  return changePt(device, id, { apply, attachFirst: true });
}

/** iommufd_device_replace with a PASID. */
export function replacePasid(device: IommufdDevice, pasid: number, id: number): Hwpt | Refusal {
  const apply: Change['apply'] = (_device, hwpt) => replace(device, pasid, hwpt);
  return changePt(device, id, { apply, attachFirst: false });
}

/** iommufd_device_detach with a PASID. Does nothing if it is not attached. */
export function detachPasid(device: IommufdDevice, pasid: number): void {
  if (pasid === 0) {
    detachDevice(device);
    return;
  }
  const { context, group } = device;
  const attachment = context.pasids.get(group, pasid);
  if (!attachment?.devices.delete(device)) return;
  const { hwpt } = attachment;
  hwpt.drop();
  if (attachment.devices.size > 0) return;
  context.pasids.delete(group, pasid);
  hwpt.fault?.forget(attachment);
}

function attach(device: IommufdDevice, pasid: number, hwpt: Hwpt): Refusal | null {
  const where = 'iommufd_hw_pagetable_attach';
  const { context, group } = device;
  const attachment = context.pasids.get(group, pasid);
  if (attachment?.devices.has(device)) return refuse('EBUSY', where, `PASID ${pasid} is attached`);
  if (attachment && attachment.hwpt !== hwpt)
    return refuse('EINVAL', where, `PASID ${pasid} of the group is on HWPT ${attachment.hwpt.id} by another device`);
  if (attachment) attachment.devices.add(device);
  else {
    const refusal = mayCome(device, pasid, hwpt, 'iommu.attach');
    if (refusal) return refusal;
    context.pasids.set(group, pasid, { hwpt, devices: new Set([device]) });
  }
  hwpt.hold();
  return null;
}

function replace(device: IommufdDevice, pasid: number, hwpt: Hwpt): Refusal | null {
  const where = 'iommufd_device_do_replace';
  const attachment = device.context.pasids.get(device.group, pasid);
  if (!attachment?.devices.has(device)) return refuse('EINVAL', where, `PASID ${pasid} is not attached`);
  const old = attachment.hwpt;
  if (old === hwpt) return null;
  const refusal = mayCome(device, pasid, hwpt, 'iommu.replace');
  if (refusal) return refusal;
  old.drop(attachment.devices.size);
  hwpt.hold(attachment.devices.size);
  attachment.hwpt = hwpt;
  old.fault?.forget(attachment);
  return null;
}

/**
 * iommufd_hwpt_pasid_compat, then iommu_attach_device_pasid. EINVAL unless both this HWPT and that of the device itself were
 * made with the flag PASID, the number is below what the device has, and the domain is of the device's driver.
 */
function mayCome(
  { context, group, fn }: IommufdDevice,
  pasid: number,
  hwpt: Hwpt,
  point: 'iommu.attach' | 'iommu.replace',
): Refusal | null {
  const where = 'iommufd_hwpt_pasid_compat';
  if (!hwpt.pasidCompatible) return refuse('EINVAL', where, `HWPT ${hwpt.id} was allocated without PASID`);
  const own = context.attachments.get(group)?.hwpt;
  if (own && !own.pasidCompatible)
    return refuse('EINVAL', where, `HWPT ${own.id}, which ${fn.bdf} is on, was allocated without PASID`);
  const core = 'iommu_attach_device_pasid';
  const unit = context.kernel.machine.unitOf(fn);
  const pasids = fn.spec.pasid ? 2 ** unit.spec.maxPasidLog2 : 0;
  if (pasid >= pasids) return refuse('EINVAL', core, `${fn.bdf} has ${pasids} PASIDs`);
  if (hwpt.paging.domain.unit.kind !== unit.kind)
    return refuse('EINVAL', core, `the domain was made for IOMMU ${hwpt.paging.domain.unit.id}`);
  return mayFault(context.kernel.machine.unitOf(fn), hwpt) ?? context.kernel.faults.refusal(point, core);
}
