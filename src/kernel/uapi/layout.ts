/**
 * How the fields of a request lie in the struct that a program hands over: bytes of an x86-64 machine, lowest first. The
 * struct begins with its size, a word, unless its row says that there is none.
 */
import type { Fields, FieldType } from './types.ts';

/**
 * A number, or the name of 64 bytes, that begins `at` this byte. `bytes`: how many it takes, where they are not those of
 * its type. `flag`: it is read only where this bit of `flags` is set.
 */
export interface Scalar {
  readonly at: number;
  readonly bytes?: number;
  readonly flag?: number;
}

/**
 * An address `at` this byte, of memory of the program. It is read as far as the product of the fields in `length` says:
 * in bytes, of `ranges` in elements; the kernel writes as much as there is. `merges`: bits are set there and none is
 * cleared, and what cannot be written is lost.
 */
interface Pointer {
  readonly at: number;
  readonly length?: readonly string[];
  readonly merges?: true;
}

/** What begins here, behind the header, and goes on as far as the struct's size says. */
interface Behind {
  readonly behind: number;
}

/** Of a request whose argument is a number and no address. */
type Argument = 'argument';
/** Of a request whose argument is the address of a string that ends with a NUL. */
type Text = 'text';

type PlaceOf<Type extends FieldType> = Type extends 'ranges'
  ? Pointer
  : Type extends 'bytes'
    ? Pointer | Behind
    : Type extends 'descriptors' | 'hotReset'
      ? Behind
      : Type extends 'name'
        ? Scalar | Text
        : Scalar | Argument;

export type Place = PlaceOf<FieldType>;

/** The struct of a request: its name in C, and the place of each field. A layout that lacks one does not compile. */
export interface Layout<Given extends Fields = Fields> {
  /** Null: the argument is no struct. */
  readonly struct: string | null;
  readonly places: { readonly [Name in keyof Given]: PlaceOf<Given[Name]['type']> };
  /** Bytes of no field that the kernel sets to 0, from the first to before the last, as far as the struct reaches. */
  readonly zeroes?: readonly [from: number, to: number];
}

/** How many bytes a number takes, and a name in a struct. */
export const WIDTHS = { u8: 1, u16: 2, u32: 4, s32: 4, u64: 8, name: 64 } as const satisfies Partial<
  Record<FieldType, number>
>;
/** What an address takes, and an element of an array. */
export const POINTER_BYTES = 8;
export const ELEMENT_BYTES = { ranges: 16, descriptors: 4, hotReset: 8, bytes: 1 } as const satisfies Partial<
  Record<FieldType, number>
>;

export const isScalarType = (type: FieldType): type is keyof typeof WIDTHS => type in WIDTHS;

/** The byte of the struct behind a field; 0: the field lies elsewhere. */
export function endOf(place: Place, type: FieldType): number {
  if (typeof place === 'string' || 'behind' in place) return 0;
  if (isScalarType(type)) return place.at + ((place as Scalar).bytes ?? WIDTHS[type]);
  return place.at + POINTER_BYTES;
}
