/** What came from the previous kernel: states of devices against groups, HWPTs by token, memory that domains hold. */
import type { PagingDomain } from '../../kernel/iommu/domain.ts';
import type { RestoredDomains } from '../../kernel/iommu/liveupdate/restored.ts';
import { HwptPaging } from '../../kernel/iommufd/hw-pagetable/hwpt.ts';
import { MemfdFile } from '../../kernel/mm/memfd-file.ts';
import type { FrameRun } from '../../machine/memory.ts';
import { FRAME_SIZE } from '../../machine/memory.ts';
import type { Census } from './census.ts';
import { checkRestoredContexts } from './files.ts';
import type { Findings } from './finding.ts';
import type { Ledger } from './ledger.ts';
import { summed, tellRanges } from './sum.ts';

export function checkRestored(census: Census, ledger: Ledger, found: Findings): void {
  const { restored, machine, iommu } = census.kernel;
  checkRestoredContexts(census, found);
  for (const [bdf, device] of restored.devices) {
    const fn = machine.functions.get(bdf);
    const group = fn && iommu.groupOf(fn);
    if (!group) {
      found.note('function', `restored device ${bdf}`, 'there', 'gone');
      continue;
    }
    const { owner, domain } = group;
    if (device.state === 'adopted') found.same('owner in state A, S or X', bdf, 'user', owner.kind);
    else {
      found.same('owner in state L', bdf, true, owner.kind === 'restored' && owner.owner === device.owner);
      found.same('domain in state L', bdf, true, domain === device.domain);
    }
  }
  for (const records of restored.hwpts)
    for (const [token, record] of records) {
      if (record.state === 'gone') continue;
      const where = `the restored HWPT of token ${token}`;
      found.same('domain', where, true, restored.domains.get(record.domain.id) === record.domain);
      if (record.state !== 'live') continue;
      const { hwpt, domain } = record;
      found.same('HWPT', where, true, hwpt.domain === domain && hwpt.context.objects.get(hwpt.id) === hwpt);
    }
  for (const context of census.contexts)
    for (const hwpt of context.objects.visible())
      if (hwpt instanceof HwptPaging && hwpt.restored)
        found.same('record', census.nameOfObject(context, hwpt), true, isKnown(restored, hwpt));
  for (const domain of restored.domains.values()) checkHeld(domain, ledger, found);
  checkFrozen(census, found);
}

/** Whether there is a record of a restored HWPT. */
function isKnown({ hwpts }: RestoredDomains, hwpt: HwptPaging): boolean {
  for (const records of hwpts)
    for (const record of records.values()) if (record.state === 'live' && record.hwpt === hwpt) return true;
  return false;
}

/** A restored domain holds each page that it maps, but for those that were free when it came. */
function checkHeld(domain: PagingDomain, ledger: Ledger, found: Findings): void {
  const bytes = 2 ** domain.format.minShift;
  const mapped: FrameRun[] = [];
  for (const { physical, units } of domain.table.extents(0, Number.MAX_SAFE_INTEGER)) {
    const start = Math.floor(physical / FRAME_SIZE);
    mapped.push({ start, count: Math.ceil((physical + units * bytes) / FRAME_SIZE) - start });
  }
  const kept = [...domain.heldPages, ...domain.lostPages];
  found.same('held frames', `restored domain ${domain.id}`, tellSum(mapped), tellSum(kept));
  for (const { start, count } of domain.heldPages) ledger.pins.pin(start, count);
}

const tellSum = (runs: readonly FrameRun[]): string =>
  tellRanges(summed(runs.flatMap(({ start, count }) => [start, start + count - 1])));

/** A memfd that is open keeps its size for a domain exactly where that maps its pages. */
function checkFrozen(census: Census, found: Findings): void {
  const { restored, luo, policies } = census.kernel;
  if (!policies.freezeRestoredMemfd) return;
  for (const [domain, inodes] of restored.frozen) {
    found.same(
      'domain that memfds keep their size for',
      `domain ${domain.id}`,
      true,
      restored.domains.get(domain.id) === domain,
    );
    for (const inode of inodes) {
      const maps = inode.pages.spans.some(({ frame, count }) => overlaps(domain.heldPages, frame, count));
      found.same('whether the domain maps it', `a memfd frozen by domain ${domain.id}`, true, maps || inode.refs === 0);
    }
  }
  for (const { files } of luo?.incoming ?? [])
    for (const { file } of files) {
      if (!(file instanceof MemfdFile)) continue;
      for (const domain of restored.domains.values()) {
        const maps = file.inode.pages.spans.some(({ frame, count }) => overlaps(domain.heldPages, frame, count));
        const keeps = restored.frozen.get(domain)?.has(file.inode) ?? false;
        if (maps) found.same('memfds that keep their size', `restored domain ${domain.id}`, true, keeps);
      }
    }
}

const overlaps = (held: readonly FrameRun[], start: number, count: number): boolean =>
  held.some((run) => run.start < start + count && start < run.start + run.count);
