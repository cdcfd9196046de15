/** State of the objects of an iommufd, and reserved ranges. Operations that are system calls: ../operations. */
import type { MappingView } from '../../host/views.ts';
import { MAX_LISTED } from '../../limits.ts';
import { granted, passed } from '../answers.ts';
import { limit, numberedPaging, u64Text } from '../parameters.ts';
import { type Route, route } from '../route.ts';
import { hexOf, strict, whole } from '../schemas/values.ts';
import { Hwpt, Ioas, Iommufd, MappingList, ObjectList } from '../schemas/views.ts';

const IOMMUFD = '/v1/hosts/{host}/processes/{pid}/iommufds/{fd}';
const tag = 'iommufd';
const access = 'tenant';

export const IOMMUFD_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: IOMMUFD,
    operationId: 'getIommufd',
    tag,
    summary: 'Read an iommufd',
    description: 'The ids of its objects, and the devices that are bound to it.',
    access,
    success: {
      200: {
        description: 'Its objects.',
        schema: Iommufd,
        example: {
          objects: [{ id: 1, type: 'ioas', users: 0 }],
          ioases: [1],
          hwpts: [],
          devices: [],
          preserved: false,
          restored: false,
        },
      },
    },
    handle: async ({ lanes }, { host, params: { pid, fd } }) =>
      granted(await lanes.query(host.id, { view: 'iommufd', pid, fd })),
  }),
  route({
    method: 'GET',
    path: `${IOMMUFD}/objects`,
    operationId: 'listIommufdObjects',
    tag,
    summary: 'List the objects of an iommufd',
    description: 'By id.',
    access,
    query: strict(numberedPaging()),
    success: {
      200: {
        description: 'A page of them.',
        schema: ObjectList,
        example: whole([{ id: 1, type: 'ioas', users: 0 }]),
      },
    },
    handle: async ({ lanes }, { host, params: { pid, fd }, query }) =>
      passed(await lanes.query(host.id, { view: 'objects', pid, fd, ...query })),
  }),
  route({
    method: 'GET',
    path: `${IOMMUFD}/ioases/{ioas}`,
    operationId: 'getIoas',
    tag,
    summary: 'Read an IO address space',
    description: 'How much is mapped, where mappings may be, and the HWPTs that show them.',
    access,
    success: {
      200: {
        description: 'The IOAS.',
        schema: Ioas,
        example: {
          ioas: 2,
          areas: 1,
          bytes: '0x4000000',
          alignment: '0x1000',
          hwpts: [3],
          immutable: false,
          allowed: [],
          reserved: [{ start: '0xfee00000', last: '0xfeefffff' }],
        },
      },
    },
    handle: async ({ lanes }, { host, params: { pid, fd, ioas } }) =>
      granted(await lanes.query(host.id, { view: 'ioas', pid, fd, ioas })),
  }),
  route({
    method: 'GET',
    path: `${IOMMUFD}/ioases/{ioas}/mappings`,
    operationId: 'listMappings',
    tag,
    summary: 'List mappings',
    description: 'By ascending IOVA.',
    access,
    query: strict({
      limit: limit(10_000, MAX_LISTED),
      after: u64Text('The IOVA behind which the page begins: the `nextPageToken` of the page before.').optional(),
    }),
    success: {
      200: {
        description: 'A page of mappings.',
        schema: MappingList,
        example: {
          items: [
            {
              iova: '0x100000000',
              length: '0x4000000',
              readable: true,
              writeable: true,
              source: 'file',
              offset: '0x0',
            },
          ],
          nextPageToken: null,
        },
      },
    },
    async handle({ lanes }, { host, params: { pid, fd, ioas }, query: { after, limit } }) {
      const from = after === undefined ? {} : { after };
      const asked = { view: 'mappings', pid, fd, ioas, limit: limit + 1, ...from } as const;
      const found = granted<MappingView[]>(await lanes.query(host.id, asked));
      const items = found.slice(0, limit);
      return { items, nextPageToken: found.length > limit ? items.at(-1)!.iova : null };
    },
  }),
  route({
    method: 'POST',
    path: `${IOMMUFD}/ioases/{ioas}/reserved-ranges`,
    operationId: 'addReservedRange',
    tag,
    summary: 'Reserve a range of an IO address space, for good',
    description: 'As a device with such a range would; no call does this.',
    access,
    refusable: true,
    body: strict({ start: hexOf('First IOVA.'), length: hexOf('Bytes.') }),
    bodyExample: { start: '0x8000000', length: '0x100000' },
    success: { 204: { description: 'It is reserved.' } },
    async handle({ lanes }, { host, params: { pid, fd, ioas }, body }) {
      granted(await lanes.execute(host.id, { op: 'ioas.reserve', pid, fd, ioas, ...body }));
    },
  }),
  route({
    method: 'GET',
    path: `${IOMMUFD}/hwpts/{hwpt}`,
    operationId: 'getHwpt',
    tag,
    summary: 'Read a hardware page table',
    description: 'Its IOAS, its domain and the devices on it.',
    access,
    success: {
      200: {
        description: 'The HWPT.',
        schema: Hwpt,
        example: {
          hwpt: 3,
          type: 'paging',
          ioas: 2,
          auto: false,
          restored: false,
          token: '0x7',
          domain: 4,
          devices: ['0000:01:00.0'],
          dirtyTracking: false,
        },
      },
    },
    handle: async ({ lanes }, { host, params: { pid, fd, hwpt } }) =>
      granted(await lanes.query(host.id, { view: 'hwpt', pid, fd, hwpt })),
  }),
];
