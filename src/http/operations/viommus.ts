/** Queues of page faults, and virtual IOMMUs with their devices and queues: what a nesting VMM gives its guest. */
import { z } from 'zod';
import type { CallResult } from '../../host/command.ts';
import { Base64, decodedLength, strict, U64, u32 } from '../schemas/values.ts';
import { type CallOperation, Nothing, operation } from './operation.ts';

const viommu = u32().meta({ description: 'Id of the vIOMMU.' });
const fd = z.int().meta({ description: 'Its descriptor.' });

/** Where an object is, by the field of the answer that has its id. */
const objectIn =
  (field: string) =>
  (answer: Record<string, unknown>, { params: { fd } }: { params: { fd: number } }): string =>
    `iommufds/${fd}/objects/${answer[field]}`;

function numbered(id: string, field: string, output: string) {
  return {
    description: 'Its id.',
    schema: strict({ [field]: z.int() }).meta({ id }),
    example: { [field]: 5 },
    from: ({ arg }: CallResult) => ({ [field]: arg?.[output] }),
  };
}

export const VIOMMU_OPERATIONS: readonly CallOperation[] = [
  operation({
    operationId: 'allocateFaultQueue',
    method: 'POST',
    path: 'iommufds/{fd}/fault-queues',
    tag: 'iommufd',
    summary: 'Make a queue of page faults',
    call: 'ioctl',
    request: 'IOMMU_FAULT_QUEUE_ALLOC',
    body: Nothing,
    status: 201,
    answer: {
      description: 'Its id and its descriptor.',
      schema: strict({ faultQueue: z.int(), fd }).meta({ id: 'FaultQueue' }),
      example: { faultQueue: 5, fd: 6 },
      from: ({ arg }) => ({ faultQueue: arg?.out_fault_id, fd: arg?.out_fault_fd }),
    },
    made: objectIn('faultQueue'),
  }),
  operation({
    operationId: 'allocateViommu',
    method: 'POST',
    path: 'iommufds/{fd}/viommus',
    tag: 'iommufd',
    summary: 'Make a virtual IOMMU on a nesting parent',
    call: 'ioctl',
    request: 'IOMMU_VIOMMU_ALLOC',
    body: strict({
      type: u32().meta({ description: 'Kind of vIOMMU.' }),
      device: u32().meta({ description: 'Id of a device behind the IOMMU.' }),
      hwpt: u32().meta({ description: 'Id of the nesting parent.' }),
      data: Base64.meta({ description: 'Driver data.' }).optional(),
    }),
    bodyExample: { type: 1, device: 1, hwpt: 3 },
    status: 201,
    arg: ({ body: { type, device, hwpt, data } }) => ({
      type,
      dev_id: device,
      hwpt_id: hwpt,
      ...(data !== undefined && { data_len: decodedLength(data), data }),
    }),
    answer: {
      description: 'Its id, and the driver data if there was any.',
      schema: strict({ viommu: z.int(), data: Base64.optional() }).meta({ id: 'Viommu' }),
      example: { viommu: 5 },
      from: ({ arg }) => ({ viommu: arg?.out_viommu_id, ...(arg?.data !== undefined && { data: arg.data }) }),
    },
    made: objectIn('viommu'),
  }),
  operation({
    operationId: 'allocateVdevice',
    method: 'POST',
    path: 'iommufds/{fd}/vdevices',
    tag: 'iommufd',
    summary: 'Give a device a number on a vIOMMU',
    call: 'ioctl',
    request: 'IOMMU_VDEVICE_ALLOC',
    body: strict({ viommu, device: u32().meta({ description: 'Id of the device.' }), virtualId: U64 }),
    bodyExample: { viommu: 5, device: 1, virtualId: '0x10' },
    status: 201,
    arg: ({ body }) => ({ viommu_id: body.viommu, dev_id: body.device, virt_id: body.virtualId }),
    answer: numbered('Vdevice', 'vdevice', 'out_vdevice_id'),
    made: objectIn('vdevice'),
  }),
  operation({
    operationId: 'allocateEventQueue',
    method: 'POST',
    path: 'iommufds/{fd}/event-queues',
    tag: 'iommufd',
    summary: 'Make a queue of events of a vIOMMU',
    call: 'ioctl',
    request: 'IOMMU_VEVENTQ_ALLOC',
    body: strict({
      viommu,
      type: u32().meta({ description: 'Kind of events.' }),
      depth: u32().meta({ description: 'Events it holds.' }),
    }),
    bodyExample: { viommu: 5, type: 1, depth: 16 },
    status: 201,
    arg: ({ body }) => ({ viommu_id: body.viommu, type: body.type, veventq_depth: body.depth }),
    answer: {
      description: 'Its id and its descriptor.',
      schema: strict({ eventQueue: z.int(), fd }).meta({ id: 'EventQueue' }),
      example: { eventQueue: 6, fd: 7 },
      from: ({ arg }) => ({ eventQueue: arg?.out_veventq_id, fd: arg?.out_veventq_fd }),
    },
    made: objectIn('eventQueue'),
  }),
  operation({
    operationId: 'allocateHwQueue',
    method: 'POST',
    path: 'iommufds/{fd}/hw-queues',
    tag: 'iommufd',
    summary: 'Give a vIOMMU a hardware queue in guest memory',
    call: 'ioctl',
    request: 'IOMMU_HW_QUEUE_ALLOC',
    body: strict({
      viommu,
      type: u32().meta({ description: 'Kind of queue.' }),
      index: u32().meta({ description: 'Number of the queue.' }),
      iova: U64.meta({ description: 'Where its memory is, in the nesting parent.' }),
      length: U64.meta({ description: 'Bytes.' }),
    }),
    bodyExample: { viommu: 5, type: 1, index: 0, iova: '0x1000', length: '0x1000' },
    status: 201,
    arg: ({ body: { viommu, type, index, iova, length } }) => ({
      viommu_id: viommu,
      type,
      index,
      nesting_parent_iova: iova,
      length,
    }),
    answer: numbered('HwQueue', 'hwQueue', 'out_hw_queue_id'),
    made: objectIn('hwQueue'),
  }),
];
