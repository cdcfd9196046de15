/** Nested HWPTs: a guest's first stage on a parent's second stage, made on the parent itself or on a vIOMMU. */
import { type Refusal, refuse } from '../../errno.ts';
import type { NestedDomain } from '../../iommu/domain.ts';
import { HWPT_ALLOC_PASID, HWPT_FAULT_ID_VALID } from '../../uapi/iommufd.ts';
import type { IommufdContext } from '../context.ts';
import type { IommufdDevice } from '../device/device.ts';
import {
  canNest,
  type DriverData,
  HWPT_DATA_BYTES,
  HWPT_DATA_TYPE,
  hwptCache,
  readDriverData,
} from '../selftest/mock-driver.ts';
import type { Viommu } from '../viommu/viommu.ts';
import { Hwpt, type HwptPaging } from './hwpt.ts';

export class HwptNested extends Hwpt {
  readonly type = 'hwpt-nested';
  readonly domain: NestedDomain;
  readonly paging: HwptPaging;
  /**
   * The vIOMMU that it was made on, which takes only devices that have a vDEVICE there; null: made on the parent
   * itself.
   */
  readonly viommu: Viommu | null;
  readonly pasidCompatible: boolean;
  /** What the mock driver has cached of the guest's tables. */
  readonly cache: Uint32Array;

  constructor(
    context: IommufdContext,
    parent: HwptPaging,
    viommu: Viommu | null,
    pasidCompatible: boolean,
    cache: Uint32Array,
  ) {
    super(context);
    this.paging = parent;
    this.viommu = viommu;
    this.pasidCompatible = pasidCompatible;
    this.cache = cache;
    this.domain = { kind: 'nested', parent: parent.domain, gate: viommu };
    (viommu ?? parent).hold();
  }

  destroy(): void {
    (this.viommu ?? this.paging).drop();
    this.dropFault();
  }
}

const FLAGS = HWPT_FAULT_ID_VALID | HWPT_ALLOC_PASID;

/** iommufd_hwpt_nested_alloc. EOPNOTSUPP flags, no data, no such driver; EINVAL no nesting parent, or the data. */
export function allocNested(
  device: IommufdDevice,
  parent: HwptPaging,
  flags: number,
  data: DriverData,
): HwptNested | Refusal {
  const where = 'iommufd_hwpt_nested_alloc';
  const unit = device.context.kernel.machine.unitOf(device.fn);
  if (parent.restored) return refuse('EINVAL', where, 'a restored HWPT takes no nested ones', 'R11');
  if (flags & ~FLAGS || data.length === 0 || !canNest(unit))
    return refuse('EOPNOTSUPP', where, 'unknown flag, no driver data, or a driver that cannot nest');
  if (parent.auto || !parent.domain.options.nestParent || parent.domain.unit.kind !== unit.kind)
    return refuse('EINVAL', where, 'the parent was not allocated with NEST_PARENT');
  return make(parent, null, flags, data);
}

/**
 * iommufd_viommu_alloc_hwpt_nested. EINVAL a device behind another IOMMU; EOPNOTSUPP flags, no data, no such driver.
 */
export function allocNestedOnViommu(
  device: IommufdDevice,
  viommu: Viommu,
  flags: number,
  data: DriverData,
): HwptNested | Refusal {
  const where = 'iommufd_viommu_alloc_hwpt_nested';
  if (device.context.kernel.machine.unitOf(device.fn) !== viommu.unit)
    return refuse('EINVAL', where, `${device.fn.bdf} is behind another IOMMU than the vIOMMU`);
  if (flags & ~FLAGS || data.length === 0 || !canNest(viommu.unit))
    return refuse('EOPNOTSUPP', where, 'unknown flag, no driver data, or a driver that cannot nest');
  return make(viommu.parent, viommu, flags, data);
}

function make(parent: HwptPaging, viommu: Viommu | null, flags: number, data: DriverData): HwptNested | Refusal {
  const where = '__mock_domain_alloc_nested';
  const { context } = parent;
  if (data.type !== HWPT_DATA_TYPE) return refuse('EOPNOTSUPP', where, 'the driver knows no such data_type');
  const struct = readDriverData(where, data, HWPT_DATA_BYTES);
  if (!(struct instanceof DataView)) return struct;
  const injected = context.kernel.faults.refusal('hwpt.nested', where);
  if (injected) return injected;
  const pasidCompatible = (flags & HWPT_ALLOC_PASID) !== 0;
  return new HwptNested(context, parent, viommu, pasidCompatible, hwptCache(struct.getUint32(0, true)));
}
