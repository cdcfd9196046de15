/**
 * How a request is described: number, sizes and fields of its uAPI struct. The call table is data, so that the decoder,
 * the schemas of the HTTP face, its documentation and the tests read one source.
 */

import type { Bits } from './bits.ts';

/** Files that know requests: each has a table of them. */
export type RequestKind = 'iommufd' | 'vfio-cdev' | 'vfio-group' | 'liveupdate' | 'session';

/** What an ioctl can be asked of. */
export type FileKind = RequestKind | 'memfd' | 'null' | 'fault-queue' | 'event-queue' | 'access';

/**
 * `u64` is a hexadecimal string (or a safe integer) outside and a bigint inside. `ranges` is an array of
 * {start, last}, `bytes` base64, `name` a NUL-padded string of bytes.
 */
export type FieldType = 'u8' | 'u16' | 'u32' | 's32' | 'u64' | 'ranges' | 'bytes' | 'name';

type Direction = 'in' | 'out' | 'inout';

export interface Field<Type extends FieldType = FieldType, Way extends Direction = Direction> {
  readonly type: Type;
  /** Whether the caller gives it, the kernel writes it, or both. */
  readonly direction: Way;
  readonly about: string;
  /** Of a word of flags: callers of the HTTP face may give these names instead of the number. */
  readonly bits?: Bits;
}

export type Fields = Readonly<Record<string, Field>>;
type Sizes = Readonly<Record<string, number>>;

/** Whether the answers are those of Linux: all of them, but for what the note says, or never more than this errno. */
export type Support =
  | { readonly support: 'full'; readonly note?: undefined }
  | { readonly support: 'part' | 'errno'; readonly note: string };

export const FULL = { support: 'full' } as const satisfies Support;
/** All but what the sentence says. */
export const part = (note: string): Support => ({ support: 'part', note });
/** Never anything else than this errno. */
export const only = (errno: string, note: string): Support => ({ support: 'errno', note: `${errno}: ${note}` });

/** A row of a table of requests. */
export type RequestRow<Given extends Fields = Fields, Ends extends Sizes = Sizes> = Support & {
  /** Type and number of the ioctl, e.g. 0x3b81. */
  readonly number: number;
  /** Bytes up to which the struct must reach, and bytes of the struct as this kernel knows it. 0: no struct. */
  readonly minSize: number;
  readonly size: number;
  /** Size assumed when the caller gives none, where that is not `size`. */
  readonly defaultSize?: number;
  /** The name of the field that holds the size: `size`, or `argsz` where the struct has a `size` of its own. */
  readonly sizeField: 'size' | 'argsz';
  /** What lies behind the struct: it has to be zero (E2BIG, as copy_struct_from_user has it), or nobody looks. */
  readonly tail: 'zero' | 'ignored';
  readonly fields: Given;
  /** A field that the caller finds unchanged if the struct is too small. */
  readonly keeps?: string;
  /** Where fields behind the minimum size end: a shorter struct does not have them. */
  readonly ends?: Ends;
  readonly about: string;
};

export type RequestTable = Readonly<Record<string, RequestRow>>;

export interface IovaRange {
  start: bigint;
  last: bigint;
}
export type ArgValue = number | bigint | string | Uint8Array | IovaRange[];

/** What a field is once it has been decoded. Numbers that the caller does not give are 0, other fields absent. */
type Decoded<Type extends FieldType> = Type extends 'u64'
  ? bigint
  : Type extends 'bytes'
    ? Uint8Array | undefined
    : Type extends 'ranges'
      ? IovaRange[] | undefined
      : Type extends 'name'
        ? string | undefined
        : number;

/** The struct of a request as its handler gets it. What lies behind the minimum size may be missing. */
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
