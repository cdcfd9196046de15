/** IO address spaces and what is mapped in them; the options of a context. */
import { z } from 'zod';
import type { CallResult } from '../../host/command.ts';
import { MAP_FIXED_IOVA, MAP_READABLE, MAP_WRITEABLE } from '../../kernel/uapi/iommufd.ts';
import { hex } from '../../machine/address.ts';
import { u64Text } from '../parameters.ts';
import { Hex64, Range, RangeInput, strict, U64, u32 } from '../schemas/values.ts';
import { bit, type CallOperation, fdField, Nothing, operation } from './operation.ts';

const IOAS = 'iommufds/{fd}/ioases/{ioas}';

const access = {
  iova: U64.meta({ description: 'Where to map it; the kernel chooses if it is not given.' }).optional(),
  readable: z.boolean().meta({ description: 'Whether devices may read.' }).default(true),
  writeable: z.boolean().meta({ description: 'Whether devices may write.' }).default(true),
};

interface Access {
  iova?: U64 | undefined;
  readable: boolean;
  writeable: boolean;
}

const flagsOf = ({ iova, readable, writeable }: Access): number =>
  bit(iova !== undefined, MAP_FIXED_IOVA) | bit(readable, MAP_READABLE) | bit(writeable, MAP_WRITEABLE);

const length = U64.meta({ description: 'Bytes.' });

const Iova = strict({ iova: Hex64 }).meta({ id: 'Iova' });
const mapped = (from: (result: CallResult) => unknown) => ({
  description: 'Where it is mapped.',
  schema: Iova,
  example: { iova: '0x100000000' },
  from: (result: CallResult) => ({ iova: from(result) }),
});

/** The page of the mappings that begins with it. */
function mappingAt(
  { iova }: { iova: string },
  { params: { fd, ioas } }: { params: { fd: number; ioas: number } },
): string {
  const before = BigInt(iova) - 1n;
  return `iommufds/${fd}/ioases/${ioas}/mappings?limit=1${before < 0n ? '' : `&after=${hex(before)}`}`;
}

const OPTION_SET = 0;
const OPTION_GET = 1;
const RLIMIT_MODE = 0;
const HUGE_PAGES = 1;
const VFIO_IOAS_GET = 0;
const VFIO_IOAS_SET = 1;
const VFIO_IOAS_CLEAR = 2;
/** How many ranges there is room for: more than there are in practice. */
const RANGES_ROOM = 0xffff;

const OptionValue = strict({ value: Hex64 }).meta({ id: 'OptionValue' });
const OptionInput = strict({ value: U64 }).meta({ id: 'OptionInput' });
const IoasId = strict({ ioas: z.int() }).meta({ id: 'IoasId' });
const optionAnswer = {
  description: 'The value.',
  schema: OptionValue,
  example: { value: '0x1' },
  from: ({ arg }: CallResult) => ({ value: arg?.val64 }),
};

export const IOAS_OPERATIONS: readonly CallOperation[] = [
  operation({
    operationId: 'allocateIoas',
    method: 'POST',
    path: 'iommufds/{fd}/ioases',
    tag: 'iommufd',
    summary: 'Make an IO address space',
    call: 'ioctl',
    request: 'IOMMU_IOAS_ALLOC',
    body: Nothing,
    status: 201,
    answer: {
      description: 'The id of the IOAS.',
      schema: IoasId,
      example: { ioas: 2 },
      from: ({ arg }) => ({ ioas: arg?.out_ioas_id }),
    },
    made: ({ ioas }: { ioas: number }, { params: { fd } }) => `iommufds/${fd}/ioases/${ioas}`,
  }),
  operation({
    operationId: 'destroyIoas',
    method: 'DELETE',
    path: IOAS,
    tag: 'iommufd',
    summary: 'Destroy an IO address space that nothing uses',
    call: 'ioctl',
    request: 'IOMMU_DESTROY',
    status: 204,
    arg: ({ params }) => ({ id: params.ioas }),
  }),
  operation({
    operationId: 'destroyObject',
    method: 'DELETE',
    path: 'iommufds/{fd}/objects/{object}',
    tag: 'iommufd',
    summary: 'Destroy any object that nothing uses',
    call: 'ioctl',
    request: 'IOMMU_DESTROY',
    status: 204,
    arg: ({ params }) => ({ id: params.object }),
  }),
  operation({
    operationId: 'mapMemory',
    method: 'POST',
    path: `${IOAS}/mappings`,
    tag: 'iommufd',
    summary: 'Map memory of the process',
    call: 'ioctl',
    request: 'IOMMU_IOAS_MAP',
    body: strict({ userVa: U64.meta({ description: 'Address in the process.' }), length, ...access }),
    bodyExample: { userVa: '0x7f0000000000', length: '0x200000', iova: '0x100000000' },
    status: 201,
    arg: ({ params, body }) => ({
      flags: flagsOf(body),
      ioas_id: params.ioas,
      user_va: body.userVa,
      length: body.length,
      iova: body.iova ?? 0,
    }),
    answer: mapped(({ arg }) => arg?.iova),
    made: mappingAt,
  }),
  operation({
    operationId: 'mapFile',
    method: 'POST',
    path: `${IOAS}/file-mappings`,
    tag: 'iommufd',
    summary: 'Map a memfd',
    call: 'ioctl',
    request: 'IOMMU_IOAS_MAP_FILE',
    body: strict({
      fd: fdField('Descriptor of the memfd.'),
      start: U64.meta({ description: 'First byte of the file.' }),
      length,
      ...access,
    }),
    bodyExample: { fd: 3, start: 0, length: '0x4000000', iova: '0x100000000' },
    status: 201,
    arg: ({ params, body }) => ({
      flags: flagsOf(body),
      ioas_id: params.ioas,
      fd: body.fd,
      start: body.start,
      length: body.length,
      iova: body.iova ?? 0,
    }),
    answer: mapped(({ arg }) => arg?.iova),
    made: mappingAt,
  }),
  operation({
    operationId: 'copyMapping',
    method: 'POST',
    path: `${IOAS}/copies`,
    tag: 'iommufd',
    summary: 'Map what another IO address space has mapped',
    call: 'ioctl',
    request: 'IOMMU_IOAS_COPY',
    body: strict({ sourceIoas: u32(), sourceIova: U64, length, ...access }),
    bodyExample: { sourceIoas: 2, sourceIova: '0x100000000', length: '0x200000', iova: '0x200000000' },
    status: 201,
    arg: ({ params, body }) => ({
      flags: flagsOf(body),
      dst_ioas_id: params.ioas,
      src_ioas_id: body.sourceIoas,
      length: body.length,
      dst_iova: body.iova ?? 0,
      src_iova: body.sourceIova,
    }),
    answer: mapped(({ arg }) => arg?.dst_iova),
    made: mappingAt,
  }),
  operation({
    operationId: 'unmapIova',
    method: 'DELETE',
    path: `${IOAS}/mappings`,
    tag: 'iommufd',
    summary: 'Unmap whole areas',
    description: 'All areas in the range; iova 0 with length 0xffffffffffffffff unmaps everything.',
    call: 'ioctl',
    request: 'IOMMU_IOAS_UNMAP',
    query: strict({ iova: u64Text('First IOVA.'), length: u64Text('Bytes.', '0x200000') }),
    status: 200,
    arg: ({ params, query }) => ({ ioas_id: params.ioas, iova: query.iova, length: query.length }),
    answer: {
      description: 'How much was unmapped.',
      schema: strict({ length: Hex64 }).meta({ id: 'UnmappedLength' }),
      example: { length: '0x200000' },
      from: ({ arg }) => ({ length: arg?.length }),
    },
  }),
  operation({
    operationId: 'getIovaRanges',
    method: 'GET',
    path: `${IOAS}/iova-ranges`,
    tag: 'iommufd',
    summary: 'The IOVAs that may be mapped',
    call: 'ioctl',
    request: 'IOMMU_IOAS_IOVA_RANGES',
    status: 200,
    arg: ({ params }) => ({ ioas_id: params.ioas, num_iovas: RANGES_ROOM }),
    answer: {
      description: 'Ranges, and what IOVA and length must be multiples of.',
      schema: strict({ ranges: z.array(Range), alignment: Hex64 }).meta({ id: 'IovaRanges' }),
      example: { ranges: [{ start: '0x0', last: '0xfedfffff' }], alignment: '0x1000' },
      from: ({ arg }) => ({ ranges: arg?.allowed_iovas, alignment: arg?.out_iova_alignment }),
    },
  }),
  operation({
    operationId: 'getPhysicalAddress',
    method: 'GET',
    path: `${IOAS}/physical-address`,
    tag: 'iommufd',
    summary: 'The physical address behind an IOVA',
    description: 'Of devices that are used without an IOMMU. There are none: it is never a success.',
    call: 'ioctl',
    request: 'IOMMU_IOAS_NOIOMMU_GET_PA',
    query: strict({ iova: u64Text('IOVA.', '0x100000000'), length: u64Text('The most bytes.', '0x1000') }),
    status: 200,
    arg: ({ params, query }) => ({ ioas_id: params.ioas, ...query }),
    answer: {
      description: 'The address, and how many bytes are contiguous there.',
      schema: strict({ physical: Hex64, length: Hex64 }).meta({ id: 'PhysicalAddress' }),
      example: { physical: '0x100000', length: '0x1000' },
      from: ({ arg }) => ({ physical: arg?.out_phys, length: arg?.length }),
    },
  }),
  operation({
    operationId: 'setAllowedIovas',
    method: 'PUT',
    path: `${IOAS}/allowed-iovas`,
    tag: 'iommufd',
    summary: 'Bound the IOVAs that the kernel may choose',
    description: 'An empty list lifts the bound.',
    call: 'ioctl',
    request: 'IOMMU_IOAS_ALLOW_IOVAS',
    body: strict({ ranges: z.array(RangeInput).max(RANGES_ROOM) }),
    bodyExample: { ranges: [{ start: '0x100000000', last: '0x1ffffffff' }] },
    status: 204,
    arg: ({ params, body }) => ({ ioas_id: params.ioas, num_iovas: body.ranges.length, allowed_iovas: body.ranges }),
  }),
  operation({
    operationId: 'getRlimitMode',
    method: 'GET',
    path: 'iommufds/{fd}/rlimit-mode',
    tag: 'iommufd',
    summary: 'How pinned memory is accounted for',
    call: 'ioctl',
    request: 'IOMMU_OPTION',
    status: 200,
    arg: () => ({ option_id: RLIMIT_MODE, op: OPTION_GET }),
    answer: optionAnswer,
  }),
  operation({
    operationId: 'setRlimitMode',
    method: 'PUT',
    path: 'iommufds/{fd}/rlimit-mode',
    tag: 'iommufd',
    summary: 'Choose how pinned memory is accounted for',
    description: '0: to the user, 1: to the process.',
    call: 'ioctl',
    request: 'IOMMU_OPTION',
    body: OptionInput,
    bodyExample: { value: 1 },
    status: 204,
    arg: ({ body }) => ({ option_id: RLIMIT_MODE, op: OPTION_SET, val64: body.value }),
  }),
  operation({
    operationId: 'getHugePages',
    method: 'GET',
    path: `${IOAS}/huge-pages`,
    tag: 'iommufd',
    summary: 'Whether contiguous pages become larger entries',
    call: 'ioctl',
    request: 'IOMMU_OPTION',
    status: 200,
    arg: ({ params }) => ({ option_id: HUGE_PAGES, op: OPTION_GET, object_id: params.ioas }),
    answer: optionAnswer,
  }),
  operation({
    operationId: 'setHugePages',
    method: 'PUT',
    path: `${IOAS}/huge-pages`,
    tag: 'iommufd',
    summary: 'Choose whether contiguous pages become larger entries',
    call: 'ioctl',
    request: 'IOMMU_OPTION',
    body: OptionInput,
    bodyExample: { value: 0 },
    status: 204,
    arg: ({ params, body }) => ({
      option_id: HUGE_PAGES,
      op: OPTION_SET,
      object_id: params.ioas,
      val64: body.value,
    }),
  }),
  operation({
    operationId: 'getVfioIoas',
    method: 'GET',
    path: 'iommufds/{fd}/vfio-ioas',
    tag: 'iommufd',
    summary: 'The IO address space that container requests act on',
    call: 'ioctl',
    request: 'IOMMU_VFIO_IOAS',
    status: 200,
    arg: () => ({ op: VFIO_IOAS_GET }),
    answer: {
      description: 'Its id.',
      schema: IoasId,
      example: { ioas: 2 },
      from: ({ arg }) => ({ ioas: arg?.ioas_id }),
    },
  }),
  operation({
    operationId: 'setVfioIoas',
    method: 'PUT',
    path: 'iommufds/{fd}/vfio-ioas',
    tag: 'iommufd',
    summary: 'Choose the IO address space that container requests act on',
    call: 'ioctl',
    request: 'IOMMU_VFIO_IOAS',
    body: strict({ ioas: u32() }),
    bodyExample: { ioas: 2 },
    status: 204,
    arg: ({ body }) => ({ op: VFIO_IOAS_SET, ioas_id: body.ioas }),
  }),
  operation({
    operationId: 'clearVfioIoas',
    method: 'DELETE',
    path: 'iommufds/{fd}/vfio-ioas',
    tag: 'iommufd',
    summary: 'Let container requests act on no IO address space',
    call: 'ioctl',
    request: 'IOMMU_VFIO_IOAS',
    status: 204,
    arg: () => ({ op: VFIO_IOAS_CLEAR }),
  }),
  operation({
    operationId: 'changeProcess',
    method: 'POST',
    path: 'iommufds/{fd}/change-process',
    tag: 'iommufd',
    summary: 'Move the accounting of file mappings to the calling process',
    call: 'ioctl',
    request: 'IOMMU_IOAS_CHANGE_PROCESS',
    body: Nothing,
    status: 204,
  }),
];
