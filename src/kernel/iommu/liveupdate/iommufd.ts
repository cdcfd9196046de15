/**
 * The LUO handler of iommufds, `iommufd-v1` (drivers/iommu/iommufd/liveupdate.c).
 *
 *   mark (C1) -> PRESERVE_FD of the iommufd (C2): IOASes of marked HWPTs become immutable, their tables preserved
 *   close of the session: all of that undone, marks stay (R21)
 *   next kernel: RETRIEVE_FD gives a new iommufd that knows the tokens; BIND of a restored cdev makes the HWPT (R8);
 *   IOMMU_HWPT_LU_RESTORE only tells its id (R9)
 */
import { hex } from '../../../machine/address.ts';
import type { IommuKind } from '../../../machine/spec.ts';
import { type Refusal, refuse } from '../../errno.ts';
import { both } from '../../faces.ts';
import type { Area } from '../../iommufd/areas/area-cursor.ts';
import { IommufdContext } from '../../iommufd/context.ts';
import { dropAuto } from '../../iommufd/device/device.ts';
import { HwptPaging } from '../../iommufd/hw-pagetable/hwpt.ts';
import { isCount, isHex64, isList, isRecord, type Json } from '../../kho/json.ts';
import { fileHandler, type OutgoingSession } from '../../liveupdate/handler.ts';
import { MemfdFile } from '../../mm/memfd-file.ts';
import type { ShmemInode } from '../../mm/shmem.ts';

/** Kinds of IOMMU whose driver can preserve domains. */
const PRESERVING: ReadonlySet<IommuKind> = new Set(['intel-vtd', 'generic']);

interface State {
  hwpts: HwptPaging[];
}

type Data = { readonly hwpts: readonly HwptData[] };
type HwptData = { readonly token: string; readonly domain: number };

const isHwpt = (json: Json): json is HwptData => isRecord(json) && isHex64(json.token) && isCount(json.domain);

export const IOMMUFD_HANDLER = fileHandler<IommufdContext, State, Data>({
  compatible: 'iommufd-v1',
  point: 'iommufd',

  takes: (file) => file instanceof IommufdContext,

  identity: (context) => context,

  preserve(kernel, session, context) {
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

  unpreserve(kernel, context, { hwpts }) {
    for (const hwpt of hwpts) {
      hwpt.preserved = false;
      hwpt.domain.preserved = false;
      hwpt.ioas!.iopt.unpreserve();
      kernel.kho.unpreserve(hwpt);
    }
    context.preservedIn = null;
    for (const hwpt of hwpts) dropAuto(hwpt);
  },

  serialize(_context, { hwpts }) {
    return { hwpts: hwpts.map(({ mark, domain }) => ({ token: hex(mark!), domain: domain.id })) };
  },

  read(json) {
    if (!isRecord(json)) return null;
    const { hwpts } = json;
    return isList(hwpts) && hwpts.every(isHwpt) ? { hwpts } : null;
  },

  retrieve(kernel, session, token) {
    const context = new IommufdContext(kernel);
    context.restored = { session, token, hwpts: kernel.restored.hwptsOf(session, token) };
    kernel.restored.iommufdRetrieved(context);
    return context;
  },

  retrieveFailed: (kernel, session, { token }) => kernel.restored.iommufdFailed(session, token),

  canFinish(kernel, { token, file, failed }) {
    const { finish } = kernel.policies;
    const where = 'iommufd_liveupdate_can_finish';
    if (finish === 'ignore') return null;
    if (!file)
      return refuse(
        'EBUSY',
        where,
        failed
          ? `the retrieve of the iommufd with token ${hex(token)} has failed for good: this session cannot be finished in this kernel; only a reboot helps`
          : `the iommufd with token ${hex(token)} is not retrieved: retrieve it first (${both('retrieve')})`,
        'R3',
      );
    if (finish !== 'strict') return null;
    for (const record of file.restored!.hwpts.values()) {
      if (record.state === 'gone') continue;
      if (record.state === 'waiting' || !record.claimed || record.hwpt.users > 0)
        return refuse(
          'EBUSY',
          where,
          'a restored HWPT was not claimed, or a device is still attached to it (policy finish=strict)',
          'R3',
        );
    }
    return null;
  },
});

/** What the areas of a HWPT's IOAS show: each source once, with the first area of it, as there may be millions. */
export function sourcesOf({ ioas }: HwptPaging): { iova: bigint; source: Source }[] {
  const { iopt } = ioas!;
  const first = new Map<number, Area>();
  const { areas } = iopt;
  for (let more = areas.seekFirst(), last = -1; more; more = areas.next()) {
    if (areas.source === last) continue;
    last = areas.source;
    if (!first.has(last)) first.set(last, areas.area());
  }
  return [...first.values()].map((area) => ({ iova: area.iova, source: iopt.originOf(area) }));
}

type Source = ReturnType<NonNullable<HwptPaging['ioas']>['iopt']['originOf']>;

/** The inode of a source that is a memfd. */
export const memfdOf = (source: Source): ShmemInode | null =>
  source.kind === 'file' && source.file instanceof MemfdFile ? source.file.inode : null;

/** C2: every area shows a memfd that was sealed when it was mapped and that is in this session. */
function checkMappings(hwpt: HwptPaging, session: OutgoingSession): Refusal | null {
  const where = 'iopt_check_preservable';
  const sources = sourcesOf(hwpt);
  const at = (iova: bigint): string => `the area at ${hex(iova)} of HWPT ${hwpt.id}`;
  for (const { iova, source } of sources)
    if (source.kind !== 'file')
      return refuse(
        'EINVAL',
        where,
        `${at(iova)} is memory of a process: map memfds instead (${both('mapFile')})`,
        'C2',
      );
  for (const { iova, source } of sources)
    if (source.kind === 'file' && !source.sealedAtMap)
      return refuse(
        'EINVAL',
        where,
        `${at(iova)} was mapped without F_SEAL_SEAL, GROW and SHRINK: unmap it, seal the memfd (${both('addSeals')}) and map it again`,
        'C2',
      );
  for (const { iova, source } of sources) {
    if (source.kind !== 'file') continue;
    const inode = memfdOf(source);
    if (!session.files.some((entry) => entry.identity === inode))
      return refuse(
        'ENOENT',
        where,
        `the memfd of ${at(iova)} is not in this session: preserve it first, by the same session (${both('preserve')})`,
        'C2',
      );
  }
  return null;
}
