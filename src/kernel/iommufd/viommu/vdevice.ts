/** vDEVICEs: the number that a guest knows a device by on its vIOMMU (drivers/iommu/iommufd/viommu.c). */
import { hex } from '../../../machine/address.ts';
import { type Refusal, refuse } from '../../errno.ts';
import type { IoctlOk } from '../../file.ts';
import type { ArgOf } from '../../uapi/index.ts';
import type { IommufdContext } from '../context.ts';
import { IommufdDevice } from '../device/device.ts';
import { IommufdObject } from '../objects.ts';
import { Viommu } from './viommu.ts';

export class Vdevice extends IommufdObject {
  readonly type = 'vdevice';
  readonly viommu: Viommu;
  readonly device: IommufdDevice;
  readonly virtId: bigint;

  constructor(viommu: Viommu, device: IommufdDevice, virtId: bigint) {
    super();
    this.viommu = viommu;
    this.device = device;
    this.virtId = virtId;
    viommu.hold();
    viommu.add(this);
    device.vdevice = this;
  }

  destroy(): void {
    this.device.vdevice = null;
    this.viommu.remove(this);
    this.viommu.drop();
  }
}

/**
 * IOMMU_VDEVICE_ALLOC. ENOENT; EINVAL behind another IOMMU; EEXIST the device has one; ENOMEM; EEXIST the number is
 * taken.
 */
export function vdeviceAlloc(context: IommufdContext, arg: ArgOf<'IOMMU_VDEVICE_ALLOC'>): IoctlOk | Refusal {
  const where = 'iommufd_vdevice_alloc_ioctl';
  const virtId = arg.virt_id;
  const viommu = context.objects.lookup(arg.viommu_id, Viommu, 'a vIOMMU');
  if (!(viommu instanceof Viommu)) return viommu;
  const device = context.objects.lookup(arg.dev_id, IommufdDevice, 'a device');
  if (!(device instanceof IommufdDevice)) return device;
  if (context.kernel.machine.unitOf(device.fn) !== viommu.unit)
    return refuse('EINVAL', where, `${device.fn.bdf} is behind another IOMMU than the vIOMMU`);
  if (device.vdevice) return refuse('EEXIST', where, `device ${device.id} has vDEVICE ${device.vdevice.id}`);
  const injected = context.kernel.faults.refusal('vdevice.alloc', where);
  if (injected) return injected;
  if (viommu.vdevices.has(virtId)) return refuse('EEXIST', where, `${hex(virtId)} is taken on vIOMMU ${viommu.id}`);
  const vdevice = context.objects.commit(context.objects.reserve(), new Vdevice(viommu, device, virtId));
  return { arg: { out_vdevice_id: vdevice.id } };
}

/** iommufd_device_remove_vdev: the vDEVICE of a device that is unbound is destroyed, and its id never given again. */
export function buryVdevice({ vdevice, context }: IommufdDevice): void {
  if (!vdevice) return;
  vdevice.destroy();
  context.objects.tombstone(vdevice.id);
}
