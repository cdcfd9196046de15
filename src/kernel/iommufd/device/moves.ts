/** What PASIDs, page faults and vIOMMUs have to do with a group that moves to another HWPT; device.ts calls it. */
import type { IommuUnit } from '../../../machine/iommu-unit.ts';
import { type Refusal, refuse } from '../../errno.ts';
import type { Hwpt } from '../hw-pagetable/hwpt.ts';
import { HwptNested } from '../hw-pagetable/nested.ts';
import type { Viommu } from '../viommu/viommu.ts';
import type { GroupAttachment, IommufdDevice } from './device.ts';

/**
 * Before hardware is told: EINVAL a HWPT that was not made for PASIDs while some are attached, or the errno of
 * `mayFault`.
 */
export function mayMove({ context, group, fn }: IommufdDevice, hwpt: Hwpt): Refusal | null {
  if (!hwpt.pasidCompatible && context.pasids.has(group))
    return refuse(
      'EINVAL',
      'iommufd_hwpt_pasid_compat',
      `PASIDs of ${fn.bdf} are attached, and HWPT ${hwpt.id} was allocated without PASID`,
    );
  return mayFault(context.kernel.machine.unitOf(fn), hwpt);
}

/** intel_iommu_enable_iopf: ENODEV, as VT-d's driver wants page requests (PRI), and no function here makes any. */
export function mayFault({ kind }: IommuUnit, hwpt: Hwpt): Refusal | null {
  return hwpt.fault && kind === 'intel-vtd'
    ? refuse(
        'ENODEV',
        'intel_iommu_enable_iopf',
        'the device makes no page requests, HWPTs with a fault queue need them',
      )
    : null;
}

const viommuOf = (hwpt: Hwpt | null): Viommu | null => (hwpt instanceof HwptNested ? hwpt.viommu : null);

/** After hardware was told: the group has left HWPT `from` for `to`; null: the blocking domain. */
export function moved({ group }: IommufdDevice, attachment: GroupAttachment, from: Hwpt | null, to: Hwpt | null): void {
  from?.fault?.forget(attachment);
  const left = viommuOf(from);
  const reached = viommuOf(to);
  if (left === reached) return;
  left?.leave(group.functions);
  reached?.arrive(group.functions);
}
