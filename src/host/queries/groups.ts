/** Queries of IOMMU groups and domains. */

import type { Domain, PagingDomain } from '../../kernel/iommu/domain.ts';
import type { GroupOwner, IommuGroup } from '../../kernel/iommu/group.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { hex } from '../../machine/address.ts';
import { notFound, ok } from '../answers.ts';
import type { Host } from '../host.ts';
import type { DeviceView, DomainView, GroupView } from '../views.ts';
import type { Rows } from './row.ts';

export function domainOf(domain: Domain): DeviceView['domain'] {
  const paging = domain.kind === 'paging' ? domain : domain.kind === 'nested' ? domain.parent : null;
  return { kind: domain.kind, id: paging?.id ?? null, restored: paging?.restored ?? false };
}

const OWNERS: Readonly<Record<GroupOwner['kind'], DeviceView['owner']>> = {
  none: null,
  kernel: 'kernel',
  user: 'iommufd',
  restored: 'luo',
};

export function ownerOf(group: IommuGroup): DeviceView['owner'] {
  return OWNERS[group.owner.kind];
}

export function groupView(host: Host, group: IommuGroup): GroupView {
  const seen = new Map<string, { start: string; last: string; type: string }>();
  for (const fn of group.functions)
    for (const { start, last, type } of host.kernel!.iommu.reservedRanges(fn)) {
      const range = { start: hex(start), last: hex(last), type };
      seen.set(`${range.start}-${range.last}-${type}`, range);
    }
  return {
    group: group.id,
    devices: group.functions.map((fn) => fn.bdf).sort(),
    owner: ownerOf(group),
    ownerCount: group.ownerCount,
    type: group.type,
    domain: domainOf(group.domain),
    reserved: [...seen.values()],
  };
}

function domainView(kernel: Kernel, domain: PagingDomain): DomainView {
  const { format } = domain;
  return {
    id: domain.id,
    restored: domain.restored,
    preserved: domain.preserved,
    devices: [...kernel.iommu.groups.values()]
      .filter((group) => group.domain === domain || (group.domain.kind === 'nested' && group.domain.parent === domain))
      .flatMap((group) => group.functions.map((fn) => fn.bdf)),
    tablePages: domain.table.tables().reduce((sum, run) => sum + run.count, 0),
    pageSizes: [...format.leafShifts].reverse().map((shift) => hex(1n << BigInt(shift))),
    aperture: { start: hex(format.apertureStart), last: hex(format.apertureLast) },
  };
}

const byId = (a: { id: number }, b: { id: number }): number => a.id - b.id;

export const GROUP_VIEWS: Rows<'groups' | 'group' | 'domains'> = {
  groups: {
    needs: 'host',
    answer: (host) => ok([...(host.kernel?.iommu.groups.values() ?? [])].sort(byId).map((of) => groupView(host, of))),
  },
  group: {
    needs: 'host',
    answer(host, { group: id }) {
      const group = host.kernel?.iommu.groups.get(id);
      return group ? ok(groupView(host, group)) : notFound(`group ${id}`);
    },
  },
  domains: {
    needs: 'host',
    answer: ({ kernel }) =>
      ok(kernel ? [...kernel.iommu.domains.values()].sort(byId).map((domain) => domainView(kernel, domain)) : []),
  },
};
