/** Requests of an iommufd for live update: marking HWPTs, and asking for restored ones. */
import { hex } from '../../../machine/address.ts';
import { type Refusal, refuse } from '../../errno.ts';
import { both } from '../../faces.ts';
import type { IoctlOk } from '../../file.ts';
import type { IommufdContext } from '../../iommufd/context.ts';
import { HwptPaging } from '../../iommufd/hw-pagetable/hwpt.ts';
import type { ArgOf } from '../../uapi/index.ts';

/** IOMMU_HWPT_LU_SET_PRESERVE: ENOENT, EINVAL (R11, R14), EADDRINUSE token taken, EBUSY too late (C1). */
export function hwptSetPreserve(context: IommufdContext, arg: ArgOf<'IOMMU_HWPT_LU_SET_PRESERVE'>): IoctlOk | Refusal {
  const where = 'iommufd_hwpt_lu_set_preserve';
  const { kernel } = context;
  if (arg.flags) return refuse('EOPNOTSUPP', where, 'flags must be 0', 'C1');
  const hwpt = context.objects.lookup(arg.hwpt_id, HwptPaging, 'a paging HWPT');
  if (!(hwpt instanceof HwptPaging)) return hwpt;
  if (hwpt.restored)
    return refuse(
      'EINVAL',
      where,
      `a restored HWPT cannot be marked: make a new one (${both('makeHwpt')}), move the device to it (${both('attach')}), and mark that`,
      'R11',
    );
  if (hwpt.auto && kernel.policies.markAutoHwpt === 'refuse')
    return refuse(
      'EINVAL',
      where,
      `a HWPT that was made by attaching to an IOAS cannot be marked: make one (${both('makeHwpt')}), attach to it and mark that`,
      'R14',
    );
  const { token } = arg;
  const other = context.markedWith(token);
  if (other && other !== hwpt) return refuse('EADDRINUSE', where, `HWPT ${other.id} carries token ${hex(token)}`, 'C1');
  if (context.preservedIn !== null)
    return refuse(
      'EBUSY',
      where,
      'the iommufd is preserved already: close the session, mark, and preserve again',
      'C1',
    );
  context.mark(hwpt, token);
  return {};
}

/** IOMMU_HWPT_LU_RESTORE: ENOTTY no restored iommufd, ENOENT unknown or destroyed, ENODEV no device bound yet (R9). */
export function hwptRestore(context: IommufdContext, arg: ArgOf<'IOMMU_HWPT_LU_RESTORE'>): IoctlOk | Refusal {
  const where = 'iommufd_hwpt_lu_restore';
  if (arg.flags) return refuse('EOPNOTSUPP', where, 'flags must be 0', 'R9');
  const { kernel } = context;
  if (!context.restored) return refuse('ENOTTY', where, 'this iommufd did not come out of a session', 'R9');
  const { token } = arg;
  const { hwpts } = context.restored;
  const record = hwpts.get(token);
  if (!record) return refuse('ENOENT', where, `no HWPT was marked with token ${hex(token)}`, 'R9');
  switch (record.state) {
    case 'gone':
      return refuse('ENOENT', where, 'the restored HWPT was destroyed', 'R9');
    case 'waiting':
      return refuse(
        'ENODEV',
        where,
        kernel.restored.isOutOfReach(record.domain)
          ? 'nobody can adopt a device of this domain any more in this kernel: only a reboot helps'
          : `no device of this domain is bound yet: bind its retrieved cdev first (${both('bindIommufd')})`,
        'R9',
      );
    case 'live':
      hwpts.set(token, { ...record, claimed: true });
      return { arg: { hwpt_id: record.hwpt.id } };
  }
}
