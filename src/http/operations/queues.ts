/** Queues of page faults and of events: reading and answering them, and making devices fill them. */
import { z } from 'zod';
import { FAULT_PERMISSIONS } from '../../kernel/uapi/bits.ts';
import { MAX_RESPONSES } from '../../limits.ts';
import { id } from '../parameters.ts';
import { bits, Hex64, strict, U64, u32 } from '../schemas/values.ts';
import { type CallOperation, Nothing, operation } from './operation.ts';

const RESPONSE_BYTES = 8;

const PageFault = strict({
  flags: z.int().meta({ description: 'PASID_VALID 1, LAST_PAGE 2.' }),
  device: z.int(),
  pasid: z.int(),
  group: z.int(),
  permission: z.int().meta({ description: 'READ 1, WRITE 2, EXEC 4, PRIV 8.' }),
  address: Hex64,
  cookie: z.int().meta({ description: 'What the answer names.' }),
}).meta({ id: 'PageFault' });

const VirtualEvent = strict({
  flags: z.int().meta({ description: 'LOST_EVENTS 1: there was no room for events up to this number.' }),
  sequence: z.int(),
  virtualId: z.int().optional(),
}).meta({ id: 'VirtualEvent' });

type Fault = {
  flags: number;
  dev_id: number;
  pasid: number;
  grpid: number;
  perm: number;
  addr: string;
  cookie: number;
};
type Event = { flags: number; sequence: number; virt_id?: number };

const fault = ({ flags, dev_id, pasid, grpid, perm, addr, cookie }: Fault) => ({
  flags,
  device: dev_id,
  pasid,
  group: grpid,
  permission: perm,
  address: addr,
  cookie,
});

const event = ({ flags, sequence, virt_id }: Event) => ({
  flags,
  sequence,
  ...(virt_id !== undefined && { virtualId: virt_id }),
});

const valueQuery = strict({ value: id('The value that is expected.', 0) });

export const QUEUE_OPERATIONS: readonly CallOperation[] = [
  operation({
    operationId: 'readQueue',
    method: 'POST',
    path: 'descriptors/{fd}/read',
    tag: 'iommufd',
    summary: 'Read from a fault queue or an event queue',
    description: 'It never waits: what is empty answers nothing.',
    call: 'read',
    body: strict({ length: U64.meta({ description: 'Bytes: 40 a fault, 12 an event.' }) }),
    bodyExample: { length: 40 },
    status: 200,
    parameters: ({ body }) => ({ length: body.length }),
    answer: {
      description: 'What was read.',
      schema: strict({ faults: z.array(PageFault), events: z.array(VirtualEvent) }).meta({ id: 'QueueContents' }),
      example: {
        faults: [{ flags: 2, device: 1, pasid: 0, group: 1, permission: 1, address: '0x1000', cookie: 1 }],
        events: [],
      },
      from: ({ faults = [], events = [] }) => ({
        faults: (faults as Fault[]).map(fault),
        events: (events as Event[]).map(event),
      }),
    },
  }),
  operation({
    operationId: 'answerFaults',
    method: 'POST',
    path: 'descriptors/{fd}/write',
    tag: 'iommufd',
    summary: 'Answer page faults',
    call: 'write',
    body: strict({
      responses: z
        .array(strict({ cookie: u32(), code: u32().meta({ description: 'Success 0, invalid 1.' }) }))
        .max(MAX_RESPONSES),
    }),
    bodyExample: { responses: [{ cookie: 1, code: 0 }] },
    status: 200,
    parameters: ({ body: { responses } }) => ({ length: responses.length * RESPONSE_BYTES, responses }),
    answer: {
      description: 'How many were taken: those before the first wrong one.',
      schema: strict({ answered: z.int() }).meta({ id: 'AnsweredFaults' }),
      example: { answered: 1 },
      from: ({ ret }) => ({ answered: Number(ret) / RESPONSE_BYTES }),
    },
  }),
  operation({
    operationId: 'makePageFault',
    method: 'POST',
    path: 'iommufds/{fd}/devices/{device}/page-faults',
    tag: 'iommufd',
    summary: 'Let the device ask for a page',
    description: 'The request goes to the fault queue of the HWPT that the device, or the PASID, is on.',
    call: 'page_fault',
    body: strict({
      pasid: u32().default(0),
      group: u32().meta({ description: 'Number of the request.' }).default(0),
      permission: bits(u32(), FAULT_PERMISSIONS, 'What it wants to do there.').prefault(1),
      address: U64,
    }),
    bodyExample: { address: '0x1000' },
    status: 204,
    parameters: ({ params, body: { pasid, group, permission, address } }) => ({
      device: params.device,
      pasid,
      grpid: group,
      perm: permission,
      addr: address,
    }),
  }),
  operation({
    operationId: 'triggerEvent',
    method: 'POST',
    path: 'iommufds/{fd}/devices/{device}/events',
    tag: 'iommufd',
    summary: 'Let the device have an event for the guest',
    description: 'It is on a nested HWPT of a vIOMMU, whose event queue gets it.',
    call: 'trigger_event',
    body: Nothing,
    status: 204,
    parameters: ({ params }) => ({ device: params.device }),
  }),
  operation({
    operationId: 'checkDeviceCache',
    method: 'GET',
    path: 'iommufds/{fd}/devices/{device}/cache/{index}',
    tag: 'iommufd',
    summary: 'Whether an entry of the cache of a device has a value',
    call: 'check_dev_cache',
    query: valueQuery,
    status: 204,
    parameters: ({ params, query }) => ({ device: params.device, index: params.index, value: query.value }),
  }),
  operation({
    operationId: 'checkNestedCache',
    method: 'GET',
    path: 'iommufds/{fd}/hwpts/{hwpt}/cache/{index}',
    tag: 'iommufd',
    summary: 'Whether an entry of the cache of a nested HWPT has a value',
    call: 'check_iotlb',
    query: valueQuery,
    status: 204,
    parameters: ({ params, query }) => ({ hwpt: params.hwpt, index: params.index, value: query.value }),
  }),
  operation({
    operationId: 'checkPasid',
    method: 'GET',
    path: 'iommufds/{fd}/devices/{device}/pasids/{pasid}',
    tag: 'iommufd',
    summary: 'Whether a PASID of the device is on a HWPT',
    call: 'pasid_check',
    query: strict({ hwpt: id('Id of the HWPT; 0: on none.', 3) }),
    status: 204,
    parameters: ({ params, query }) => ({ device: params.device, pasid: params.pasid, hwpt: query.hwpt }),
  }),
];
