/**
 * How a request is described: number, sizes and fields of its uAPI struct. The call table is data, so that the decoder,
 * the schemas of the HTTP face, its documentation and the tests read one source.
 */

import type { Bits } from './bits.ts';

/** What an ioctl can be asked of. */
export type FileKind =
  | 'iommufd'
  | 'vfio-cdev'
  | 'vfio-group'
  | 'liveupdate'
  | 'session'
  | 'memfd'
  | 'null'
  | 'fault-queue'
  | 'event-queue'
  | 'access';

/**
 * `u64` is a hexadecimal string (or a safe integer) outside and a bigint inside. `ranges` is an array of
 * {start, last}, `bytes` base64, `name` a NUL-padded string of bytes.
 */
export type FieldType = 'u8' | 'u16' | 'u32' | 's32' | 'u64' | 'ranges' | 'bytes' | 'name';

export interface Field {
  readonly type: FieldType;
  /** Whether the caller gives it, the kernel writes it, or both. */
  readonly direction: 'in' | 'out' | 'inout';
  readonly about: string;
  /** Of a word of flags: callers of the HTTP face may give these names instead of the number. */
  readonly bits?: Bits;
}

export interface RequestDescriptor {
  readonly name: string;
  /** Type and number of the ioctl, e.g. 0x3b81. */
  readonly number: number;
  readonly kind: FileKind;
  /** Bytes up to which the struct must reach, and bytes of the struct as this kernel knows it. 0: no struct. */
  readonly minSize: number;
  readonly size: number;
  /** Size assumed when the caller gives none, where that is not `size`. */
  readonly defaultSize?: number;
  /** The name of the field that holds the size: `size`, or `argsz` where the struct has a `size` of its own. */
  readonly sizeField: 'size' | 'argsz';
  readonly fields: Readonly<Record<string, Field>>;
  /** A field that the caller finds unchanged if the struct is too small. */
  readonly keeps?: string;
  /** Where fields behind the minimum size end: a shorter struct does not have them. */
  readonly ends?: Readonly<Record<string, number>>;
  readonly about: string;
  /** `full`: every answer as Linux gives it; `partial`: see `note`; `errno`: always refused. */
  readonly support: 'full' | 'partial' | 'errno';
  readonly note?: string;
}

/** A decoded argument: u64 as bigint, narrower numbers as number, bytes as Uint8Array. Absent fields read as 0. */
export interface IovaRange {
  start: bigint;
  last: bigint;
}
export type ArgValue = number | bigint | string | Uint8Array | IovaRange[];

const field = (type: FieldType, direction: Field['direction'], about: string): Field => ({
  type,
  direction,
  about,
});
/** A word of flags. */
export const bits = (known: Bits, about = 'Flags.'): Field => ({ ...field('u32', 'in', about), bits: known });
export const input = (type: FieldType, about: string): Field => field(type, 'in', about);
export const output = (type: FieldType, about: string): Field => field(type, 'out', about);
export const inout = (type: FieldType, about: string): Field => field(type, 'inout', about);
