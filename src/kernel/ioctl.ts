/**
 * Decoding of ioctls: one place for what is the same for all of them. Which number a descriptor knows, whether the
 * struct is large enough, whether an unknown tail is zero; then the handler of the file. Sources:
 * iommufd_fops_ioctl, luo_session_ioctl, copy_struct_from_user.
 */
import { Refusal, refuse } from './errno.ts';
import type { Arg, IoctlOk, OpenFile } from './file.ts';
import type { Kernel } from './kernel.ts';
import type { Process } from './process.ts';
import { type ArgValue, type FieldType, type IovaRange, REQUESTS, type RequestDescriptor } from './uapi/index.ts';

/** Bytes that a raw request finds in its struct: a size of 8 and zeroes. */
type Raw = Record<string, unknown>;

/** Answers an ioctl by name (`IOMMU_IOAS_MAP`) or by a number (`0x3bf0`) that no request of the descriptor has. */
export function ioctl(kernel: Kernel, process: Process, file: OpenFile, request: string, raw: Raw): IoctlOk | Refusal {
  const descriptor = REQUESTS.get(request);
  if (!descriptor) return unknownRequest(file, Number.parseInt(request, 16));
  if (descriptor.kind !== file.kind) return unknownRequest(file, descriptor.number);
  const early = file.beforeIoctl(descriptor);
  if (early) return early;
  const size = sizeOf(descriptor, raw);
  const refusal = checkSize(descriptor, size, Number(raw.tail ?? 0));
  if (refusal) {
    const { keeps } = descriptor;
    return keeps ? refusal.withArg({ [keeps]: decodeU64(raw[keeps] ?? 0) }) : refusal;
  }
  const answer = file.ioctl(kernel, process, descriptor, decode(descriptor, raw, size));
  if (!(answer instanceof Refusal) && descriptor.ends && answer.arg)
    for (const [name, end] of Object.entries(descriptor.ends)) if (end > size) delete answer.arg[name];
  return answer;
}

function unknownRequest(file: OpenFile, number: number): Refusal {
  const early = file.beforeIoctl(null);
  return early ?? file.unknownIoctl(number);
}

function sizeOf(descriptor: RequestDescriptor, raw: Raw): number {
  const given = raw[descriptor.sizeField];
  return typeof given === 'number' ? given : (descriptor.defaultSize ?? descriptor.size);
}

function checkSize(descriptor: RequestDescriptor, size: number, tail: number): Refusal | null {
  if (descriptor.size === 0) return null;
  if (size < descriptor.minSize)
    return refuse(
      'EINVAL',
      'copy_struct_from_user',
      `${descriptor.sizeField} is ${size}, ${descriptor.name} needs ${descriptor.minSize}`,
    );
  // VFIO ignores what lies behind its structs, except in BIND, which copies like the newer interfaces.
  const strict =
    descriptor.sizeField === 'size' &&
    (descriptor.kind !== 'vfio-cdev' || descriptor.name === 'VFIO_DEVICE_BIND_IOMMUFD');
  if (strict && size > descriptor.size && tail !== 0)
    return refuse(
      'E2BIG',
      'copy_struct_from_user',
      `bytes behind the ${descriptor.size} that this kernel knows are not zero`,
    );
  return null;
}

function decode(descriptor: RequestDescriptor, raw: Raw, size: number): Arg {
  const arg: Arg = {};
  for (const [name, { type, direction }] of Object.entries(descriptor.fields)) {
    if (direction === 'out') continue;
    const end = descriptor.ends?.[name];
    if (end !== undefined && end > size) continue;
    const value = raw[name];
    if (value !== undefined) arg[name] = decodeValue(type, value);
    else if (end !== undefined && type === 'u32') arg[name] = 0;
  }
  if (descriptor.sizeField === 'argsz') arg.argsz = size;
  return arg;
}

export function decodeU64(value: unknown): bigint {
  return BigInt(value as string | number);
}

function decodeValue(type: FieldType, value: unknown): ArgValue {
  switch (type) {
    case 'u64':
      return decodeU64(value);
    case 'bytes':
      return Uint8Array.fromBase64(value as string);
    case 'ranges':
      return (value as Record<keyof IovaRange, string>[]).map(({ start, last }) => ({
        start: decodeU64(start),
        last: decodeU64(last),
      }));
    case 'name':
      return value as string;
    default:
      return value as number;
  }
}

export const hex = (value: bigint | number): string => `0x${value.toString(16)}`;

/** The plain data of what a handler wrote. */
export function encodeArg(arg: Record<string, unknown>): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(arg)) {
    if (typeof value === 'bigint') out[name] = hex(value);
    else if (value instanceof Uint8Array) out[name] = value.toBase64();
    else if (Array.isArray(value))
      out[name] = value.map(({ start, last }: IovaRange) => ({ start: hex(start), last: hex(last) }));
    else out[name] = value;
  }
  return out;
}
