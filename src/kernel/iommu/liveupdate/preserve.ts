/**
 * What the next kernel is told of devices and domains (drivers/iommu/liveupdate.c, drivers/pci/liveupdate.c): the cdevs in
 * outgoing sessions, the domains they are on, and the tables of their units (C2, C3).
 */
import { hex } from '../../../machine/address.ts';
import type { PciFunction } from '../../../machine/pci/function.ts';
import { type DeviceRecord, type DomainRecord, type HandoverDocument, IOMMU_ABI, PCI_ABI } from '../../kho/handover.ts';
import type { LiveUpdateKernel, OutgoingSession } from '../../liveupdate/handler.ts';
import { VfioDeviceFile } from '../../vfio/device-file.ts';

type Sessions = readonly OutgoingSession[];

function* cdevsIn(sessions: Sessions): Generator<{ session: string; file: VfioDeviceFile }> {
  for (const { name: session, files } of sessions)
    for (const { file } of files) if (file instanceof VfioDeviceFile) yield { session, file };
}

/** The functions that are handed over running: those of cdevs in outgoing sessions. */
export function preservedFunctions(sessions: Sessions): Set<PciFunction> {
  return new Set([...cdevsIn(sessions)].map(({ file }) => file.device.fn));
}

export function pciHandover(sessions: Sessions): HandoverDocument['pci'] {
  const devices = [...preservedFunctions(sessions)].map(({ bdf }) => bdf);
  return devices.length > 0 ? { abi: PCI_ABI, devices } : null;
}

/** The IOMMU's share of the handover; preserves the tables of the units in it. Null where no domain is preserved. */
export function iommuHandover(kernel: LiveUpdateKernel, sessions: Sessions): HandoverDocument['iommu'] {
  const domains: DomainRecord[] = [...kernel.iommu.domains.values()]
    .filter((domain) => domain.preserved)
    .map((domain) => ({
      id: domain.id,
      unit: domain.unit.id,
      tableType: domain.options.tableType,
      dirtyTracking: domain.options.dirtyTracking,
      root: domain.table.root,
      tables: domain.table.tables(),
    }));
  if (domains.length === 0) return null;
  const devices = [...deviceRecords(kernel, sessions)];
  const units = [...new Set(devices.map((device) => device.unit))].map((id) => {
    const unit = kernel.machine.units.get(id)!;
    return { unit: id, root: unit.rootTable!, tables: unit.tables() };
  });
  for (const unit of units) kernel.kho.preserve(unit, unit.tables);
  return { abi: IOMMU_ABI, units, domains, devices };
}

function* deviceRecords(kernel: LiveUpdateKernel, sessions: Sessions): Generator<DeviceRecord> {
  const tokens = new Map<object, bigint>();
  for (const { files } of sessions) for (const { file, token } of files) if (!tokens.has(file)) tokens.set(file, token);
  for (const { session, file } of cdevsIn(sessions)) {
    const { fn, bound } = file.device;
    const { domain } = kernel.iommu.groupOf(fn)!;
    if (domain.kind !== 'paging' || !domain.preserved) continue;
    yield {
      bdf: fn.bdf,
      unit: fn.spec.iommu!,
      domain: domain.id,
      session,
      iommufdToken: hex(tokens.get(bound!.context)!),
      resetWorks: fn.spec.reset,
    };
  }
}
