/** Eventfds: counters that programs and the kernel signal each other by. */

import { EVENTFD_FLAGS } from '../../kernel/uapi/bits.ts';
import { hex } from '../../machine/address.ts';
import { bits, Hex64, integer, strict, U32_MAX, U64, u32 } from '../schemas/values.ts';
import { type CallOperation, descriptorAnswer, descriptorIn, Nothing, operation } from './operation.ts';

const COUNTER_BYTES = 8;

function wordOf(value: string | number): string {
  const bytes = new Uint8Array(COUNTER_BYTES);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes.toBase64();
}

/** What else can be read, such as /dev/null, gives fewer bytes: those behind them stay 0, as in a program's variable. */
function counterOf(data: string): string {
  const bytes = new Uint8Array(COUNTER_BYTES);
  bytes.set(Uint8Array.fromBase64(data));
  return hex(new DataView(bytes.buffer).getBigUint64(0, true));
}

export const EVENTFD_OPERATIONS: readonly CallOperation[] = [
  operation({
    operationId: 'createEventfd',
    method: 'POST',
    path: 'eventfds',
    tag: 'Processes',
    summary: 'Create an eventfd',
    call: 'eventfd',
    body: strict({
      initval: integer(0, U32_MAX).meta({ description: 'What the counter begins with; 0 if absent.' }).optional(),
      flags: bits(u32(), EVENTFD_FLAGS, 'None if absent.').optional(),
    }).optional(),
    bodyExample: { flags: ['EFD_NONBLOCK'] },
    status: 201,
    parameters: ({ body }) => ({ initval: body?.initval ?? 0, flags: body?.flags ?? 0 }),
    answer: descriptorAnswer('A descriptor of the eventfd.'),
    made: descriptorIn('eventfds'),
  }),
  operation({
    operationId: 'readEventfd',
    method: 'POST',
    path: 'eventfds/{fd}/read',
    tag: 'Processes',
    summary: 'Take the counter of an eventfd',
    description: 'It is 0 then; EAGAIN where it is 0 already.',
    call: 'read',
    body: Nothing,
    status: 200,
    parameters: () => ({ length: COUNTER_BYTES }),
    answer: {
      description: 'What it was; of a semaphore 1.',
      schema: strict({ value: Hex64 }).meta({ id: 'EventfdValue' }),
      example: { value: '0x1' },
      from: ({ data }) => ({ value: counterOf(data ?? '') }),
    },
  }),
  operation({
    operationId: 'writeEventfd',
    method: 'POST',
    path: 'eventfds/{fd}/write',
    tag: 'Processes',
    summary: 'Add to the counter of an eventfd',
    call: 'write',
    body: strict({ value: U64 }),
    bodyExample: { value: 1 },
    status: 204,
    parameters: ({ body: { value } }) => ({ length: COUNTER_BYTES, data: wordOf(value) }),
  }),
];
