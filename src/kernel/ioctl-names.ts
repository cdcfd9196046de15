/** Structs of ioctls whose fields are given by their names, and what handlers wrote as plain data. */
import { decodeU64, hex } from '../machine/address.ts';
import type { Refusal } from './errno.ts';
import type { Arg } from './file.ts';
import { checkLeast, checkTail, type Given, type StructSource } from './ioctl-struct.ts';
import { type ArgValue, type FieldType, type IovaRange, REQUESTS, type RequestDescriptor } from './uapi/index.ts';

/** The struct as requests have it: fields by name, and `tail`, the first byte behind the struct. */
export type Raw = Record<string, unknown>;

/** A field that the caller gives. */
interface Input {
  name: string;
  decode: (value: unknown) => ArgValue;
  /** Its value if the caller does not give it. */
  absent: ArgValue | undefined;
  /** The size, in bytes, from which on a struct has it; 0: all have it. */
  end: number;
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

function inputsOf({ fields, ends = {} }: RequestDescriptor): readonly Input[] {
  return Object.entries(fields)
    .filter(([, { direction }]) => direction !== 'out')
    .map(([name, { type }]) => ({ name, ...DECODERS[type], end: ends[name] ?? 0 }));
}

const INPUTS = new Map([...REQUESTS].map(([name, request]) => [name, inputsOf(request)]));

export class NamedStruct implements StructSource {
  private readonly _raw: Raw;

  constructor(raw: Raw) {
    this._raw = raw;
  }

  sizeMissing(): null {
    return null;
  }

  read(request: RequestDescriptor): Given | Refusal {
    const size = this._size(request);
    const refusal = checkLeast(request, size) ?? checkTail(request, size, Number(this._raw.tail ?? 0));
    if (!refusal) return { arg: this._decode(request, size), size };
    const { keeps } = request;
    return keeps ? refusal.withArg({ [keeps]: decodeU64(this._raw[keeps] ?? 0) }) : refusal;
  }

  /** Fields that a short struct does not have are not told, and of long ones only the first bytes. */
  write({ fields, ends = {} }: RequestDescriptor, { size }: Given, out: Record<string, unknown>, done: boolean): null {
    if (!done) return null;
    for (const [name, end] of Object.entries(ends)) if (end > size) delete out[name];
    for (const [name, { most }] of Object.entries(fields))
      if (most !== undefined && out[name] instanceof Uint8Array) out[name] = out[name].subarray(0, most);
    return null;
  }

  private _size({ sizeField, fields, defaultSize, size, behind = [] }: RequestDescriptor): number {
    const given = this._raw[sizeField] ?? (fields.size === undefined ? this._raw.size : undefined);
    if (typeof given === 'number') return given;
    return behind.reduce((sum, name) => sum + this._bytesOf(name), defaultSize ?? size);
  }

  /** Bytes of what the caller gives behind the struct: base64, or an array of words of 32 bits. */
  private _bytesOf(name: string): number {
    const value = this._raw[name];
    if (typeof value === 'string') return Uint8Array.fromBase64(value).length;
    return Array.isArray(value) ? 4 * value.length : 0;
  }

  private _decode({ name: request, sizeField }: RequestDescriptor, size: number): Arg {
    const arg: Arg = {};
    for (const { name, decode, absent, end } of INPUTS.get(request)!) {
      if (end > size) continue;
      const value = this._raw[name];
      if (value !== undefined) arg[name] = decode(value);
      else if (absent !== undefined) arg[name] = absent;
    }
    if (sizeField === 'argsz') arg.argsz = size;
    return arg;
  }
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
