/**
 * Decodes ioctls: checks that the descriptor knows the number, that the struct is large enough, and that an unknown
 * tail is zero; then the handler of the file runs. Sources: iommufd_fops_ioctl, luo_session_ioctl,
 * copy_struct_from_user.
 */
import { decodeU64, hex } from '../machine/address.ts';
import { assert, Refusal, refuse } from './errno.ts';
import type { Arg, IoctlOk, OpenFile } from './file.ts';
import type { Process } from './process.ts';
import { type ArgValue, type FieldType, type IovaRange, REQUESTS, type RequestDescriptor } from './uapi/index.ts';

/** The struct of an ioctl as requests have it: fields by name, and `tail`, the first byte behind the struct. */
type Raw = Record<string, unknown>;

/** A field that the caller gives. */
interface Input {
  name: string;
  decode: (value: unknown) => ArgValue;
  /** Its value if the caller does not give it. */
  absent: ArgValue | undefined;
  /** The size, in bytes, from which on a struct has it; 0: all have it. */
  end: number;
}

interface Request {
  descriptor: RequestDescriptor;
  inputs: readonly Input[];
  /** Fields that short structs do not have, and the byte where each ends. */
  ends: readonly (readonly [name: string, end: number])[];
}

const asNumber = (value: unknown): number => value as number;

const DECODERS: Readonly<Record<FieldType, { decode: (value: unknown) => ArgValue; absent: ArgValue | undefined }>> = {
  u8: { decode: asNumber, absent: 0 },
  u16: { decode: asNumber, absent: 0 },
  u32: { decode: asNumber, absent: 0 },
  s32: { decode: asNumber, absent: 0 },
  u64: { decode: decodeU64, absent: 0n },
  bytes: { decode: (value) => Uint8Array.fromBase64(value as string), absent: undefined },
  ranges: {
    decode: (value) =>
      (value as Record<keyof IovaRange, string>[]).map(({ start, last }) => ({
        start: decodeU64(start),
        last: decodeU64(last),
      })),
    absent: undefined,
  },
  name: { decode: (value) => value as string, absent: undefined },
  descriptors: { decode: (value) => value as number[], absent: undefined },
  hotReset: { decode: () => [], absent: undefined },
};

function prepare(descriptor: RequestDescriptor): Request {
  const { fields, ends = {} } = descriptor;
  const inputs = Object.entries(fields)
    .filter(([, { direction }]) => direction !== 'out')
    .map(([name, { type }]) => ({ name, ...DECODERS[type], end: ends[name] ?? 0 }));
  return { descriptor, inputs, ends: Object.entries(ends) };
}

const PREPARED = new Map([...REQUESTS].map(([name, descriptor]) => [name, prepare(descriptor)]));

/** Runs an ioctl that is named (`IOMMU_IOAS_MAP`), or a number (`0x3bf0`) that no request of the descriptor has. */
export function ioctl(process: Process, file: OpenFile, request: string, raw: Raw): IoctlOk | Refusal {
  const known = PREPARED.get(request);
  if (!known) return unknownRequest(file, Number.parseInt(request, 16));
  const { descriptor, ends } = known;
  if (descriptor.kind !== file.kind) return unknownRequest(file, descriptor.number);
  const early = file.beforeIoctl(descriptor);
  if (early) return early;
  const size = sizeOf(descriptor, raw);
  const refusal = checkSize(descriptor, size, Number(raw.tail ?? 0));
  if (refusal) {
    const { keeps } = descriptor;
    return keeps ? refusal.withArg({ [keeps]: decodeU64(raw[keeps] ?? 0) }) : refusal;
  }
  const handler = file.handlers[descriptor.name];
  assert(handler, `${descriptor.name} has a handler`);
  const answer = handler(file as never, decode(known, raw, size) as never, process);
  if (!(answer instanceof Refusal) && answer.arg)
    for (const [name, end] of ends) if (end > size) delete answer.arg[name];
  return answer;
}

function unknownRequest(file: OpenFile, number: number): Refusal {
  const early = file.beforeIoctl(null);
  return early ?? file.unknownIoctl(number);
}

function sizeOf(descriptor: RequestDescriptor, raw: Raw): number {
  const { sizeField, fields } = descriptor;
  const given = raw[sizeField] ?? (fields.size === undefined ? raw.size : undefined);
  if (typeof given === 'number') return given;
  return (descriptor.defaultSize ?? descriptor.size) + sizeBehind(descriptor, raw);
}

/** Bytes of what the caller gives behind the struct: base64, or an array of words of 32 bits. */
function sizeBehind({ behind = [] }: RequestDescriptor, raw: Raw): number {
  let size = 0;
  for (const name of behind) {
    const value = raw[name];
    if (typeof value === 'string') size += Uint8Array.fromBase64(value).length;
    else if (Array.isArray(value)) size += 4 * value.length;
  }
  return size;
}

function checkSize(descriptor: RequestDescriptor, size: number, tail: number): Refusal | null {
  if (descriptor.size === 0) return null;
  if (size < descriptor.minSize)
    return refuse(
      'EINVAL',
      'copy_struct_from_user',
      `${descriptor.sizeField} is ${size}, ${descriptor.name} needs ${descriptor.minSize}`,
    );
  if (descriptor.tail === 'zero' && size > descriptor.size && tail !== 0)
    return refuse(
      'E2BIG',
      'copy_struct_from_user',
      `bytes behind the ${descriptor.size} that this kernel knows are not zero`,
    );
  return null;
}

function decode({ descriptor, inputs }: Request, raw: Raw, size: number): Arg {
  const arg: Arg = {};
  for (const { name, decode: read, absent, end } of inputs) {
    if (end > size) continue;
    const value = raw[name];
    if (value !== undefined) arg[name] = read(value);
    else if (absent !== undefined) arg[name] = absent;
  }
  if (descriptor.sizeField === 'argsz') arg.argsz = size;
  return arg;
}

/** Turns what a handler wrote into plain data: u64 in hexadecimal, bytes in base64. */
export function encodeArg(arg: Record<string, unknown>): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(arg)) {
    if (typeof value === 'bigint') out[name] = hex(value);
    else if (value instanceof Uint8Array) out[name] = value.toBase64();
    else if (Array.isArray(value)) out[name] = value.map((item) => (typeof item === 'object' ? encodeArg(item) : item));
    else out[name] = value;
  }
  return out;
}
