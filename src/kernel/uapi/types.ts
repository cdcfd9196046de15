/**
 * How a request is described: number, sizes and fields of its uAPI struct. The call table is data, so that the decoder,
 * the schemas of the HTTP face, its documentation and the tests read one source.
 */

import type { Bits } from './bits.ts';

/** Kinds of files that have a table of requests. */
export type RequestKind = 'iommufd' | 'vfio-cdev' | 'vfio-group' | 'liveupdate' | 'session';

/** Kinds of files that an ioctl can be sent to. */
export type FileKind = RequestKind | 'memfd' | 'null' | 'eventfd' | 'fault-queue' | 'event-queue' | 'access';

/**
 * `u64` is a hexadecimal string (or a safe integer) outside and a bigint inside. `ranges` is an array of
 * {start, last}, `bytes` base64, `name` a NUL-padded string of bytes, `descriptors` an array of numbers, `hotReset` an array of
 * struct vfio_pci_dependent_device, which only the kernel writes.
 */
export type FieldType = 'u8' | 'u16' | 'u32' | 's32' | 'u64' | 'ranges' | 'bytes' | 'name' | 'descriptors' | 'hotReset';

type Direction = 'in' | 'out' | 'inout';

export interface Field<Type extends FieldType = FieldType, Way extends Direction = Direction> {
  readonly type: Type;
  /** `in`: the caller gives the field; `out`: the kernel writes it; `inout`: both. */
  readonly direction: Way;
  readonly about: string;
  /** Names of the bits of a word of flags. Callers of the HTTP face may give a list of them instead of the number. */
  readonly bits?: Bits;
  /** The most bytes of it that an answer by names tells. */
  readonly most?: number;
}

export type Fields = Readonly<Record<string, Field>>;
type Sizes = Readonly<Record<string, number>>;

/** How far answers are Linux's. `full`: all; `part`: all but what the note says. */
export type Support =
  | { readonly support: 'full'; readonly note?: undefined }
  | { readonly support: 'part'; readonly note: string };

export const FULL = { support: 'full' } as const satisfies Support;
/** Answers are Linux's but for what the note says. */
export const part = (note: string): Support => ({ support: 'part', note });

/** A row of a table of requests. */
export type RequestRow<Given extends Fields = Fields, Ends extends Sizes = Sizes> = Support & {
  /** Type and number of the ioctl, e.g. 0x3b81. */
  readonly number: number;
  /** The least bytes of the struct that a caller may have, and all that this kernel knows. 0: no struct. */
  readonly minSize: number;
  readonly size: number;
  /** Size in bytes that is assumed when the caller gives none; absent: `size`. */
  readonly defaultSize?: number;
  /** Fields that stand behind the struct, in bytes or descriptors of 32 bits: the size counts those that are given. */
  readonly behind?: readonly string[];
  /** The name of the field that holds the size: `size`, or `argsz` where the struct has a `size` of its own. */
  readonly sizeField: 'size' | 'argsz';
  /** What lies behind the struct has to be zero (else E2BIG: copy_struct_from_user), or is ignored. */
  readonly tail: 'zero' | 'ignored';
  readonly fields: Given;
  /** The field that stays as the caller gave it if the struct is too small. */
  readonly keeps?: string;
  /** Byte at which each field behind the minimum size ends: a shorter struct does not have the field. */
  readonly ends?: Ends;
  readonly about: string;
};

export type RequestTable = Readonly<Record<string, RequestRow>>;

export interface IovaRange {
  start: bigint;
  last: bigint;
}
/** struct vfio_pci_dependent_device: of a device that is open by its cdev `devid`, else `group_id`. */
export interface DependentDevice {
  devid?: number;
  group_id?: number;
  segment: number;
  bus: number;
  devfn: number;
}
export type ArgValue = number | bigint | string | Uint8Array | IovaRange[] | readonly number[] | DependentDevice[];

/** The decoded value of a field. Numbers that the caller does not give are 0, other fields absent. */
type Decoded<Type extends FieldType> = Type extends 'u64'
  ? bigint
  : Type extends 'bytes'
    ? Uint8Array | undefined
    : Type extends 'ranges'
      ? IovaRange[] | undefined
      : Type extends 'name'
        ? string | undefined
        : Type extends 'descriptors'
          ? readonly number[] | undefined
          : number;

/** The struct of a request as its handler gets it. Fields behind the minimum size may be missing. */
export type DecodedArg<Row extends RequestRow> = {
  readonly [Name in keyof Row['fields'] as Row['fields'][Name]['direction'] extends 'out' ? never : Name]:
    | Decoded<Row['fields'][Name]['type']>
    | (Name extends keyof NonNullable<Row['ends']> ? undefined : never);
};

const field = <Type extends FieldType, Way extends Direction>(
  type: Type,
  direction: Way,
  about: string,
): Field<Type, Way> => ({ type, direction, about });
/** A word of flags. */
export const bits = (known: Bits, about = 'Flags.'): Field<'u32', 'in'> => ({
  ...field('u32', 'in', about),
  bits: known,
});
export const input = <Type extends FieldType>(type: Type, about: string): Field<Type, 'in'> => field(type, 'in', about);
export const output = <Type extends FieldType>(type: Type, about: string): Field<Type, 'out'> =>
  field(type, 'out', about);
export const inout = <Type extends FieldType>(type: Type, about: string): Field<Type, 'inout'> =>
  field(type, 'inout', about);
