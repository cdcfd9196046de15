/** Groups against what the hardware's tables say of their functions, and their owners against drivers and devices. */
import { usesDmaApi } from '../../kernel/drivers.ts';
import { BLOCKED, type Domain } from '../../kernel/iommu/domain.ts';
import { contextEntry, type IommuGroup } from '../../kernel/iommu/group.ts';
import { IommufdDevice } from '../../kernel/iommufd/device/device.ts';
import type { PciFunction } from '../../machine/pci/function.ts';
import type { Census } from './census.ts';
import type { Findings } from './finding.ts';

export function checkGroups(census: Census, found: Findings): void {
  const { machine, iommu } = census.kernel;
  const members = new Map<number, PciFunction[]>();
  for (const fn of machine.functions.values())
    if (fn.spec.group !== null) members.set(fn.spec.group, [...(members.get(fn.spec.group) ?? []), fn]);
  found.set('groups', 'the kernel', members.keys(), iommu.groups.keys(), (id) => `group ${id}`);
  for (const group of iommu.groups.values()) {
    const where = `group ${group.id}`;
    found.set('functions', where, members.get(group.id) ?? [], group.functions, ({ bdf }) => bdf);
    checkOwner(census, group, where, found);
    for (const fn of group.functions) {
      const entry = JSON.stringify(machine.unitOf(fn).context(fn.sourceId));
      found.same('context entry', `${fn.bdf} (${where})`, JSON.stringify(contextEntry(group.domain)), entry);
    }
  }
  for (const unit of machine.units.values()) {
    const known = new Set<number>();
    for (const fn of machine.functions.values()) if (fn.spec.iommu === unit.id) known.add(fn.sourceId);
    for (const source of unit.sources())
      if (!known.has(source))
        found.note('context entry', `source 0x${source.toString(16)} of ${unit.id}`, 'blocked', 'present');
  }
}

/** How often the DMA of a group is owned, and the domain that its owner has put it on. */
function checkOwner(census: Census, group: IommuGroup, where: string, found: Findings): void {
  const { drivers, restored } = census.kernel;
  const { owner } = group;
  const counted = (holders: readonly string[]): void => found.count('owners', where, holders, group.ownerCount);
  const on = (domain: Domain | undefined): void => found.same('domain', where, nameOf(domain), nameOf(group.domain));
  switch (owner.kind) {
    case 'none':
    case 'kernel': {
      const driven = group.functions.filter(({ bdf }) => usesDmaApi(drivers.bound.get(bdf) ?? 'vfio-pci'));
      counted(driven.map(({ bdf }) => `the driver of ${bdf}`));
      on(group.defaultDomain);
      break;
    }
    case 'user': {
      const context = census.contexts.find((other) => other === owner.context);
      const objects = context ? [...context.objects.visible()] : [];
      const devices = objects.filter((object) => object instanceof IommufdDevice && object.group === group);
      counted(devices.map(({ id }) => `device ${id}`));
      on(context?.attachments.get(group)?.hwpt.domain ?? BLOCKED);
      break;
    }
    case 'restored': {
      const waiting = group.functions.map((fn) => restored.waiting(fn)).find((device) => device?.owner === owner.owner);
      counted(waiting ? ['a device that is not adopted yet'] : []);
      on(waiting?.domain);
      break;
    }
  }
}

function nameOf(domain: Domain | undefined): string {
  if (!domain) return 'none';
  if (domain.kind === 'nested') return `one nested on domain ${domain.parent.id}`;
  return domain.kind === 'paging' ? `domain ${domain.id}` : domain.kind;
}
