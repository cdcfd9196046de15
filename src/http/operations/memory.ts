/** Memory of a process, anonymous or mapped from a file, and memfds. */
import { z } from 'zod';
import type { CallResult } from '../../host/command.ts';
import { FALLOCATE_MODE, MEMFD_FLAGS, MREMAP_FLAGS, PROTECTION, SEALS } from '../../kernel/uapi/bits.ts';
import { MAX_TRANSFER } from '../../limits.ts';
import { u64Text } from '../parameters.ts';
import { Base64, bits, Hex64, integer, S32_MAX, S32_MIN, strict, text, U64, u32 } from '../schemas/values.ts';
import { type CallOperation, Data, descriptorAnswer, fdField, operation } from './operation.ts';

const MappedMemory = strict({ address: Hex64 }).meta({ id: 'MappedMemory' });
const Count = strict({ count: z.int().meta({ description: 'Bytes written.' }) }).meta({ id: 'Count' });
const offsetQuery = strict({ offset: u64Text('First byte of the file.', '0x0').default('0x0') });
const lengthText = () => u64Text(`Bytes, at most ${MAX_TRANSFER >> 20} MiB.`, '4096');

const mappedAnswer = (description: string) => ({
  description,
  schema: MappedMemory,
  example: { address: '0x7f0000000000' },
  from: ({ ret }: CallResult) => ({ address: ret }),
});

export const MEMORY_OPERATIONS: readonly CallOperation[] = [
  operation({
    operationId: 'mapProcessMemory',
    method: 'POST',
    path: 'memory',
    tag: 'Processes',
    summary: 'Map memory into the process',
    description:
      'At exactly this address. Anonymous memory that can be stored to is faulted in: the first byte of each 4 KiB is 1.',
    call: 'mmap',
    body: strict({
      address: U64.meta({ description: 'A multiple of 4096.' }),
      length: U64.meta({ description: 'Bytes.' }),
      huge: z.literal('2M').meta({ description: 'Pages of 2 MiB.' }).optional(),
      fd: fdField('A descriptor to map instead of anonymous memory.').optional(),
      offset: U64.meta({ description: 'First byte of the file.' }).optional(),
      shared: z.boolean().meta({ description: 'MAP_SHARED instead of MAP_PRIVATE.' }).optional(),
      prot: bits(u32(), PROTECTION, '3 if not given.').optional(),
      fixed: z
        .boolean()
        .meta({ description: 'MAP_FIXED: in place of what is mapped there. MAP_FIXED_NOREPLACE if not given.' })
        .optional(),
    }),
    bodyExample: { address: '0x7f0000000000', length: '0x200000' },
    status: 201,
    parameters: ({ body: { address, ...rest } }) => ({ addr: address, ...rest }),
    answer: mappedAnswer('The memory is there.'),
  }),
  operation({
    operationId: 'remapProcessMemory',
    method: 'POST',
    path: 'memory/{address}/remap',
    tag: 'Processes',
    summary: 'Move memory of the process, or change its length',
    call: 'mremap',
    body: strict({
      oldLength: U64.meta({ description: 'Bytes; 0 doubles a shared mapping.' }),
      newLength: U64.meta({ description: 'Bytes.' }),
      flags: bits(u32(), MREMAP_FLAGS, 'Flags.').prefault(0),
      newAddress: U64.meta({ description: 'With FIXED; without it a hint.' }).optional(),
    }),
    bodyExample: { oldLength: '0x200000', newLength: '0x400000' },
    status: 200,
    parameters: ({ params, body: { oldLength, newLength, flags, newAddress } }) => ({
      addr: params.address,
      old_length: oldLength,
      new_length: newLength,
      flags,
      ...(newAddress !== undefined && { new_addr: newAddress }),
    }),
    answer: mappedAnswer('Where the memory is now.'),
  }),
  operation({
    operationId: 'protectProcessMemory',
    method: 'PUT',
    path: 'memory/{address}/protection',
    tag: 'Processes',
    summary: 'Change what the process may do with its memory',
    call: 'mprotect',
    body: strict({ length: U64.meta({ description: 'Bytes.' }), prot: bits(u32(), PROTECTION, 'From now on.') }),
    bodyExample: { length: '0x200000', prot: ['PROT_READ'] },
    status: 204,
    parameters: ({ params, body }) => ({ addr: params.address, length: body.length, prot: body.prot }),
  }),
  operation({
    operationId: 'unmapProcessMemory',
    method: 'DELETE',
    path: 'memory',
    tag: 'Processes',
    summary: 'Unmap memory of the process',
    call: 'munmap',
    query: strict({
      address: u64Text('Address.', '0x7f0000000000'),
      length: u64Text('Bytes.', '0x200000'),
    }),
    status: 204,
    parameters: ({ query }) => ({ addr: query.address, length: query.length }),
  }),
  operation({
    operationId: 'readProcessMemory',
    method: 'GET',
    path: 'memory/{address}',
    tag: 'Processes',
    summary: 'Read memory of the process',
    call: 'peek',
    query: strict({ length: lengthText() }),
    status: 200,
    parameters: ({ params, query }) => ({ addr: params.address, length: query.length }),
    answer: { description: 'The bytes.', schema: Data, example: { data: 'AQAAAA==' }, from: ({ data }) => ({ data }) },
  }),
  operation({
    operationId: 'writeProcessMemory',
    method: 'PUT',
    path: 'memory/{address}',
    tag: 'Processes',
    summary: 'Write memory of the process',
    call: 'poke',
    body: strict({ data: Base64 }),
    bodyExample: { data: 'SGVsbG8=' },
    status: 204,
    parameters: ({ params, body }) => ({ addr: params.address, data: body.data }),
  }),
  operation({
    operationId: 'createMemfd',
    method: 'POST',
    path: 'memfds',
    tag: 'Processes',
    summary: 'Make a memfd',
    call: 'memfd_create',
    body: strict({
      name: text(249, 'For people.').default('memfd'),
      size: U64.meta({ description: 'Bytes.' }),
      flags: bits(u32(), MEMFD_FLAGS, 'Flags.').prefault(0),
    }),
    bodyExample: { name: 'ram', size: '0x4000000', flags: ['MFD_ALLOW_SEALING'] },
    status: 201,
    parameters: ({ body }) => body,
    answer: descriptorAnswer('A descriptor of the memfd.'),
  }),
  operation({
    operationId: 'getMemfd',
    method: 'GET',
    path: 'memfds/{fd}',
    tag: 'Processes',
    summary: 'The size of a memfd',
    call: 'fstat',
    status: 200,
    answer: {
      description: 'Its size in bytes.',
      schema: strict({ size: Hex64 }).meta({ id: 'MemfdSize' }),
      example: { size: '0x4000000' },
      from: ({ size }) => ({ size }),
    },
  }),
  operation({
    operationId: 'resizeMemfd',
    method: 'PUT',
    path: 'memfds/{fd}/size',
    tag: 'Processes',
    summary: 'Change the size of a memfd',
    call: 'ftruncate',
    body: strict({ length: U64.meta({ description: 'Bytes.' }) }),
    bodyExample: { length: '0x8000000' },
    status: 204,
    parameters: ({ body }) => ({ length: body.length }),
  }),
  operation({
    operationId: 'getSeals',
    method: 'GET',
    path: 'memfds/{fd}/seals',
    tag: 'Processes',
    summary: 'The seals of a memfd',
    call: 'get_seals',
    status: 200,
    answer: {
      description: 'The seals, as bits.',
      schema: strict({ seals: z.int() }).meta({ id: 'Seals' }),
      example: { seals: 7 },
      from: ({ ret }) => ({ seals: ret }),
    },
  }),
  operation({
    operationId: 'addSeals',
    method: 'POST',
    path: 'memfds/{fd}/seals',
    tag: 'Processes',
    summary: 'Seal a memfd',
    call: 'add_seals',
    body: strict({
      seals: bits(u32(), SEALS, 'Seals.'),
    }),
    bodyExample: { seals: ['F_SEAL_SEAL', 'F_SEAL_SHRINK', 'F_SEAL_GROW'] },
    status: 204,
    parameters: ({ body }) => ({ seals: body.seals }),
  }),
  operation({
    operationId: 'allocateInMemfd',
    method: 'POST',
    path: 'memfds/{fd}/allocations',
    tag: 'Processes',
    summary: 'Allocate or punch a range of a memfd',
    call: 'fallocate',
    body: strict({
      mode: bits(u32(), FALLOCATE_MODE, 'Mode.').prefault(0),
      offset: U64.meta({ description: 'First byte.' }),
      length: U64.meta({ description: 'Bytes.' }),
    }),
    bodyExample: { mode: 0, offset: 0, length: '0x1000' },
    status: 204,
    parameters: ({ body }) => body,
  }),
  operation({
    operationId: 'seekMemfd',
    method: 'PUT',
    path: 'memfds/{fd}/position',
    tag: 'Processes',
    summary: 'Move the position in a memfd',
    call: 'lseek',
    body: strict({
      offset: U64.meta({ description: 'Bytes.' }),
      whence: integer(S32_MIN, S32_MAX)
        .meta({ description: '0: from the start, 1: from here, 2: from the end, 3: to data, 4: to a hole.' })
        .default(0),
    }),
    bodyExample: { offset: '0x1000', whence: 0 },
    status: 200,
    parameters: ({ body }) => body,
    answer: {
      description: 'The new position.',
      schema: strict({
        position: z.union([z.int(), Hex64]).meta({ description: 'Hexadecimal from 2^53 on.' }),
      }).meta({ id: 'FilePosition' }),
      example: { position: 4096 },
      from: ({ ret }) => ({ position: ret }),
    },
  }),
  operation({
    operationId: 'readMemfd',
    method: 'GET',
    path: 'memfds/{fd}/data',
    tag: 'Processes',
    summary: 'Read from a memfd',
    call: 'pread',
    query: strict({ offset: u64Text('First byte of the file.', '0x0').default('0x0'), length: lengthText() }),
    status: 200,
    parameters: ({ query }) => query,
    answer: {
      description: 'The bytes; fewer than asked for at the end of the file.',
      schema: strict({ data: Base64, count: z.int() }).meta({ id: 'FileData' }),
      example: { data: 'SGVsbG8=', count: 5 },
      from: ({ data, ret }) => ({ data, count: ret }),
    },
  }),
  operation({
    operationId: 'writeMemfd',
    method: 'PUT',
    path: 'memfds/{fd}/data',
    tag: 'Processes',
    summary: 'Write to a memfd',
    call: 'pwrite',
    query: offsetQuery,
    body: strict({ data: Base64 }),
    bodyExample: { data: 'SGVsbG8=' },
    status: 200,
    parameters: ({ query, body }) => ({ offset: query.offset, data: body.data }),
    answer: {
      description: 'How much was written.',
      schema: Count,
      example: { count: 5 },
      from: ({ ret }) => ({ count: ret }),
    },
  }),
];
