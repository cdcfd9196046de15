/** Live update: what sessions hold against what is marked as preserved, and against the frames that KHO hands over. */
import { IommufdContext } from '../../kernel/iommufd/context.ts';
import { HwptPaging } from '../../kernel/iommufd/hw-pagetable/hwpt.ts';
import { Ioas } from '../../kernel/iommufd/ioas.ts';
import { MemfdFile } from '../../kernel/mm/memfd-file.ts';
import { ShmemInode } from '../../kernel/mm/shmem.ts';
import { VfioDeviceFile } from '../../kernel/vfio/device-file.ts';
import type { FrameRun } from '../../machine/memory.ts';
import type { Census } from './census.ts';
import type { Findings } from './finding.ts';

export function checkSessions(census: Census, found: Findings): void {
  const { kernel } = census;
  const outgoing = kernel.luo?.outgoing ?? [];
  const sessions = new Map<object, string>();
  for (const { name, files } of outgoing) for (const { file } of files) sessions.set(file, name);
  const kept = new Map<object, FrameRun[]>();
  for (const { files } of outgoing)
    for (const { file } of files) if (file instanceof MemfdFile) kept.set(file.inode, framesOf(file.inode));
  for (const inode of census.inodes.items())
    found.same('whether it is preserved', census.inodeName(inode), kept.has(inode), inode.preserved);
  for (const file of census.files.items()) {
    if (file instanceof VfioDeviceFile)
      found.same('whether it is preserved', census.nameOf(file), sessions.has(file), file.preserved);
    if (file instanceof IommufdContext) checkIommufd(census, file, sessions.get(file) ?? null, kept, found);
  }
  checkKho(census, kept, found);
  checkHolders(census, found);
}

/** Of its pages up to the size. */
const framesOf = ({ pages, sizeInPages }: ShmemInode): FrameRun[] =>
  pages.range(0, Number(sizeInPages) - 1).map(({ frame, count }) => ({ start: frame, count }));

/** All HWPTs that were marked when the iommufd was preserved are preserved, and their IOASes do not change. */
function checkIommufd(
  census: Census,
  context: IommufdContext,
  session: string | null,
  kept: Map<object, FrameRun[]>,
  found: Findings,
): void {
  found.same('session', census.nameOf(context), session, context.preservedIn);
  const preserved = new Map<Ioas, number>();
  for (const hwpt of context.objects.visible()) {
    if (!(hwpt instanceof HwptPaging)) continue;
    const where = census.nameOfObject(context, hwpt);
    const isKept = session !== null && hwpt.mark !== null;
    found.same('whether it is preserved', where, isKept, hwpt.preserved);
    found.same('whether its domain is preserved', where, isKept, hwpt.domain.preserved);
    if (!isKept) continue;
    kept.set(hwpt, hwpt.domain.table.tables());
    if (hwpt.ioas) preserved.set(hwpt.ioas, (preserved.get(hwpt.ioas) ?? 0) + 1);
  }
  for (const ioas of context.objects.visible())
    if (ioas instanceof Ioas)
      found.same(
        'preserved HWPTs',
        census.nameOfObject(context, ioas),
        preserved.get(ioas) ?? 0,
        ioas.iopt.preservedHwpts,
      );
}

function checkKho(census: Census, kept: ReadonlyMap<object, FrameRun[]>, found: Findings): void {
  const { preserved } = census.kernel.kho;
  const nameOf = (owner: object): string =>
    owner instanceof HwptPaging
      ? `hwpt-paging ${owner.id}`
      : owner instanceof ShmemInode
        ? census.inodeName(owner)
        : owner.constructor.name;
  found.set('who preserves frames', 'KHO', kept.keys(), preserved.keys(), nameOf);
  for (const [owner, runs] of kept)
    found.same('preserved frames', nameOf(owner), tell(runs), tell(preserved.get(owner) ?? []));
}

function tell(runs: readonly FrameRun[]): string {
  const joined: FrameRun[] = [];
  for (const { start, count } of [...runs].sort((a, b) => a.start - b.start)) {
    const left = joined[joined.length - 1];
    if (left && left.start + left.count === start) left.count += count;
    else joined.push({ start, count });
  }
  return joined.map(({ start, count }) => `${start}-${start + count - 1}`).join(', ');
}

/** LUO knows what is in a session by what it is: the memfd, or the file. */
function checkHolders(census: Census, found: Findings): void {
  const { luo } = census.kernel;
  if (!luo) return;
  const wanted = new Set<object>();
  for (const { files } of luo.outgoing) for (const { identity } of files) wanted.add(identity);
  for (const { files } of luo.incoming) for (const { identity } of files) if (identity) wanted.add(identity);
  found.set('what is in sessions', 'LUO', wanted, luo.holders.keys(), (item) => item.constructor.name);
}
