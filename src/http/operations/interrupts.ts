/** Interrupts of a VFIO device, and eventfds that store into its BARs. */
import { z } from 'zod';
import { IOEVENTFD_FLAGS, IRQ_INFO_FLAGS, IRQ_SET_FLAGS } from '../../kernel/uapi/bits.ts';
import { MAX_RESPONSES } from '../../limits.ts';
import { Base64, bits, strict, U64, u32 } from '../schemas/values.ts';
import { type CallOperation, fdField, operation } from './operation.ts';

const isSet = (flags: unknown, mask: number): boolean => (Number(flags) & mask) !== 0;

export const INTERRUPT_OPERATIONS: readonly CallOperation[] = [
  operation({
    operationId: 'getCdevInterrupts',
    method: 'GET',
    path: 'cdevs/{fd}/interrupts/{irq}',
    tag: 'VFIO',
    summary: 'How many interrupts of a type there are',
    call: 'ioctl',
    request: 'VFIO_DEVICE_GET_IRQ_INFO',
    status: 200,
    arg: ({ params: { irq } }) => ({ index: irq }),
    answer: {
      description: 'What VFIO_DEVICE_GET_IRQ_INFO writes.',
      schema: strict({
        count: z.int(),
        maskable: z.boolean(),
        automasked: z.boolean().meta({ description: 'It masks itself with every interrupt.' }),
        resizable: z.boolean().meta({ description: 'Vectors can be added while it is enabled.' }),
      }).meta({ id: 'CdevInterrupts' }),
      example: { count: 65, maskable: false, automasked: false, resizable: true },
      from: ({ arg }) => ({
        count: arg?.count,
        maskable: isSet(arg?.flags, IRQ_INFO_FLAGS.VFIO_IRQ_INFO_MASKABLE),
        automasked: isSet(arg?.flags, IRQ_INFO_FLAGS.VFIO_IRQ_INFO_AUTOMASKED),
        resizable: !isSet(arg?.flags, IRQ_INFO_FLAGS.VFIO_IRQ_INFO_NORESIZE),
      }),
    },
  }),
  operation({
    operationId: 'setCdevInterrupts',
    method: 'POST',
    path: 'cdevs/{fd}/interrupts/{irq}',
    tag: 'VFIO',
    summary: 'Enable, disable, mask or trigger interrupts of a type',
    description: 'With eventfds they are enabled; DATA_NONE and TRIGGER of 0 vectors disable all of the type.',
    call: 'ioctl',
    request: 'VFIO_DEVICE_SET_IRQS',
    body: strict({
      flags: bits(u32(), IRQ_SET_FLAGS, 'One type of data, and one action.'),
      start: u32().meta({ description: 'First vector; 0 if absent.' }).optional(),
      count: u32()
        .meta({ description: 'How many vectors; as many as there are eventfds or bytes if absent.' })
        .optional(),
      eventfds: z
        .array(fdField('A descriptor; -1: none.'))
        .max(MAX_RESPONSES)
        .meta({ description: 'With DATA_EVENTFD: one a vector.' })
        .optional(),
      data: Base64.meta({ description: 'With DATA_BOOL: a byte a vector.' }).optional(),
    }).meta({ id: 'SetInterrupts' }),
    bodyExample: { flags: ['VFIO_IRQ_SET_DATA_EVENTFD', 'VFIO_IRQ_SET_ACTION_TRIGGER'], eventfds: [5, 6] },
    status: 204,
    arg: ({ params: { irq }, body: { start = 0, eventfds, data, ...body } }) => ({
      index: irq,
      flags: body.flags,
      start,
      count: body.count ?? eventfds?.length ?? Buffer.from(data ?? '', 'base64').length,
      ...(eventfds && { eventfds }),
      ...(data !== undefined && { data }),
    }),
  }),
  operation({
    operationId: 'setCdevIoeventfd',
    method: 'POST',
    path: 'cdevs/{fd}/ioeventfds',
    tag: 'VFIO',
    summary: 'Let an eventfd store into a BAR',
    call: 'ioctl',
    request: 'VFIO_DEVICE_IOEVENTFD',
    body: strict({
      eventfd: fdField('Descriptor of the eventfd; -1: nothing stores this there any more.'),
      offset: U64.meta({ description: 'Where on the descriptor.' }),
      data: U64.meta({ description: 'What is stored.' }),
      width: bits(u32(), IOEVENTFD_FLAGS, 'How many bytes: 1, 2, 4 or 8.'),
    }).meta({ id: 'SetIoeventfd' }),
    bodyExample: { eventfd: 5, offset: '0x1000', data: 1, width: 4 },
    status: 204,
    arg: ({ body: { eventfd, width, ...rest } }) => ({ ...rest, flags: width, fd: eventfd }),
  }),
];
