/**
 * What a kernel takes over from the previous one at boot (drivers/iommu/liveupdate.c), before anybody can use a device (R1,
 * C7): root tables, domains with their tables, the devices on them, and which HWPTs were marked.
 */
import { PageTable } from '../../../machine/page-table.ts';
import type { DeviceRecord, DomainRecord, HandoverDocument } from '../../kho/handover.ts';
import type { VfioKernel } from '../../vfio/vfio.ts';
import { PagingDomain } from '../domain.ts';
import { tellDropped } from './hazards.ts';
import { IOMMUFD_HANDLER } from './iommufd.ts';
import type { RestoredHwpts } from './restored-hwpt.ts';

/**
 * Takes over what a document says of the IOMMU; without one, or where it says nothing, all units start anew. Returns why
 * the kernel must panic, or null.
 */
export function restoreIommu(kernel: VfioKernel, document: HandoverDocument | null): string | null {
  const { units } = kernel.machine;
  const record = document?.iommu;
  const handedOver = new Set(record?.units.map(({ unit }) => unit));
  for (const unit of units.values()) if (!handedOver.has(unit.id)) unit.reset();
  if (!record) return null;
  for (const { unit: id, root, tables } of record.units) {
    if (units.get(id)?.rootTable !== root) return `IOMMU ${id}: no root table at frame ${root}`;
    for (const run of tables) kernel.machine.memory.setOwner(run.start, run.count, 'context-table');
  }
  const present = record.devices.filter(({ bdf }) => kernel.machine.functions.has(bdf));
  const used = new Set(present.map(({ domain }) => domain));
  for (const domain of record.domains) {
    if (!used.has(domain.id)) dropTables(kernel, domain);
    else {
      const failure = rebuild(kernel, domain);
      if (failure) return failure;
    }
  }
  const byUnit = Map.groupBy(present, ({ unit }) => unit);
  for (const { unit: id } of record.units) clearOthers(kernel, id, byUnit.get(id) ?? []);
  for (const { bdf, domain, session, iommufdToken } of present) {
    const fn = kernel.machine.functions.get(bdf)!;
    const entry = kernel.machine.unitOf(fn).context(fn.sourceId);
    // The entry stays as it is; the domain takes dirty tracking over from it.
    kernel.restored.domain(domain)!.dirtyEnabled = entry.kind === 'table' && entry.dirtyEnabled;
    kernel.restored.takeDevice(bdf, domain, session, BigInt(iommufdToken));
  }
  return restoreHwpts(kernel, document.luo.sessions);
}

function rebuild(kernel: VfioKernel, record: DomainRecord): string | null {
  const { memory, units } = kernel.machine;
  const unit = units.get(record.unit);
  const format = unit?.formats[record.tableType];
  if (!unit || !format) return `domain ${record.id}: IOMMU ${record.unit} is not there`;
  for (const run of record.tables) {
    const [missing] = memory.freeWithin(run.start, run.count);
    if (missing) return `domain ${record.id}: page table page ${missing.start} was not preserved`;
    memory.setOwner(run.start, run.count, 'page-table');
  }
  const { tableType, dirtyTracking } = record;
  const options = { tableType, dirtyTracking, nestParent: false, pasid: false };
  const domain = new PagingDomain(record.id, unit, options, new PageTable(memory, format, record.root), true);
  domain.holdPages(memory);
  const lost = domain.lostPages.reduce((sum, { count }) => sum + count, 0);
  if (lost > 0)
    kernel.emit(
      'hazard',
      `restored domain ${record.id} maps ${lost} pages that nobody had preserved, as their memfd has others in their place: devices go on using them`,
      { hazard: 'memory-lost-under-domain', id: record.id },
      'R20',
    );
  kernel.restored.takeDomain(domain);
  return null;
}

function dropTables(kernel: VfioKernel, { id, tables }: DomainRecord): void {
  for (const run of tables) kernel.machine.memory.release(run.start, run.count);
  kernel.emit('restore.dropped', `domain ${id}: none of its devices is there, its tables are freed`, { id }, 'R1');
  tellDropped(kernel, id);
}

/** Clears the context entries of devices that were not preserved, or are not there any more. */
function clearOthers({ machine }: VfioKernel, id: string, present: readonly DeviceRecord[]): void {
  const unit = machine.units.get(id)!;
  const kept = new Set(present.map(({ bdf }) => machine.functions.get(bdf)!.sourceId));
  for (const source of unit.sources()) if (!kept.has(source)) unit.setContext(source, { kind: 'blocked' });
}

function restoreHwpts({ restored }: VfioKernel, sessions: HandoverDocument['luo']['sessions']): string | null {
  for (const { name, files } of sessions)
    for (const { token, compatible, data } of files) {
      if (compatible !== IOMMUFD_HANDLER.compatible) continue;
      const read = IOMMUFD_HANDLER.read(data);
      if (!read) return `session "${name}": what the iommufd with token ${token} left cannot be read`;
      const hwpts: RestoredHwpts = new Map();
      for (const marked of read.hwpts) {
        const domain = restored.domain(marked.domain);
        hwpts.set(BigInt(marked.token), domain ? { state: 'waiting', domain } : { state: 'gone' });
      }
      restored.takeHwpts(name, BigInt(token), hwpts);
    }
  return null;
}
