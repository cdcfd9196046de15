/** IOMMU_HWPT_ALLOC (drivers/iommu/iommufd/hw_pagetable.c): of an IOAS, on a nesting parent, or on a vIOMMU. */
import { type Refusal, refuse } from '../../errno.ts';
import type { IoctlOk } from '../../file.ts';
import type { ArgOf } from '../../uapi/index.ts';
import { HWPT_ALLOC_NEST_PARENT, HWPT_FAULT_ID_VALID } from '../../uapi/iommufd.ts';
import type { IommufdContext } from '../context.ts';
import { IommufdDevice } from '../device/device.ts';
import { FaultQueue } from '../eventq/fault-queue.ts';
import { Ioas } from '../ioas.ts';
import type { IommufdObject } from '../objects.ts';
import type { DriverData } from '../selftest/mock-driver.ts';
import { Viommu } from '../viommu/viommu.ts';
import { allocPagingHwpt, Hwpt, HwptPaging, joinIoas } from './hwpt.ts';
import { allocNested, allocNestedOnViommu } from './nested.ts';

const KNOWN_FLAGS = 15;

/** IOMMU_HWPT_ALLOC: the rows of README.md. */
export function hwptAlloc(context: IommufdContext, arg: ArgOf<'IOMMU_HWPT_ALLOC'>): IoctlOk | Refusal {
  const where = 'iommufd_hwpt_alloc';
  const { flags } = arg;
  const data: DriverData = {
    type: arg.data_type ?? 0,
    length: arg.data_len ?? 0,
    bytes: arg.data ?? null,
  };
  if (arg.__reserved) return refuse('EOPNOTSUPP', where, '__reserved must be 0');
  if ((data.type === 0) !== (data.length === 0))
    return refuse('EINVAL', where, 'data_type and data_len are both 0 or both given');
  const device = context.objects.lookup(arg.dev_id, IommufdDevice, 'a device');
  if (!(device instanceof IommufdDevice)) return device;
  const target = context.objects.get(arg.pt_id);
  if (!target) return refuse('EINVAL', where, `object ${arg.pt_id} of this iommufd is not there`);
  const id = context.objects.reserve();
  const made = make(device, target, flags, data);
  const refusal = made instanceof Hwpt && flags & HWPT_FAULT_ID_VALID ? setFaultQueue(made, arg.fault_id ?? 0) : null;
  if (refusal || !(made instanceof Hwpt)) {
    context.objects.abort(id);
    return refusal ?? (made as Refusal);
  }
  context.objects.commit(id, made);
  return { arg: { out_hwpt_id: id } };
}

function make(device: IommufdDevice, target: IommufdObject, flags: number, data: DriverData): Hwpt | Refusal {
  if (target instanceof Ioas) return makePaging(device, target, flags, data);
  if (target instanceof HwptPaging) return allocNested(device, target, flags, data);
  if (target instanceof Viommu) return allocNestedOnViommu(device, target, flags, data);
  return refuse('EINVAL', 'iommufd_hwpt_alloc', `object ${target.id} is a ${target.type}, not an IOAS, HWPT or vIOMMU`);
}

function makePaging(device: IommufdDevice, ioas: Ioas, flags: number, data: DriverData): Hwpt | Refusal {
  const where = 'iommufd_hwpt_paging_alloc';
  const { context } = ioas;
  if (flags & ~KNOWN_FLAGS) return refuse('EOPNOTSUPP', where, 'unknown flag');
  if (flags & HWPT_FAULT_ID_VALID && flags & HWPT_ALLOC_NEST_PARENT)
    return refuse('EOPNOTSUPP', where, 'FAULT_ID_VALID and NEST_PARENT exclude each other');
  const hwpt = allocPagingHwpt(context, ioas, device, { flags, auto: false, data });
  if (!(hwpt instanceof HwptPaging)) return hwpt;
  const refusal = joinIoas(hwpt);
  if (!refusal) return hwpt;
  context.kernel.iommu.freeDomain(hwpt.domain);
  return refusal;
}

/** Row 10: ENOENT no such queue; the HWPT, which is made by then, is destroyed. */
function setFaultQueue(hwpt: Hwpt, id: number): Refusal | null {
  const queue = hwpt.context.objects.lookup(id, FaultQueue, 'a fault queue');
  if (queue instanceof FaultQueue) {
    hwpt.fault = queue;
    queue.hold();
    return null;
  }
  hwpt.destroy();
  return queue;
}
