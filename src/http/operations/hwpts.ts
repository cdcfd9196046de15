/**
 * Hardware page tables: making them, marking them for a live update, dirty tracking, invalidation; IOMMU_GET_HW_INFO.
 */
import { z } from 'zod';
import {
  HWPT_ALLOC_DIRTY_TRACKING,
  HWPT_ALLOC_NEST_PARENT,
  HWPT_ALLOC_PASID,
  HWPT_FAULT_ID_VALID,
} from '../../kernel/uapi/iommufd.ts';
import { MAX_DIRTY_BITS, MAX_UNIT_INFO } from '../../limits.ts';
import { booleanText, u64Text } from '../parameters.ts';
import { Base64, decodedLength, Hex64, strict, U64, u32 } from '../schemas/values.ts';
import { bit, type CallOperation, operation } from './operation.ts';

const HWPT = 'iommufds/{fd}/hwpts/{hwpt}';
const DIRTY_TRACKING_ENABLE = 1;
const DIRTY_BITMAP_NO_CLEAR = 1;

const HwptId = strict({ hwpt: z.int() }).meta({ id: 'HwptId' });

/**
 * The first `length` bytes of a base64 buffer: it is as long as the room, and what the IOMMU reports is at its start.
 */
function firstBytes(data: unknown, length: unknown): string {
  return Buffer.from(String(data ?? ''), 'base64')
    .subarray(0, Number(length))
    .toString('base64');
}

export const HWPT_OPERATIONS: readonly CallOperation[] = [
  operation({
    operationId: 'allocateHwpt',
    method: 'POST',
    path: 'iommufds/{fd}/hwpts',
    tag: 'iommufd',
    summary: 'Make a hardware page table',
    description: 'Of an IOAS, or nested on another HWPT or a vIOMMU.',
    call: 'ioctl',
    request: 'IOMMU_HWPT_ALLOC',
    body: strict({
      device: u32().meta({ description: 'Id of the device that it is made for.' }),
      pageTable: u32().meta({ description: 'Id of the IOAS, the parent HWPT or the vIOMMU.' }),
      nestParent: z.boolean().meta({ description: 'Others may be nested on it.' }).optional(),
      dirtyTracking: z.boolean().meta({ description: 'Dirty tracking can be enabled.' }).optional(),
      pasid: z.boolean().meta({ description: 'It can be attached to PASIDs.' }).optional(),
      faultQueue: u32().meta({ description: 'Id of the fault queue that page faults go to.' }).optional(),
      dataType: u32().meta({ description: 'Kind of driver data; 0: none.' }).optional(),
      data: Base64.meta({ description: 'Driver data.' }).optional(),
    }),
    bodyExample: { device: 1, pageTable: 2 },
    status: 201,
    arg: ({ body }) => ({
      flags:
        bit(body.nestParent, HWPT_ALLOC_NEST_PARENT) |
        bit(body.dirtyTracking, HWPT_ALLOC_DIRTY_TRACKING) |
        bit(body.faultQueue !== undefined, HWPT_FAULT_ID_VALID) |
        bit(body.pasid, HWPT_ALLOC_PASID),
      dev_id: body.device,
      pt_id: body.pageTable,
      ...(body.dataType !== undefined && { data_type: body.dataType }),
      ...(body.data !== undefined && { data_len: decodedLength(body.data), data: body.data }),
      ...(body.faultQueue !== undefined && { fault_id: body.faultQueue }),
    }),
    answer: {
      description: 'The id of the HWPT.',
      schema: HwptId,
      example: { hwpt: 3 },
      from: ({ arg }) => ({ hwpt: arg?.out_hwpt_id }),
    },
    made: ({ hwpt }: { hwpt: number }, { params: { fd } }) => `iommufds/${fd}/hwpts/${hwpt}`,
  }),
  operation({
    operationId: 'destroyHwpt',
    method: 'DELETE',
    path: HWPT,
    tag: 'iommufd',
    summary: 'Destroy a hardware page table that nothing uses',
    call: 'ioctl',
    request: 'IOMMU_DESTROY',
    status: 204,
    arg: ({ params }) => ({ id: params.hwpt }),
  }),
  operation({
    operationId: 'markHwpt',
    method: 'PUT',
    path: `${HWPT}/token`,
    tag: 'Live update',
    summary: 'Mark a hardware page table for the next live update',
    description: 'Of the profile persisted-domains. The token is its name in the next kernel.',
    call: 'ioctl',
    request: 'IOMMU_HWPT_LU_SET_PRESERVE',
    body: strict({ token: U64 }),
    bodyExample: { token: 7 },
    status: 204,
    arg: ({ params, body }) => ({ hwpt_id: params.hwpt, token: body.token }),
  }),
  operation({
    operationId: 'getRestoredHwpt',
    method: 'GET',
    path: 'iommufds/{fd}/restored-hwpts/{token}',
    tag: 'Live update',
    summary: 'The id of the HWPT of a restored domain',
    description: 'Of the profile persisted-domains. The HWPT is there since the device was bound.',
    call: 'ioctl',
    request: 'IOMMU_HWPT_LU_RESTORE',
    status: 200,
    arg: ({ params }) => ({ token: params.token }),
    answer: {
      description: 'The id of the HWPT.',
      schema: HwptId,
      example: { hwpt: 3 },
      from: ({ arg }) => ({ hwpt: arg?.hwpt_id }),
    },
  }),
  operation({
    operationId: 'setDirtyTracking',
    method: 'PUT',
    path: `${HWPT}/dirty-tracking`,
    tag: 'iommufd',
    summary: 'Switch dirty tracking',
    call: 'ioctl',
    request: 'IOMMU_HWPT_SET_DIRTY_TRACKING',
    body: strict({ enabled: z.boolean() }),
    bodyExample: { enabled: true },
    status: 204,
    arg: ({ params, body }) => ({ hwpt_id: params.hwpt, flags: bit(body.enabled, DIRTY_TRACKING_ENABLE) }),
  }),
  operation({
    operationId: 'getDirtyBitmap',
    method: 'GET',
    path: `${HWPT}/dirty-bitmap`,
    tag: 'iommufd',
    summary: 'What devices have written',
    description: `At most ${MAX_DIRTY_BITS} bits at once: those of 64 GiB with 4 KiB pages.`,
    call: 'ioctl',
    request: 'IOMMU_HWPT_GET_DIRTY_BITMAP',
    query: strict({
      iova: u64Text('First IOVA.'),
      length: u64Text('Bytes.', '0x200000'),
      pageSize: u64Text('Bytes that one bit stands for.', '0x1000'),
      clear: booleanText('Whether the bits are cleared, too.').default(false),
    }),
    status: 200,
    arg: ({ params, query }) => ({
      hwpt_id: params.hwpt,
      flags: bit(!query.clear, DIRTY_BITMAP_NO_CLEAR),
      iova: query.iova,
      length: query.length,
      page_size: query.pageSize,
    }),
    answer: {
      description: 'The bitmap, rounded up to 64 bits; bit i, little endian, stands for iova + i * pageSize.',
      schema: strict({ data: Base64 }).meta({ id: 'DirtyBitmap' }),
      example: { data: 'AQAAAAAAAAA=' },
      from: ({ arg }) => ({ data: arg?.data }),
    },
  }),
  operation({
    operationId: 'invalidateHwpt',
    method: 'POST',
    path: `${HWPT}/invalidations`,
    tag: 'iommufd',
    summary: 'Invalidate caches of a nested HWPT or a vIOMMU',
    call: 'ioctl',
    request: 'IOMMU_HWPT_INVALIDATE',
    body: strict({
      dataType: u32().meta({ description: 'Kind of entries.' }),
      entryLength: u32().meta({ description: 'Bytes of an entry.' }),
      entries: u32().meta({ description: 'Number of entries.' }),
      data: Base64.meta({ description: 'The entries.' }).optional(),
    }),
    bodyExample: { dataType: 0, entryLength: 24, entries: 1, data: Buffer.alloc(24).toString('base64') },
    status: 200,
    arg: ({ params, body }) => ({
      hwpt_id: params.hwpt,
      data_type: body.dataType,
      entry_len: body.entryLength,
      entry_num: body.entries,
      ...(body.data !== undefined && { data: body.data }),
    }),
    answer: {
      description: 'How many entries were worked off.',
      schema: strict({ entries: z.int() }).meta({ id: 'InvalidatedEntries' }),
      example: { entries: 1 },
      from: ({ arg }) => ({ entries: arg?.entry_num }),
    },
  }),
  operation({
    operationId: 'getHwInfo',
    method: 'GET',
    path: 'iommufds/{fd}/devices/{device}/hw-info',
    tag: 'iommufd',
    summary: 'What the IOMMU of a device can do',
    call: 'ioctl',
    request: 'IOMMU_GET_HW_INFO',
    status: 200,
    arg: ({ params }) => ({ dev_id: params.device, data_len: MAX_UNIT_INFO }),
    answer: {
      description: 'As the IOMMU reports it.',
      schema: strict({
        dataType: z.int().meta({ description: '0: none, 1: Intel VT-d, 2: Arm SMMUv3, 4: AMD.' }),
        data: Base64,
        maxPasidLog2: z.int(),
        capabilities: Hex64,
      }).meta({ id: 'HwInfo' }),
      example: { dataType: 1, data: 'AQAAAAAAAAAGBi8ijADSAEoP8AAAAAAA', maxPasidLog2: 0, capabilities: '0x0' },
      from: ({ arg }) => ({
        dataType: arg?.out_data_type,
        data: firstBytes(arg?.data, arg?.data_len),
        maxPasidLog2: arg?.out_max_pasid_log2,
        capabilities: arg?.out_capabilities,
      }),
    },
  }),
];
