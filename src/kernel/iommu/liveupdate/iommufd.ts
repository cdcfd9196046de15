/**
 * iommufd and live update: marking HWPTs, telling restored ones, and the LUO handler `iommufd-v1`.
 *
 *   mark (C1) -> PRESERVE_FD of the iommufd (C2): IOASes of marked HWPTs become immutable, their tables preserved
 *   close of the session: all of that undone, marks stay (R21)
 *   next kernel: RETRIEVE_FD gives a new iommufd that knows the tokens; BIND of a restored cdev makes the HWPT (R8);
 *   IOMMU_HWPT_LU_RESTORE only tells its id (R9)
 */
import type { IommuKind } from '../../../machine/spec.ts';
import { type Refusal, refuse } from '../../errno.ts';
import type { IoctlOk, OpenFile } from '../../file.ts';
import type { Area } from '../../iommufd/areas/area-cursor.ts';
import { IommufdContext } from '../../iommufd/context.ts';
import { HwptPaging } from '../../iommufd/hw-pagetable/hwpt.ts';
import type { Kernel } from '../../kernel.ts';
import type { FileHandler, IncomingFile, OutgoingFile, OutgoingSession } from '../../liveupdate/handler.ts';
import { MemfdFile } from '../../mm/shmem.ts';
import type { ArgOf } from '../../uapi/index.ts';
import type { RestoredHwpt } from './restored.ts';

/** IOMMU kinds whose driver can preserve domains. */
const PRESERVING: ReadonlySet<IommuKind> = new Set(['intel-vtd', 'generic']);

/** What a retrieved iommufd knows of the previous one. */
export interface RestoredIommufd {
  session: string;
  /** Token of the iommufd in its session. */
  token: bigint;
  hwpts: Map<bigint, RestoredHwpt>;
}

/** IOMMU_HWPT_LU_SET_PRESERVE: ENOENT, EINVAL (R11, R14), EADDRINUSE token taken, EBUSY too late (C1). */
export function hwptSetPreserve(context: IommufdContext, arg: ArgOf<'IOMMU_HWPT_LU_SET_PRESERVE'>): IoctlOk | Refusal {
  const where = 'iommufd_hwpt_lu_set_preserve';
  const { kernel } = context;
  if (kernel.profile !== 'persisted-domains')
    return refuse('ENOTTY', 'iommufd_fops_ioctl', 'this kernel (profile linux-7.3) has no such request', 'C1');
  if (arg.flags) return refuse('EOPNOTSUPP', where, 'flags must be 0', 'C1');
  const hwpt = context.objects.lookup(arg.hwpt_id, HwptPaging, 'a paging HWPT');
  if (!(hwpt instanceof HwptPaging)) return hwpt;
  if (hwpt.restored)
    return refuse('EINVAL', where, 'a restored HWPT cannot be marked: hot-swap to a new one first', 'R11');
  if (hwpt.auto && kernel.policies.markAutoHwpt === 'refuse')
    return refuse('EINVAL', where, 'an automatic HWPT cannot be marked: make one with IOMMU_HWPT_ALLOC', 'R14');
  const { token } = arg;
  for (const other of context.objects.visible())
    if (other instanceof HwptPaging && other !== hwpt && other.mark === token)
      return refuse('EADDRINUSE', where, `HWPT ${other.id} carries token 0x${token.toString(16)}`, 'C1');
  if (context.preservedIn !== null)
    return refuse(
      'EBUSY',
      where,
      'the iommufd is preserved already: close the session, mark, and preserve again',
      'C1',
    );
  hwpt.mark = token;
  return {};
}

/** IOMMU_HWPT_LU_RESTORE: ENOTTY no restored iommufd, ENOENT unknown or destroyed, ENODEV no device bound yet (R9). */
export function hwptRestore(context: IommufdContext, arg: ArgOf<'IOMMU_HWPT_LU_RESTORE'>): IoctlOk | Refusal {
  const where = 'iommufd_hwpt_lu_restore';
  if (context.kernel.profile !== 'persisted-domains')
    return refuse('ENOTTY', 'iommufd_fops_ioctl', 'this kernel (profile linux-7.3) has no such request', 'R9');
  if (arg.flags) return refuse('EOPNOTSUPP', where, 'flags must be 0', 'R9');
  if (!context.restored) return refuse('ENOTTY', where, 'this iommufd did not come out of a session', 'R9');
  const { token } = arg;
  const record = context.restored.hwpts.get(token);
  if (!record || record.gone)
    return refuse(
      'ENOENT',
      where,
      record ? 'the restored HWPT was destroyed' : `no HWPT was marked with token 0x${token.toString(16)}`,
      'R9',
    );
  if (!record.hwpt)
    return refuse('ENODEV', where, 'no device of this domain is bound yet: bind its restored cdev first', 'R9');
  record.claimed = true;
  return { arg: { hwpt_id: record.hwpt.id } };
}

interface State {
  hwpts: HwptPaging[];
}

export const IOMMUFD_HANDLER: FileHandler = {
  compatible: 'iommufd-v1',
  point: 'iommufd',

  canPreserve: (_kernel: Kernel, file: OpenFile): boolean => file instanceof IommufdContext,

  identity: (file: OpenFile): object => file,

  preserve(kernel: Kernel, session: OutgoingSession, entry: OutgoingFile): State | Refusal {
    const context = entry.file as IommufdContext;
    const marked = [...context.objects.visible()].filter(
      (object): object is HwptPaging => object instanceof HwptPaging && object.mark !== null,
    );
    for (const hwpt of marked) {
      const refusal = checkMappings(hwpt, session);
      if (refusal) return refusal;
    }
    for (const hwpt of marked) {
      if (!PRESERVING.has(hwpt.domain.unit.kind))
        return refuse(
          'EOPNOTSUPP',
          'iommu_domain_preserve',
          `the driver of IOMMU ${hwpt.domain.unit.id} (${hwpt.domain.unit.kind}) cannot preserve domains`,
          'C2',
        );
    }
    for (const hwpt of marked) {
      hwpt.preserved = true;
      hwpt.domain.preserved = true;
      hwpt.ioas!.iopt.preserve();
      kernel.kho.preserve(hwpt, hwpt.domain.table.tables());
    }
    context.preservedIn = session.name;
    return { hwpts: marked };
  },

  unpreserve(kernel: Kernel, entry: OutgoingFile): void {
    for (const hwpt of (entry.state as State).hwpts) {
      hwpt.preserved = false;
      hwpt.domain.preserved = false;
      hwpt.ioas!.iopt.unpreserve();
      kernel.kho.unpreserve(hwpt);
    }
    (entry.file as IommufdContext).preservedIn = null;
  },

  serialize(_kernel: Kernel, entry: OutgoingFile): unknown {
    return {
      hwpts: (entry.state as State).hwpts.map(({ mark, domain }) => ({
        token: `0x${mark!.toString(16)}`,
        domain: domain.id,
      })),
    };
  },

  retrieve(kernel: Kernel, session: string, entry: IncomingFile): OpenFile | Refusal {
    const context = new IommufdContext(kernel);
    context.restored = { session, token: entry.token, hwpts: kernel.restored.hwptsOf(session, entry.token) };
    kernel.restored.iommufdRetrieved(context);
    return context;
  },

  canFinish(kernel: Kernel, entry: IncomingFile): Refusal | null {
    const { finish } = kernel.policies;
    const where = 'iommufd_liveupdate_can_finish';
    if (finish === 'ignore') return null;
    if (!entry.file)
      return refuse('EBUSY', where, `iommufd with token 0x${entry.token.toString(16)} is not retrieved`, 'R3');
    if (finish !== 'strict') return null;
    for (const record of (entry.file as IommufdContext).restored!.hwpts.values()) {
      if (record.gone) continue;
      if (!record.claimed || !record.hwpt || record.hwpt.users > 0)
        return refuse(
          'EBUSY',
          where,
          'a restored HWPT was not claimed, or a device is still attached to it (policy finish=strict)',
          'R3',
        );
    }
    return null;
  },

  finish(): void {},
};

/** C2: every area shows a memfd that was sealed when it was mapped and that is in this session. */
function checkMappings(hwpt: HwptPaging, session: OutgoingSession): Refusal | null {
  const where = 'iopt_check_preservable';
  const { iopt } = hwpt.ioas!;
  // The first area of each source tells of all of them: there may be millions.
  const first = new Map<number, Area>();
  const { areas } = iopt;
  for (let more = areas.seekFirst(), last = -1; more; more = areas.next()) {
    if (areas.source === last) continue;
    last = areas.source;
    if (!first.has(last)) first.set(last, areas.area());
  }
  const sources = [...first.values()].map((area) => ({ iova: area.iova, source: iopt.originOf(area) }));
  const at = (iova: bigint): string => `the area at 0x${iova.toString(16)} of HWPT ${hwpt.id}`;
  for (const { iova, source } of sources)
    if (source.kind !== 'file')
      return refuse('EINVAL', where, `${at(iova)} is memory of a process: map memfds with IOMMU_IOAS_MAP_FILE`, 'C2');
  for (const { iova, source } of sources)
    if (source.kind === 'file' && !source.sealedAtMap)
      return refuse(
        'EINVAL',
        where,
        `${at(iova)} was mapped without F_SEAL_SEAL, GROW and SHRINK: seal, unmap and map again`,
        'C2',
      );
  for (const { iova, source } of sources) {
    if (source.kind !== 'file') continue;
    const inode = source.file instanceof MemfdFile ? source.file.inode : null;
    if (!session.files.some((entry) => entry.file instanceof MemfdFile && entry.file.inode === inode))
      return refuse('ENOENT', where, `the memfd of ${at(iova)} is not in this session: preserve it first`, 'C2');
  }
  return null;
}
