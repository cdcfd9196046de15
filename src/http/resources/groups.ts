/** IOMMU groups, and the domains and sessions of the whole host. */
import { z } from 'zod';
import { granted, passed } from '../answers.ts';
import { numberedPaging, paging } from '../parameters.ts';
import { type Route, route } from '../route.ts';
import { strict, text, whole } from '../schemas/values.ts';
import { DomainList, Group, GroupList, SessionList } from '../schemas/views.ts';

const HOST = '/v1/hosts/{host}';
const access = 'tenant';

const GROUP_EXAMPLE = {
  group: 0,
  devices: ['0000:01:00.0'],
  owner: null,
  ownerCount: 0,
  type: 'DMA',
  domain: { kind: 'default', id: 1, restored: false },
  reserved: [{ start: '0xfee00000', last: '0xfeefffff', type: 'msi' }],
};

const groupAnswer = { description: 'The group.', schema: Group, example: GROUP_EXAMPLE };

export const GROUP_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: `${HOST}/groups`,
    operationId: 'listGroups',
    tag: 'Groups',
    summary: 'List IOMMU groups',
    description: 'By number.',
    access,
    query: strict(numberedPaging()),
    success: { 200: { description: 'A page of them.', schema: GroupList, example: whole([GROUP_EXAMPLE]) } },
    handle: async ({ lanes }, { host, query }) => passed(await lanes.query(host.id, { view: 'groups', ...query })),
  }),
  route({
    method: 'GET',
    path: `${HOST}/groups/{group}`,
    operationId: 'getGroup',
    tag: 'Groups',
    summary: 'Read an IOMMU group',
    description: 'Its devices, who owns their DMA, and the domain that translates it.',
    access,
    success: { 200: groupAnswer },
    handle: async ({ lanes }, { host, params: { group } }) =>
      granted(await lanes.query(host.id, { view: 'group', group })),
  }),
  route({
    method: 'PUT',
    path: `${HOST}/groups/{group}/type`,
    operationId: 'setGroupType',
    tag: 'Groups',
    summary: 'Change the type of the default domain of a group',
    description: 'The write to `type` in sysfs.',
    access,
    refusable: true,
    body: strict({ type: text(64, 'DMA, DMA-FQ, identity or auto.') }),
    bodyExample: { type: 'identity' },
    success: { 200: groupAnswer },
    handle: async ({ lanes }, { host, params: { group }, body }) =>
      granted(await lanes.execute(host.id, { op: 'group.type', group, type: body.type })),
  }),
  route({
    method: 'GET',
    path: `${HOST}/domains`,
    operationId: 'listDomains',
    tag: 'Groups',
    summary: 'List paging domains',
    description: 'By id.',
    access,
    query: strict(numberedPaging()),
    success: {
      200: {
        description: 'A page of them.',
        schema: DomainList,
        example: whole([
          {
            id: 1,
            restored: false,
            preserved: false,
            devices: ['0000:01:00.0'],
            tablePages: 4,
            pageSizes: ['0x1000', '0x200000', '0x40000000'],
            aperture: { start: '0x0', last: '0xffffffffffff' },
          },
        ]),
      },
    },
    handle: async ({ lanes }, { host, query }) => passed(await lanes.query(host.id, { view: 'domains', ...query })),
  }),
  route({
    method: 'GET',
    path: `${HOST}/sessions`,
    operationId: 'listSessions',
    tag: 'Live update',
    summary: 'List live update sessions',
    description: 'Those of this kernel first, each by name.',
    access,
    query: strict(paging(z.string().meta({ examples: ['vm1'] }))),
    success: {
      200: {
        description: 'A page of them.',
        schema: SessionList,
        example: whole([
          {
            name: 'vm1',
            side: 'outgoing',
            state: 'open',
            files: [
              {
                token: '0x1',
                handler: 'memfd-v2',
                state: 'preserved',
                errno: null,
                device: null,
                size: '0x4000000',
                hwpts: null,
              },
            ],
          },
        ]),
      },
    },
    handle: async ({ lanes }, { host, query }) => passed(await lanes.query(host.id, { view: 'sessions', ...query })),
  }),
];
