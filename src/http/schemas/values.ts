/**
 * The values that every schema is made of, each with a sentence that says what is allowed. 64-bit numbers are
 * hexadecimal strings; input may also be a safe non-negative integer.
 */

import { z } from 'zod';
import { unknownField, wrongU64 } from '../../host/request-values.ts';
import { ERRNO, type Errno } from '../../kernel/errno.ts';
import { FAULT_POINT_NAMES } from '../../kernel/faults.ts';
import type { Bits } from '../../kernel/uapi/bits.ts';
import { hex } from '../../machine/address.ts';
import { BDF } from '../../machine/topology/functions.ts';

/** Makes the message about a value that is not what is expected, or is missing. */
export function expected(what: string) {
  return (issue: { input?: unknown }): string => (issue.input === undefined ? `required: ${what}` : `expected ${what}`);
}

/** Makes the message about an object of several kinds whose field `field`, which tells the kind, is wrong. */
export function told(field: string, what: string) {
  const message = expected(what);
  return ({ code, input }: { code?: string; input?: unknown }): string | undefined =>
    code === 'invalid_union' ? message({ input: (input as Record<string, unknown>)[field] }) : undefined;
}

/** The name of a component, made of one in any other case. */
export const pascal = (name: string): string =>
  name
    .split(/[^A-Za-z0-9]+/)
    .map((word) => word[0]!.toUpperCase() + (/^[^a-z]*$/.test(word) ? word.slice(1).toLowerCase() : word.slice(1)))
    .join('');

/** An object that takes the fields it names and no other. */
export function strict<Shape extends z.core.$ZodLooseShape>(shape: Shape) {
  const unknown = unknownField(Object.keys(shape));
  return z.strictObject(shape, { error: ({ code }) => (code === 'unrecognized_keys' ? unknown : undefined) });
}

const INTEGERS = new Map<string, z.ZodInt>();

/** A whole number. Fields with the same bounds share a schema: there are hundreds, and to make one takes longer than to use it. */
export function integer(least: number, most: number): z.ZodInt {
  const bounds = `${least} ${most}`;
  const made = INTEGERS.get(bounds);
  if (made !== undefined) return made;
  const error = expected(`a whole number from ${least} to ${most}`);
  const schema = z.int({ error }).check(z.gte(least, { error }), z.lte(most, { error }));
  INTEGERS.set(bounds, schema);
  return schema;
}

export const S32_MIN = -(2 ** 31);
export const S32_MAX = 2 ** 31 - 1;
export const U32_MAX = 2 ** 32 - 1;

export const u16 = () => integer(0, 0xffff);
export const u32 = () => integer(0, U32_MAX);
export const s32 = () => integer(S32_MIN, S32_MAX);

/** A word of flags: its number, or a list of the names of its bits. */
export function bits<Word extends z.ZodInt>(word: Word, known: Bits, about: string) {
  const names = Object.keys(known);
  const list = z
    .array(z.enum(names))
    .max(names.length)
    .transform((given) => given.reduce((all, name) => all | known[name]!, 0));
  const rule = expected(`a whole number, or a list of these: ${names.join(', ')}`);
  const meanings = names.map((name) => `${name} ${known[name]}`).join(', ');
  return z
    .union([word, list], { error: (issue) => (Array.isArray(issue.input) ? undefined : rule(issue)) })
    .meta({ description: `${about} A number, or a list of names: ${meanings}.` });
}

/** A number that has names: it, or the name of one. */
export function oneOf<Word extends z.ZodInt>(word: Word, known: Bits, about: string) {
  const names = Object.keys(known);
  const name = z.enum(names).transform((given) => known[given]!);
  const rule = expected(`a whole number, or one of ${names.join(', ')}`);
  const meanings = names.map((given) => `${given} ${known[given]}`).join(', ');
  return z.union([word, name], { error: rule }).meta({ description: `${about} A number, or a name: ${meanings}.` });
}

/** The message of every member of the union, as zod may show that of any one of them. */
const wrong = { error: (issue: { input?: unknown }): string => wrongU64(issue.input) };

export const U64 = z.union([z.string().regex(/^0x[0-9a-fA-F]{1,16}$/, wrong), z.int(wrong).min(0, wrong)], wrong).meta({
  id: 'U64',
  description: 'A 64-bit number: a hexadecimal string of at most 16 digits, or a safe non-negative integer.',
  examples: ['0x1000', 4096],
});

export type U64 = z.output<typeof U64>;

/** A 64-bit number in the canonical form of answers, commands and queries. */
export const toHex = (value: U64): string => hex(BigInt(value));

/** `U64`, whose value is made canonical. */
export const hexOf = (about: string) => U64.transform(toHex).meta({ description: about });

/** A count of bytes that is small enough for an ordinary number. */
export function byteCount(most: number, about: string) {
  const rule = `a number of bytes from 0 to ${most}, such as ${most >> 1} or "${hex(most >> 1)}"`;
  return U64.transform(Number)
    .refine((value) => value <= most, { error: `expected ${rule}` })
    .meta({ description: about });
}

export const Hex64 = z
  .string()
  .regex(/^0x(0|[1-9a-f][0-9a-f]{0,15})$/)
  .meta({ id: 'Hex64', description: 'A 64-bit number in hexadecimal.', examples: ['0x1000'] });

/** The address of a PCI function as answers have it; domains beyond ffff are those of VMDs. */
export const Bdf = z
  .string()
  .regex(/^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/)
  .meta({ id: 'Bdf', description: 'Address of a PCI function, `dddd:bb:dd.f`.', examples: ['0000:01:00.0'] });

/** The same in a request, where the domain may be left out. The host reads it. */
export const bdfText = (about: string, most = 32) => text(most, about).meta({ override: { pattern: BDF.source } });

export const Base64 = z
  .base64({ error: expected('bytes in base64, such as "SGVsbG8="') })
  .meta({ id: 'Base64', description: 'Bytes in base64, with padding.', examples: ['SGVsbG8='] });

/** How many bytes a valid base64 string stands for. */
export function decodedLength(base64: string): number {
  const padding = base64.endsWith('==') ? 2 : base64.endsWith('=') ? 1 : 0;
  return (base64.length / 4) * 3 - padding;
}

/** The other way round: how many characters stand for so many bytes. */
export const inBase64 = (bytes: number): number => Math.ceil(bytes / 3) * 4;

/** Simulated time in nanoseconds, as a decimal string: a number would lose digits. */
export const Nanoseconds = z
  .string()
  .regex(/^\d{1,20}$/)
  .meta({ id: 'Nanoseconds', description: 'Simulated nanoseconds, decimal.', examples: ['1000000000'] });

export const Time = z
  .string()
  .meta({ id: 'Time', description: 'ISO 8601, in UTC.', examples: ['2026-01-31T12:00:00.000Z'] });

export function text(most: number, about: string) {
  const error = expected(`a string of at most ${most} characters`);
  return z.string({ error }).max(most, { error }).meta({ description: about });
}

/** A name that people give: not empty. */
export function name(about: string) {
  const error = expected('a string of 1 to 64 characters');
  return z.string({ error }).min(1, { error }).max(64, { error }).meta({ description: about });
}

export const flag = (about: string) => z.boolean().meta({ description: about });

/** A name of bytes, each as a character U+0000 to U+00FF: the kernel's `u8 name[64]`. */
const NAME_RULE = 'a string of at most 64 characters, each of them a byte (U+0000 to U+00FF)';
export const NameBytes = z
  .string({ error: expected(NAME_RULE) })
  .max(64, { error: expected(NAME_RULE) })
  .refine(isLatin1, { error: expected(NAME_RULE) })
  .meta({ id: 'NameBytes', description: 'A name: bytes as U+0000 to U+00FF, padded with NULs to 64.' });

function isLatin1(value: string): boolean {
  for (let index = 0; index < value.length; index++) if (value.charCodeAt(index) > 0xff) return false;
  return true;
}

export const ErrnoName = z
  .enum(Object.keys(ERRNO) as [Errno, ...Errno[]])
  .meta({ id: 'Errno', description: 'The name of a Linux error number.' });

export const FaultPoint = z
  .enum(FAULT_POINT_NAMES)
  .meta({ id: 'FaultPoint', description: 'A place in the kernel that can be made to fail.' });

/** An inclusive range: both ends belong to it. */
export const RangeInput = strict({
  start: U64.meta({ description: 'First address.' }),
  last: U64.meta({ description: 'Last address.' }),
}).meta({ id: 'RangeInput', examples: [{ start: '0x0', last: '0xffff' }] });

export const Range = strict({ start: Hex64, last: Hex64 }).meta({
  id: 'Range',
  description: 'A range of addresses; both ends are in it.',
});

/** The form of every list in an answer. */
export function listOf<Item extends z.ZodType>(id: string, item: Item) {
  return strict({
    items: z.array(item),
    nextPageToken: z
      .string()
      .nullable()
      .meta({ description: 'Where the list goes on, for the parameter `after`; null: nothing is left.' }),
  }).meta({ id });
}

/** Makes the answer of a list that has only one page. */
export const whole = <Item>(items: Item[]) => ({ items, nextPageToken: null });
