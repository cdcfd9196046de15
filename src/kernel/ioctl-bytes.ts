/**
 * Structs of ioctls as the bytes that a program has, by the layouts of src/kernel/uapi: read before the handler runs, and
 * written back behind it (copy_struct_from_user, iommufd_ucmd_respond).
 */

import { MAX_RAW_RANGES, MAX_TRANSFER } from '../limits.ts';
import { hex, PAGE_SIZE } from '../machine/address.ts';
import { Refusal, refuse } from './errno.ts';
import type { Arg } from './file.ts';
import { checkLeast, checkTail, type Given, type StructSource } from './ioctl-struct.ts';
import type { ArgValue, DependentDevice, FieldType, IovaRange, RequestDescriptor } from './uapi/index.ts';
import {
  ELEMENT_BYTES,
  endOf,
  isScalarType,
  type Layout,
  type Place,
  type Scalar,
  type WIDTHS,
} from './uapi/layout.ts';
import { STRUCTS } from './uapi/structs.ts';
import { type Argument, fault, type UserMemory } from './user-memory.ts';

const SIZE_BYTES = 4;
/** The most bytes that are read from behind a header. */
const MAX_BEHIND = 65_536;

/** Bytes of all arrays and buffers, a page each or less, but these. */
const MOST: Partial<Record<FieldType, number>> = { ranges: MAX_RAW_RANGES * ELEMENT_BYTES.ranges };

export class BytesStruct implements StructSource {
  private readonly _argument: Argument;
  private readonly _memory: UserMemory;
  /** The struct as it was read. */
  private _head: Uint8Array = new Uint8Array();

  constructor(argument: Argument, memory: UserMemory) {
    this._argument = argument;
    this._memory = memory;
  }

  sizeMissing({ size }: RequestDescriptor): Refusal | null {
    if (size === 0 || this._argument.read(0, SIZE_BYTES).length === SIZE_BYTES) return null;
    return fault('the size of the struct, its first word, cannot be read', 'get_user');
  }

  read(descriptor: RequestDescriptor): Given | Refusal {
    const size = this._readHead(descriptor);
    if (size instanceof Refusal) return size;
    const arg = this._decode(descriptor, size);
    return arg instanceof Refusal ? arg : { arg, size };
  }

  write(descriptor: RequestDescriptor, { size }: Given, out: Record<string, unknown>, done: boolean): Refusal | null {
    const { places, zeroes } = STRUCTS[descriptor.name] as Layout;
    const scalars: [at: number, bytes: Uint8Array][] = [];
    for (const [name, value] of Object.entries(out)) {
      const place = places[name] ?? { at: 0 };
      const type = descriptor.fields[name]?.type ?? 'u32';
      const end = endOf(place, type);
      if (!isScalarType(type)) {
        if (!this._writeElsewhere(place, bytesOf(type, value as ArgValue)))
          return fault(`${name} cannot be written`, 'copy_to_user');
      } else {
        const { at } = place as Scalar;
        const bytes = scalarBytes(value as ArgValue, end - at);
        if (at < size) scalars.push([at, bytes.subarray(0, size - at)]);
      }
    }
    const [from, to] = zeroes ?? [0, 0];
    if (done && from < Math.min(to, size)) scalars.push([from, new Uint8Array(Math.min(to, size) - from)]);
    for (const [at, bytes] of scalars)
      if (!this._argument.write(at, bytes)) return fault('the struct cannot be written', 'copy_to_user');
    return null;
  }

  /** Reads the struct as far as the kernel knows it. Returns its size in bytes as the program says it. */
  private _readHead(descriptor: RequestDescriptor): number | Refusal {
    const { size: known, minSize, tail } = descriptor;
    if (known === 0) return this._readPlain(descriptor);
    // VFIO copies the least first and looks at the size in it then; the others look at the size first.
    const first = tail === 'zero' ? SIZE_BYTES : minSize;
    const start = this._argument.read(0, first);
    if (start.length < first) return fault(`the struct has ${start.length} bytes, ${first} are read`);
    const size = new DataView(start.buffer, start.byteOffset).getUint32(0, true);
    const refusal = checkLeast(descriptor, size) ?? (tail === 'zero' ? this._checkTail(descriptor, size) : null);
    if (refusal) return refusal;
    const head = this._argument.read(0, Math.min(size, known));
    if (head.length < Math.min(size, known) && tail === 'zero')
      return fault(`the struct ends behind ${head.length} of its ${size} bytes`);
    const writes = Object.values(descriptor.fields).some(({ direction }) => direction !== 'in');
    if (writes && !this._argument.writable(head.length)) return fault('the struct cannot be written', 'copy_to_user');
    // What a short struct lacks is 0, also of a field of which it has a part. VFIO reads no more than it asks for.
    this._head = tail === 'zero' ? new Uint8Array(known) : head;
    this._head.set(head);
    return size;
  }

  /** What an argument without a size points to. */
  private _readPlain(descriptor: RequestDescriptor): number | Refusal {
    const { places } = STRUCTS[descriptor.name] as Layout;
    const ends = Object.entries(descriptor.fields).map(([name, { type }]) => endOf(places[name]!, type));
    const reach = Math.max(0, ...ends);
    this._head = this._argument.read(0, reach);
    return this._head.length < reach ? fault('the argument cannot be read', 'get_user') : 0;
  }

  /** check_zeroed_user: E2BIG a byte behind the struct that is not 0; EFAULT where it ends before it is read whole. */
  private _checkTail(descriptor: RequestDescriptor, size: number): Refusal | null {
    const { size: known } = descriptor;
    const rest = Math.max(size - known, 0);
    const tail = this._argument.read(known, Math.min(rest, MAX_TRANSFER));
    const refusal = checkTail(descriptor, size, tail.find((byte) => byte !== 0) ?? 0);
    if (refusal || tail.length === rest) return refusal;
    return fault(`the struct ends behind ${known + tail.length} of its ${size} bytes`);
  }

  private _decode(descriptor: RequestDescriptor, size: number): Arg | Refusal {
    const { places } = STRUCTS[descriptor.name] as Layout;
    const { fields, ends = {}, sizeField, tail } = descriptor;
    const arg: Arg = {};
    const later: [name: string, type: FieldType, place: Place, writes: boolean][] = [];
    for (const [name, { type, direction }] of Object.entries(fields)) {
      const place = places[name]!;
      if (direction === 'out' || (tail === 'ignored' && (ends[name] ?? 0) > size)) continue;
      if (!isScalarType(type) || place === 'text') {
        later.push([name, type, place, direction === 'inout']);
        continue;
      }
      const value = this._scalar(type, place as Scalar | 'argument', Number(arg.flags ?? 0));
      if (value instanceof Refusal) return value;
      if (value !== undefined) arg[name] = value;
    }
    for (const [name, type, place, writes] of later) {
      const value = this._elsewhere(type, place, arg, size, writes);
      if (value instanceof Refusal) return value;
      if (value !== undefined) arg[name] = value;
    }
    if (sizeField === 'argsz') arg.argsz = size;
    return arg;
  }

  /** A number or name of the struct; undefined: it is not asked for. */
  private _scalar(
    type: keyof typeof WIDTHS,
    place: Scalar | 'argument',
    flags: number,
  ): ArgValue | undefined | Refusal {
    // A number that no field holds is none that the kernel knows.
    if (place === 'argument') return this._argument.value > 0xffffffffn ? 0xffffffff : Number(this._argument.value);
    const end = endOf(place, type);
    if (place.flag !== undefined && !(flags & place.flag)) return undefined;
    if (end > this._head.length) return fault(`the struct ends behind ${this._head.length} bytes, ${end} are read`);
    return scalarOf(type, this._head.subarray(place.at, end));
  }

  /** What a pointer points to, as far as it can be read, or stands behind the header. undefined: the pointer is 0. */
  private _elsewhere(
    type: FieldType,
    place: Place,
    arg: Arg,
    size: number,
    writes: boolean,
  ): ArgValue | undefined | Refusal {
    if (place === 'text') return this._text();
    if (typeof place === 'string') return undefined;
    if ('behind' in place) {
      const length = Math.min(Math.max(size - place.behind, 0), MAX_BEHIND);
      const bytes = this._argument.read(place.behind, length);
      return bytes.length < length
        ? fault(`the struct ends behind ${place.behind + bytes.length} of its ${size} bytes`)
        : elementsOf(type, bytes);
    }
    const address = this._address(place);
    if (address === 0n || !('length' in place) || !place.length) return undefined;
    const element: number = ELEMENT_BYTES[type as keyof typeof ELEMENT_BYTES];
    const length = place.length.reduce((product, name) => product * Number(arg[name] ?? 0), element);
    const bytes = this._memory.read(address, Math.min(length, MOST[type] ?? MAX_TRANSFER));
    if (writes && bytes.length === length && !this._memory.writable(address, length))
      return fault(`nothing can be written at ${hex(address)}`, 'copy_to_user');
    return elementsOf(type, bytes);
  }

  /** strndup_user: EFAULT no NUL can be read, EINVAL there is none within a page. */
  private _text(): string | Refusal {
    const bytes = this._argument.read(0, PAGE_SIZE);
    const end = bytes.indexOf(0);
    if (end >= 0) return latin1(bytes.subarray(0, end));
    return bytes.length < PAGE_SIZE
      ? fault('the string has no NUL at its end', 'strndup_user')
      : refuse('EINVAL', 'strndup_user', `the string has ${PAGE_SIZE} bytes or more`);
  }

  private _writeElsewhere(place: Place, bytes: Uint8Array): boolean {
    if (typeof place === 'string') return true;
    if ('behind' in place) return this._argument.write(place.behind, withoutRest(bytes));
    const address = this._address(place);
    if ('merges' in place && place.merges) {
      this._memory.merge(address, bytes);
      return true;
    }
    return this._memory.write(address, bytes);
  }

  private _address({ at }: { at: number }): bigint {
    return scalarOf('u64', this._head.subarray(at, at + 8)) as bigint;
  }
}

/** The numbers of a struct as far as its bytes reach, whoever gets it. */
export function numbersIn(request: RequestDescriptor, bytes: Uint8Array): Record<string, number | bigint> {
  const { places } = STRUCTS[request.name] as Layout;
  const numbers: Record<string, number | bigint> = {};
  for (const [name, { type }] of Object.entries(request.fields)) {
    const place = places[name]!;
    const end = endOf(place, type);
    if (isScalarType(type) && type !== 'name' && end > 0 && end <= bytes.length)
      numbers[name] = scalarOf(type, bytes.subarray((place as Scalar).at, end)) as number | bigint;
  }
  return numbers;
}

/**
 * What the kernel has written behind a header, of a buffer that handlers fill up with zeroes: whole words of 64 bits, of
 * which its capabilities and arrays consist.
 */
function withoutRest(bytes: Uint8Array): Uint8Array {
  const last = bytes.findLastIndex((byte) => byte !== 0);
  return bytes.subarray(0, Math.ceil((last + 1) / 8) * 8);
}

const view = ({ buffer, byteOffset, byteLength }: Uint8Array): DataView => new DataView(buffer, byteOffset, byteLength);

const latin1 = (bytes: Uint8Array): string => Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');

function scalarOf(type: keyof typeof WIDTHS, bytes: Uint8Array): ArgValue {
  if (type === 'name') return latin1(bytes);
  if (type === 'u64') return view(bytes).getBigUint64(0, true);
  if (type === 's32') return view(bytes).getInt32(0, true);
  return bytes.reduceRight((value, byte) => value * 256 + byte, 0);
}

function scalarBytes(value: ArgValue, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  if (typeof value === 'string') for (let at = 0; at < value.length; at++) bytes[at] = value.charCodeAt(at);
  else {
    let rest = BigInt.asUintN(64, BigInt(value as number | bigint));
    for (let at = 0; at < length; at++, rest >>= 8n) bytes[at] = Number(rest & 0xffn);
  }
  return bytes;
}

/** The elements that lie in these bytes as a whole. */
function elementsOf(type: FieldType, bytes: Uint8Array): ArgValue {
  const elements = (length: number): DataView[] =>
    Array.from({ length: Math.floor(bytes.length / length) }, (_, index) =>
      view(bytes.subarray(index * length, (index + 1) * length)),
    );
  if (type === 'ranges')
    return elements(ELEMENT_BYTES.ranges).map((range) => ({
      start: range.getBigUint64(0, true),
      last: range.getBigUint64(8, true),
    }));
  if (type === 'descriptors') return elements(ELEMENT_BYTES.descriptors).map((fd) => fd.getInt32(0, true));
  return bytes;
}

function bytesOf(type: FieldType, value: ArgValue): Uint8Array {
  if (value instanceof Uint8Array) return value;
  const items = value as readonly (IovaRange | DependentDevice)[];
  const length = ELEMENT_BYTES[type as keyof typeof ELEMENT_BYTES];
  const out = new DataView(new ArrayBuffer(items.length * length));
  for (const [index, item] of items.entries()) {
    const at = index * length;
    if ('start' in item) {
      out.setBigUint64(at, item.start, true);
      out.setBigUint64(at + 8, item.last, true);
    } else {
      out.setInt32(at, item.devid ?? item.group_id ?? 0, true);
      out.setUint16(at + 4, item.segment, true);
      out.setUint8(at + 6, item.bus);
      out.setUint8(at + 7, item.devfn);
    }
  }
  return new Uint8Array(out.buffer);
}
