/**
 * The `calls` face: a schema for every call and every request, made from the tables of src/kernel/uapi. `call` and
 * `request` select the schema of a call; trying one after another would be slow, as lists of calls are long.
 */
import { z } from 'zod';
import type { CallInput } from '../../host/command.ts';
import { POLL_EVENTS } from '../../kernel/uapi/bits.ts';
import { CALLS, type CallDescriptor, type CallName, type Parameter } from '../../kernel/uapi/calls.ts';
import { ERRNOS } from '../../kernel/uapi/errnos.ts';
import {
  type Field,
  type FieldType,
  REQUESTS,
  type RequestDescriptor,
  type RequestName,
} from '../../kernel/uapi/index.ts';
import { MAX_CALLS, MAX_MEMORY_PIECES, MAX_POLLED, MAX_RANGES, MAX_RESPONSES, PATH_MAX } from '../../limits.ts';
import {
  Base64,
  bits,
  ErrnoName,
  expected,
  Hex64,
  integer,
  NameBytes,
  oneOf,
  pascal,
  Range,
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

export const PollDescriptor = strict({
  fd: s32(),
  events: bits(u16(), POLL_EVENTS, 'What is asked of it.'),
}).meta({ id: 'PollDescriptor' });

function parameterType(name: string, { type, about, bits: known, names }: Parameter): z.ZodType {
  if (names !== undefined) return oneOf(integer(S32_MIN, U32_MAX), names, about);
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
    case 'polls':
      return z.array(PollDescriptor).max(MAX_POLLED);
  }
}

export function parameterSchema(name: string, parameter: Parameter): z.ZodType {
  const { bits: known, names, about, optional } = parameter;
  const type = parameterType(name, parameter);
  const schema = known === undefined && names === undefined ? type.meta({ description: about }) : type;
  return optional ? schema.optional() : schema;
}

/** What a call or request can be refused with, in a sentence. Empty if it cannot. */
export function toldErrnos(name: CallName | RequestName): string {
  const errnos = ERRNOS[name];
  return errnos.length === 0 ? '' : `Errnos: ${errnos.map((errno) => `\`${errno}\``).join(', ')}.`;
}

function callSchema({ name, about, parameters }: CallDescriptor) {
  const fields = Object.entries(parameters).map(([field, parameter]) => [field, parameterSchema(field, parameter)]);
  return strict({ call: z.literal(name), ...Object.fromEntries(fields) }).meta({
    id: `Call${pascal(name)}`,
    description: `${about.replace(/[^.]$/, '$&.')} ${toldErrnos(name as CallName)}`.trimEnd(),
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
  }).meta({ id: `Ioctl${pascal(name)}`, description: `${about} ${toldErrnos(name)}` });
}

type Discriminated = ReturnType<typeof callSchema>;

const REQUEST_RULE =
  'the name of a request, such as IOMMU_IOAS_ALLOC; with `bytes` or `argument`, or as `raw_ioctl`, also a number such as "0x3bf0"';

const KnownIoctl = z.discriminatedUnion(
  'request',
  [...REQUESTS.values()].map(ioctlSchema) as unknown as [Discriminated],
  { error: told('request', REQUEST_RULE) },
);

const NUMBER_RULE = expected('the number of an ioctl, such as "0x3bf0"');

const RAW_FIELDS = {
  fd: s32(),
  request: z.string({ error: NUMBER_RULE }).regex(/^0x[0-9a-fA-F]{1,8}$/, { error: NUMBER_RULE, abort: true }),
  arg: strict({
    size: u32().optional(),
    argsz: u32().optional(),
    tail: integer(0, 0xff).optional(),
  }).optional(),
};

/**
 * An ioctl by any number, with nothing but a size: what it is depends on the descriptor alone. It has a name of its own, so
 * that the compiler of a client finds a request whose name is mistyped.
 */
const RawIoctl = strict({ call: z.literal('raw_ioctl'), ...RAW_FIELDS })
  .transform((call) => ({ ...call, call: 'ioctl' }))
  .meta({
    id: 'RawIoctl',
    description: 'An ioctl by its number, with zeroes behind the size of the struct, which is 8 if it is not given.',
  });

/** The same by the name that it had: what was written for that goes on, and the document does not tell of it. */
const NamelessIoctl = strict({ call: z.literal('ioctl'), ...RAW_FIELDS })
  // What has other fields is another form of ioctl, whose errors are to be told then.
  .check(({ issues }) => {
    for (const [index, issue] of issues.entries())
      if (issue.code === 'unrecognized_keys') issues[index] = { ...issue, continue: false };
  })
  .meta({ unlisted: true });

const RequestCode = z
  .union(
    [
      z.enum([...REQUESTS.keys()]),
      z.string().regex(/^0x[0-9a-fA-F]{1,8}$/, { error: expected(REQUEST_RULE), abort: true }),
      u32(),
    ],
    { error: expected(REQUEST_RULE) },
  )
  .meta({
    id: 'RequestCode',
    description: 'The number of an ioctl, as `0x3b85` or 15237, or the name of a request.',
    examples: ['0x3b85', 15237],
  });

const MemoryBytes = strict({
  address: U64.meta({ description: 'Address of the first byte in the program.' }),
  bytes: Base64,
}).meta({ id: 'MemoryBytes', description: "Bytes of the program's memory." });

const memory = z
  .array(MemoryBytes)
  .max(MAX_MEMORY_PIECES)
  .meta({
    description: 'What pointers lead to that is not in the simulated process. Of pieces that overlap the first counts.',
  })
  .optional();
const IOCTL_BYTES = { call: z.literal('ioctl'), fd: s32(), request: RequestCode, memory };

/** An ioctl as a program makes it: a number, and the bytes of its struct. */
const IoctlBytes = strict({
  ...IOCTL_BYTES,
  bytes: Base64.meta({ description: 'The struct: what the argument of the ioctl points to.' }),
}).meta({
  id: 'IoctlBytes',
  description:
    "An ioctl with the bytes of a program's own struct, as the headers of Linux lay it out. The answer has them as they are then.",
  examples: [{ call: 'ioctl', fd: 3, request: '0x3b81', bytes: 'DAAAAAAAAAAAAAAA' }],
});

const IoctlArgument = strict({
  ...IOCTL_BYTES,
  argument: U64.meta({ description: 'A number, or an address in `memory` or in the simulated process.' }),
}).meta({
  id: 'IoctlArgument',
  description: 'An ioctl with its argument as it is: a number, or the address of the struct.',
  examples: [{ call: 'ioctl', fd: 3, request: '0x3b65', argument: 3 }],
});

const callNames = ['ioctl', 'raw_ioctl', ...CALLS.keys()].join(', ');

const KnownCall = z.discriminatedUnion(
  'call',
  [
    KnownIoctl as unknown as Discriminated,
    RawIoctl as unknown as Discriminated,
    ...[...CALLS.values()].map(callSchema),
  ],
  { error: told('call', `one of ${callNames}`) },
);

/** Any call. Schemas made from tables have no types of their own: the type is the kernel's `CallInput`. */
const Call = z
  .union([KnownCall, NamelessIoctl, IoctlBytes, IoctlArgument])
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

const DependentDevice = strict({
  devid: s32().meta({ description: 'Of a device that is open by its cdev.' }).optional(),
  group_id: u32().optional(),
  segment: u16(),
  bus: integer(0, 0xff),
  devfn: integer(0, 0xff),
}).meta({ id: 'DependentDevice', description: 'struct vfio_pci_dependent_device.' });

/** As answers have them. */
const WRITTEN_TYPES: Partial<Record<FieldType, () => z.ZodType>> = {
  u64: () => Hex64,
  ranges: () => z.array(Range),
  name: () => z.string(),
  hotReset: () => z.array(DependentDevice),
};

/** Which requests write a field, and what it is. */
function writtenFields(): Record<string, z.ZodType> {
  const written = [...REQUESTS.values()].flatMap(({ name, fields }) =>
    Object.entries(fields)
      .filter(([, { direction }]) => direction !== 'in')
      .map(([field, { type, about }]) => ({ request: name, field, type, about })),
  );
  const byName = Map.groupBy(written, ({ field }) => field);
  return Object.fromEntries(
    [...byName].map(([field, all]) => {
      const { type } = all[0]!;
      const meanings = all.map(({ request, about }) => `${request}: ${about}`);
      const schema = (WRITTEN_TYPES[type] ?? FIELD_TYPES[type])();
      return [field, schema.meta({ description: meanings.join(' ') }).optional()];
    }),
  );
}

const Written = strict(writtenFields()).meta({
  id: 'WrittenFields',
  description: 'What the kernel has written into the struct, by the names of its fields.',
});

const struct = {
  arg: Written.optional(),
  bytes: Base64.meta({
    description:
      'Of an ioctl with bytes: the struct as the kernel left it. Not there if a refused one has written nothing.',
  }).optional(),
  memory: z
    .array(strict({ address: Hex64, bytes: Base64 }))
    .meta({ description: 'The pieces of `memory` that the kernel wrote to, whole.' })
    .optional(),
};

const QueuedFault = strict({
  flags: u32(),
  dev_id: u32(),
  pasid: u32(),
  grpid: u32(),
  perm: u32(),
  addr: Hex64,
  length: u32(),
  cookie: u32(),
}).meta({ id: 'QueuedFault', description: 'struct iommu_hwpt_pgfault.' });

const QueuedEvent = strict({ flags: u32(), sequence: u32(), virt_id: u32().optional() }).meta({
  id: 'QueuedEvent',
  description: 'struct iommufd_vevent_header, and the virtual id behind it.',
});

const CallReturned = strict({
  ret: z.union([z.int(), Hex64]).meta({ description: 'A string for the address of mmap only.' }),
  ...struct,
  data: Base64.optional(),
  size: Hex64.optional(),
  faults: z.array(QueuedFault).optional(),
  events: z.array(QueuedEvent).optional(),
  revents: z.array(z.int()).meta({ description: 'Of `poll`: bits for each descriptor.' }).optional(),
}).meta({ id: 'CallReturned', description: 'What a call has returned.' });

const CallRefused = strict({
  ret: z.literal(-1),
  errno: ErrnoName,
  where: z.string().meta({ description: 'The kernel function that refuses.' }),
  why: z.string().meta({ description: 'What would help.' }),
  rule: z.string().meta({ description: 'The rule of the design that decides.' }).optional(),
  fault: z.int().meta({ description: 'The fault that was armed and has struck.' }).optional(),
  signal: z
    .enum(['SIGSEGV', 'SIGBUS'])
    .meta({ description: 'Of `peek` and `poke`: what the program would be sent.' })
    .optional(),
  ...struct,
}).meta({ id: 'CallRefused', description: 'Why a call was refused. Only these have `errno`.' });

const CallResult = z.union([CallRefused, CallReturned]).meta({ id: 'CallResult' });

export const CallsAnswer = strict({
  results: z.array(CallResult).meta({ description: 'In the order of the calls; fewer if one stopped the rest.' }),
}).meta({ id: 'CallsAnswer' });
