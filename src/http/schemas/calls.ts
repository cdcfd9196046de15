/**
 * The `calls` face: a schema for every call and every request, made from the tables of src/kernel/uapi. `call` and
 * `request` select the schema of a call; trying one after another would be slow, as lists of calls are long.
 */
import { z } from 'zod';
import type { CallInput } from '../../host/command.ts';
import { CALLS, type CallDescriptor, type Parameter } from '../../kernel/uapi/calls.ts';
import { type Field, type FieldType, REQUESTS, type RequestDescriptor } from '../../kernel/uapi/index.ts';
import { MAX_CALLS, MAX_RANGES, MAX_RESPONSES, PATH_MAX } from '../../limits.ts';
import {
  Base64,
  bits,
  ErrnoName,
  expected,
  Hex64,
  integer,
  NameBytes,
  RangeInput,
  S32_MIN,
  s32,
  strict,
  text,
  told,
  U32_MAX,
  U64,
  u16,
  u32,
} from './values.ts';

const FIELD_TYPES: Record<FieldType, () => z.ZodType> = {
  u8: () => integer(0, 0xff),
  u16,
  u32,
  s32,
  u64: () => U64,
  ranges: () => z.array(RangeInput).max(MAX_RANGES),
  bytes: () => Base64,
  name: () => NameBytes,
  descriptors: () => z.array(s32()).max(MAX_RESPONSES),
  hotReset: () => z.array(z.never()),
};

const DESCRIPTORS = ['fd', 'to', 'access'];

const PageResponse = strict({ cookie: u32(), code: u32() }).meta({ id: 'PageResponse' });

function parameterType(name: string, { type, about, bits: known }: Parameter): z.ZodType {
  if (known !== undefined) return bits(integer(S32_MIN, U32_MAX), known, about);
  switch (type) {
    case 'int':
      // A descriptor may be negative (EBADF); other numbers are signed or not, as the call has it.
      return DESCRIPTORS.includes(name) ? s32() : integer(S32_MIN, U32_MAX);
    case 'u64':
      return U64;
    case 'bytes':
      return Base64;
    case 'string':
      return text(PATH_MAX, about);
    case 'boolean':
      return z.boolean();
    case 'responses':
      return z.array(PageResponse).max(MAX_RESPONSES);
  }
}

function callSchema({ name, about, parameters }: CallDescriptor) {
  const fields = Object.entries(parameters).map(([field, parameter]) => {
    const type = parameterType(field, parameter);
    const schema = parameter.bits === undefined ? type.meta({ description: parameter.about }) : type;
    return [field, parameter.optional ? schema.optional() : schema];
  });
  return strict({ call: z.literal(name), ...Object.fromEntries(fields) }).meta({
    id: `Call_${name}`,
    description: about,
  });
}

function fieldType({ type, about, bits: known }: Field) {
  const schema = known === undefined ? FIELD_TYPES[type]().meta({ description: about }) : bits(u32(), known, about);
  return schema.optional();
}

/** The field that replaces the size of the struct, as a program built for another kernel would send it. */
function sizeFields({ sizeField, size, fields }: RequestDescriptor): Record<string, z.ZodType> {
  const about = `Size of the struct, instead of ${size}.`;
  return {
    ...(fields[sizeField] === undefined ? { [sizeField]: u32().meta({ description: about }).optional() } : {}),
    ...(fields.size === undefined ? { size: u32().meta({ description: about }).optional() } : {}),
    tail: integer(0, 0xff).meta({ description: 'First byte behind the struct.' }).optional(),
  };
}

function ioctlSchema(descriptor: RequestDescriptor) {
  const { name, about, fields } = descriptor;
  const given = Object.entries(fields).filter(([, { direction }]) => direction !== 'out');
  const argument = strict({
    ...Object.fromEntries(given.map(([field, type]) => [field, fieldType(type)])),
    ...sizeFields(descriptor),
  });
  return strict({
    call: z.literal('ioctl'),
    fd: s32(),
    request: z.literal(name),
    arg: argument.meta({ description: 'Fields that are not given are 0.' }).optional(),
  }).meta({ id: `Ioctl_${name}`, description: about });
}

type Discriminated = ReturnType<typeof callSchema>;

const REQUEST_RULE = 'the name of a request, such as IOMMU_IOAS_ALLOC, or the number of an ioctl, such as "0x3bf0"';

const KnownIoctl = z
  .discriminatedUnion('request', [...REQUESTS.values()].map(ioctlSchema) as unknown as [Discriminated], {
    error: told('request', REQUEST_RULE),
  })
  .meta({ id: 'Ioctl' });

/** An ioctl by any number: it is answered as a request that the descriptor does not know. */
const RawIoctl = strict({
  call: z.literal('ioctl'),
  fd: s32(),
  request: z.string().regex(/^0x[0-9a-fA-F]{1,8}$/, { error: expected(REQUEST_RULE), abort: true }),
  arg: strict({
    size: u32().optional(),
    argsz: u32().optional(),
    tail: integer(0, 0xff).optional(),
  }).optional(),
}).meta({ id: 'RawIoctl', description: 'An ioctl by its number, with 256 zero bytes that begin with the size 8.' });

const callNames = ['ioctl', ...CALLS.keys()].join(', ');

const KnownCall = z.discriminatedUnion(
  'call',
  [KnownIoctl as unknown as Discriminated, ...[...CALLS.values()].map(callSchema)],
  { error: told('call', `one of ${callNames}`) },
);

/** Any call. Schemas made from tables have no types of their own: the type is the kernel's `CallInput`. */
const Call = z
  .union([KnownCall, RawIoctl])
  .meta({ id: 'Call', description: 'One system call.' }) as unknown as z.ZodType<CallInput, CallInput>;

export const CallsInput = strict({
  calls: z
    .array(Call, { error: expected('an array of calls') })
    .max(MAX_CALLS, { error: `at most ${MAX_CALLS} calls in a request` }),
  stopOnError: z.boolean().meta({ description: 'Stop behind the first call that fails.' }).optional(),
  stop_on_error: z
    .boolean()
    .meta({ deprecated: true, description: 'As `stopOnError`, which it was before.' })
    .optional(),
})
  .refine(
    ({ stopOnError: now, stop_on_error: before }) => now === undefined || before === undefined || now === before,
    {
      path: ['stop_on_error'],
      error: 'says the opposite of stopOnError, which it was before: leave it out',
    },
  )
  .meta({ id: 'CallsInput' });

const CallResult = strict({
  ret: z.union([z.int(), z.string()]).meta({ description: '-1: refused. A string for the address of mmap only.' }),
  errno: ErrnoName.optional(),
  where: z.string().meta({ description: 'The kernel function that refuses.' }).optional(),
  why: z.string().meta({ description: 'What would help.' }).optional(),
  rule: z.string().meta({ description: 'The rule of the design that decides.' }).optional(),
  signal: z
    .enum(['SIGSEGV', 'SIGBUS'])
    .meta({ description: 'Of `peek` and `poke`: what the program would be sent.' })
    .optional(),
  arg: z.record(z.string(), z.unknown()).meta({ description: 'What the kernel wrote into the struct.' }).optional(),
  data: Base64.optional(),
  size: Hex64.optional(),
  faults: z.array(z.unknown()).optional(),
  events: z.array(z.unknown()).optional(),
}).meta({ id: 'CallResult' });

export const CallsAnswer = strict({
  results: z.array(CallResult).meta({ description: 'In the order of the calls; fewer if one stopped the rest.' }),
}).meta({ id: 'CallsAnswer' });
