/** Queries of IOMMU groups and domains. */

import type { Domain, PagingDomain } from '../../kernel/iommu/domain.ts';
import type { GroupOwner, IommuGroup } from '../../kernel/iommu/group.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import { hex } from '../../machine/address.ts';
import { notFound, ok } from '../answers.ts';
import type { Host } from '../host.ts';
import type { DeviceView, DomainView, GroupView } from '../views.ts';
import { listAnswer } from './page.ts';
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

/** The functions that are on each domain, or on one that nests on it. */
function usersOfDomains({ iommu }: Kernel): Map<PagingDomain, string[]> {
  const users = new Map<PagingDomain, string[]>();
  for (const { domain, functions } of iommu.groups.values()) {
    const paging = domain.kind === 'nested' ? domain.parent : domain;
    if (paging.kind !== 'paging') continue;
    const devices = users.get(paging) ?? [];
    users.set(paging, devices);
    for (const { bdf } of functions) devices.push(bdf);
  }
  return users;
}

function domainView(domain: PagingDomain, devices: string[]): DomainView {
  const { format } = domain;
  return {
    id: domain.id,
    restored: domain.restored,
    preserved: domain.preserved,
    devices,
    tablePages: domain.table.tables().reduce((sum, run) => sum + run.count, 0),
    pageSizes: [...format.leafShifts].reverse().map((shift) => hex(1n << BigInt(shift))),
    aperture: { start: hex(format.apertureStart), last: hex(format.apertureLast) },
  };
}

/** About how many bytes they have as JSON: a group or domain, and each address and reserved range in it. */
const GROUP_BYTES = 256;
const ADDRESS_BYTES = 16;
const RANGE_BYTES = 80;

const byId = (a: { id: number }, b: { id: number }): number => a.id - b.id;

export const GROUP_VIEWS: Rows<'groups' | 'group' | 'domains'> = {
  groups: {
    needs: 'host',
    answer: (host, query) =>
      listAnswer(query, {
        items: [...(host.kernel?.iommu.groups.values() ?? [])].sort(byId),
        view: (group) => groupView(host, group),
        key: ({ id }) => id,
        size: ({ devices, reserved }) => GROUP_BYTES + ADDRESS_BYTES * devices.length + RANGE_BYTES * reserved.length,
      }),
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
    answer({ kernel }, query) {
      const users = kernel ? usersOfDomains(kernel) : new Map<PagingDomain, string[]>();
      return listAnswer(query, {
        items: [...(kernel?.iommu.domains.values() ?? [])].sort(byId),
        view: (domain) => domainView(domain, users.get(domain) ?? []),
        key: ({ id }) => id,
        size: ({ devices }) => GROUP_BYTES + ADDRESS_BYTES * devices.length,
      });
    },
  },
};
