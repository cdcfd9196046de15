/** Packs the fields of a request as a C program has them in memory, and tells what they are to be after the call. */
import assert from 'node:assert/strict';
import type { MemoryBytes } from '../../../src/kernel/uapi/calls.ts';
import { type FieldType, REQUESTS, type RequestDescriptor } from '../../../src/kernel/uapi/index.ts';
import { C_STRUCTS, type Member } from './c-structs.ts';

export type Fields = Record<string, unknown>;

interface Range {
  start: string | number;
  last: string | number;
}

/** struct vfio_pci_dependent_device */
interface Dependent {
  devid?: number;
  group_id?: number;
  segment: number;
  bus: number;
  devfn: number;
}

/** What lies at an address of the program. */
interface Buffer64 {
  address: bigint;
  bytes: Buffer;
}

export interface Packed {
  /** What the call has beside `call`, `fd` and `request`. */
  readonly given: { bytes: string; memory?: MemoryBytes[] } | { argument: number };
  /** The same after a call that wrote these fields. */
  after(written: Fields, done: boolean): { bytes?: string; memory: MemoryBytes[] };
}

/** In the fields that the kernel writes and does not read. */
const GARBAGE = 0x5a;
/** Where what is pointed to lies: the simulated process has nothing there. */
const POINTED = 0x600000000000n;
/** A struct that says that it is longer has no more room than this. */
const ROOM = 65536;

const number = (value: unknown): bigint => BigInt((value ?? 0) as string | number);

function put(bytes: Buffer, { at, bytes: count }: Member, value: unknown): void {
  if (typeof value === 'string' && !value.startsWith('0x')) {
    bytes.write(value.padEnd(count, '\0'), at, count, 'latin1');
    return;
  }
  let rest = BigInt.asUintN(64, number(value));
  for (let index = at; index < at + count; index++, rest >>= 8n) bytes[index] = Number(rest & 0xffn);
}

function encode(value: unknown): Buffer {
  return typeof value === 'string' ? Buffer.from(value, 'base64') : Buffer.concat((value as Element[]).map(element));
}

type Element = Range | Dependent | number;

function element(item: Element): Buffer {
  if (typeof item === 'number') {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(item);
    return bytes;
  }
  if ('start' in item) {
    const bytes = Buffer.alloc(16);
    bytes.writeBigUInt64LE(number(item.start));
    bytes.writeBigUInt64LE(number(item.last), 8);
    return bytes;
  }
  const bytes = Buffer.alloc(8);
  bytes.writeInt32LE((item.devid ?? item.group_id ?? 0) | 0);
  bytes.writeUInt16LE(item.segment, 4);
  bytes.writeUInt8(item.bus, 6);
  bytes.writeUInt8(item.devfn, 7);
  return bytes;
}

/** Room for what the kernel writes through a pointer; a bitmap has a bit for each page, in words of 64. */
function roomOf({ pointsTo }: Member, arg: Fields): number {
  if (pointsTo!.count[0] !== 'BITMAP')
    return pointsTo!.count.reduce((product, name) => product * Number(arg[name] ?? 0), pointsTo!.element);
  const pageSize = number(arg.page_size);
  const bits = pageSize === 0n ? 0n : (number(arg.length) + pageSize - 1n) / pageSize;
  return Number((bits + 63n) / 64n) * 8;
}

function sizeOf({ sizeField, fields, defaultSize, size, behind = [] }: RequestDescriptor, arg: Fields): number {
  const given = arg[sizeField] ?? (fields.size === undefined ? arg.size : undefined);
  if (given !== undefined) return Number(given);
  return behind.reduce((sum, name) => sum + encode(arg[name] ?? '').length, defaultSize ?? size);
}

export function pack(request: string, arg: Fields): Packed {
  const descriptor = REQUESTS.get(request)!;
  const struct = C_STRUCTS.get(request);
  if (!struct) return packArgument(request, arg);
  const { fields, sizeField, size: known } = descriptor;
  const size = sizeOf(descriptor, arg);
  const bytes = Buffer.alloc(Math.min(Math.max(size, struct.size), ROOM));
  const pointed = new Map<string, Buffer64>();
  const members = struct.members.flatMap((member) => member.names.map((name) => [name, member] as const));
  for (const [name, member] of members) {
    const direction = fields[name]?.direction;
    if (name === sizeField && known > 0) put(bytes, member, size);
    else if (member.behind !== undefined) {
      if (arg[name] !== undefined) encode(arg[name]).copy(bytes, member.at);
    } else if (member.pointsTo) {
      const given = arg[name] === undefined ? null : encode(arg[name]);
      if (!given && direction !== 'out') continue;
      const data = given ?? Buffer.alloc(Math.min(roomOf(member, arg), 1 << 22));
      const address = POINTED + BigInt(pointed.size) * 0x10000000n;
      pointed.set(name, { address, bytes: data });
      put(bytes, member, `0x${address.toString(16)}`);
    } else if (direction === undefined || direction === 'out') {
      if (!member.names.some((each) => fields[each] && fields[each].direction !== 'out'))
        bytes.fill(GARBAGE, member.at, member.at + member.bytes);
    } else put(bytes, member, arg[name]);
  }
  if (arg.tail !== undefined && size > known) bytes[known] = Number(arg.tail);
  const memory = [...pointed.values()].map(toMemory);
  return {
    given: { bytes: bytes.toString('base64'), ...(memory.length > 0 && { memory }) },
    after(written, done) {
      const then = Buffer.from(bytes);
      const changed: Buffer64[] = [];
      for (const [name, member] of members) {
        const value = written[name];
        if (done && ZEROED[request]?.includes(name) && member.at + member.bytes <= size) put(then, member, 0);
        if (value === undefined) continue;
        if (member.behind !== undefined) encode(value).copy(then, member.at);
        else if (member.pointsTo) {
          const { address, bytes: before } = pointed.get(name) ?? { address: 0n, bytes: Buffer.alloc(0) };
          const buffer = Buffer.from(before);
          const out = encode(value);
          assert.ok(out.length <= buffer.length, `${request} ${name}: ${out.length} bytes in ${buffer.length}`);
          out.copy(buffer);
          if (name !== 'data' || request !== 'IOMMU_HWPT_GET_DIRTY_BITMAP' || out.some((byte) => byte !== 0))
            if (out.length > 0) changed.push({ address, bytes: buffer });
        } else if (member.at + member.bytes <= size || known === 0) put(then, member, value);
      }
      return { bytes: then.toString('base64'), memory: changed.map(toMemory) };
    },
  };
}

/** What the struct of an answer has in the fields that the kernel writes: as an answer by names would tell them. */
export function unpack(request: string, arg: Fields, given: Packed['given'], answer: Answer): Fields {
  const descriptor = REQUESTS.get(request)!;
  const struct = C_STRUCTS.get(request);
  const out: Fields = {};
  if (!struct || !('bytes' in given)) return out;
  const bytes = Buffer.from(answer.bytes ?? given.bytes, 'base64');
  const size = sizeOf(descriptor, arg);
  for (const member of struct.members)
    for (const name of member.names) {
      const field = descriptor.fields[name];
      if (!field || field.direction === 'in' || NOT_WRITTEN[request]?.(arg)) continue;
      if (GROWS.has(request) && name === 'argsz' && bytes.readUInt32LE(member.at) === size) continue;
      if (member.behind !== undefined) {
        if (size > member.at) {
          const behind = bytes.subarray(member.at);
          if (field.type === 'hotReset') Object.assign(out, functionsIn(behind, out));
          else if (!GROWS.has(request) || out.cap_offset !== 0) out[name] = behind.toString('base64', 0, SHOWN);
        }
      } else if (member.pointsTo) {
        const address = `0x${bytes.readBigUInt64LE(member.at).toString(16)}`;
        const piece = [...answer.memory, ...(given.memory ?? [])].find((each) => each.address === address);
        if (piece) out[name] = decode(field.type, Buffer.from(piece.bytes, 'base64'), Number(out.num_iovas ?? 0));
      } else if (member.at + member.bytes <= size) out[name] = numberAt(bytes, member, field.type);
    }
  return out;
}

interface Answer {
  bytes?: string;
  memory: readonly MemoryBytes[];
}

/** What is told of what stands behind a struct. */
const SHOWN = 1000;

/** Writes `argsz` only where the one given has no room, and behind the struct only where `cap_offset` tells of it. */
const GROWS: ReadonlySet<string> = new Set(['VFIO_DEVICE_GET_REGION_INFO']);

/** Where a field that is read and written is not written. */
const NOT_WRITTEN: Readonly<Record<string, (arg: Fields) => boolean>> = {
  IOMMU_VFIO_IOAS: ({ op = 0 }) => op !== 0,
};

function numberAt(bytes: Buffer, { at, bytes: count }: Member, type: FieldType): string | number {
  if (type === 'name') return bytes.toString('latin1', at, at + count).split('\0', 1)[0]!;
  if (type === 'u64') return `0x${bytes.readBigUInt64LE(at).toString(16)}`;
  return type === 's32' ? bytes.readInt32LE(at) : bytes.readUIntLE(at, count);
}

function decode(type: FieldType, bytes: Buffer, count: number): unknown {
  if (type !== 'ranges') return bytes.toString('base64');
  return Array.from({ length: Math.min(count, bytes.length / 16) }, (_, index) => ({
    start: `0x${bytes.readBigUInt64LE(index * 16).toString(16)}`,
    last: `0x${bytes.readBigUInt64LE(index * 16 + 8).toString(16)}`,
  }));
}

/** The functions behind the struct of VFIO_DEVICE_GET_PCI_HOT_RESET_INFO; none if there was no room for all. */
function functionsIn(bytes: Buffer, { flags, count }: Fields): { devices?: Dependent[] } {
  if (bytes.length < Number(count) * 8) return {};
  const id = Number(flags) & 1 ? 'devid' : 'group_id';
  const devices = Array.from({ length: Number(count) }, (_, index) => ({
    [id]: bytes.readInt32LE(index * 8),
    segment: bytes.readUInt16LE(index * 8 + 4),
    bus: bytes.readUInt8(index * 8 + 6),
    devfn: bytes.readUInt8(index * 8 + 7),
  }));
  return { devices };
}

/** Members that no field stands for and that the kernel sets to 0. */
const ZEROED: Readonly<Record<string, readonly string[]>> = {
  VFIO_DEVICE_GET_INFO: ['pad'],
  VFIO_IOMMU_GET_INFO: ['pad'],
};

const toMemory = ({ address, bytes }: Buffer64): MemoryBytes => ({
  address: `0x${address.toString(16)}`,
  bytes: bytes.toString('base64'),
});

/** Requests whose argument is a number, a string, or not looked at. */
function packArgument(request: string, arg: Fields): Packed {
  const [name] = Object.keys(REQUESTS.get(request)!.fields);
  const value = name === undefined ? 0 : arg[name];
  if (request !== 'VFIO_GROUP_GET_DEVICE_FD')
    return { given: { argument: Number(value ?? 0) }, after: () => ({ memory: [] }) };
  const bytes = Buffer.from(`${value ?? ''}\0`, 'latin1').toString('base64');
  return { given: { bytes }, after: () => ({ bytes, memory: [] }) };
}
