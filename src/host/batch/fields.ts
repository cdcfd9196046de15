/** The fields of an operation of a batch, and of a run of operations: which there are, and what their values may be. */
import { MAX_OPERATIONS } from '../../limits.ts';
import { didYouMean } from '../../nearest.ts';
import { U64_RULE, unknownField, wrongU64 } from '../request-values.ts';
import { Token } from './json-reader.ts';

/** A field of a request (JSON pointer), and why it is refused. */
export interface Wrong {
  pointer: string;
  reason: string;
}

/** In the order of MAP, MAP_FILE and UNMAP. */
export const OPS = ['map', 'map-file', 'unmap'] as const;

export const OP_NAMES = OPS.map((name) => new Token(name));

export const FIELDS = [
  'op',
  'iova',
  'length',
  'userVa',
  'fd',
  'start',
  'readable',
  'writeable',
  'count',
  'stride',
  'userVaStride',
  'startStride',
] as const;
export type Field = (typeof FIELDS)[number];

/** Positions of some fields in FIELDS. */
export const FIELD = {
  op: 0,
  iova: 1,
  length: 2,
  userVa: 3,
  fd: 4,
  start: 5,
  readable: 6,
  writeable: 7,
} as const satisfies Partial<Record<Field, number>>;

const FOR_MAP: readonly Field[] = ['op', 'iova', 'length', 'userVa', 'readable', 'writeable'];
const FOR_MAP_FILE: readonly Field[] = ['op', 'iova', 'length', 'fd', 'start', 'readable', 'writeable'];
const FOR_UNMAP: readonly Field[] = ['op', 'iova', 'length'];

/** By operation: the fields that it may have, and those that it must have. */
export const OPERATION = {
  allowed: [FOR_MAP, FOR_MAP_FILE, FOR_UNMAP],
  required: [
    ['op', 'length', 'userVa'],
    ['op', 'length', 'fd', 'start'],
    ['op', 'iova', 'length'],
  ],
} as const satisfies Shape;

export const RUN = {
  allowed: [
    [...FOR_MAP, 'count', 'stride', 'userVaStride'],
    [...FOR_MAP_FILE, 'count', 'stride', 'startStride'],
    [...FOR_UNMAP, 'count', 'stride'],
  ],
  required: OPERATION.required.map((fields) => [...fields, 'count'] as const),
} as const satisfies Shape;

export interface Shape {
  allowed: readonly (readonly Field[])[];
  required: readonly (readonly Field[])[];
}

const FD_RULE = 'a whole number from -2147483648 to 2147483647';
const COUNT_RULE = `a whole number from 1 to ${MAX_OPERATIONS}`;

/** What is allowed for a field. */
export const RULES: Readonly<Record<Field, string>> = {
  op: `one of ${OPS.join(', ')}`,
  iova: U64_RULE,
  length: U64_RULE,
  userVa: U64_RULE,
  fd: FD_RULE,
  start: U64_RULE,
  readable: 'true or false',
  writeable: 'true or false',
  count: COUNT_RULE,
  stride: U64_RULE,
  userVaStride: U64_RULE,
  startStride: U64_RULE,
};

const HEX64 = /^0x[0-9a-fA-F]{1,16}$/;

export const isU64 = (value: unknown): boolean =>
  typeof value === 'number'
    ? Number.isSafeInteger(value) && value >= 0
    : typeof value === 'string' && HEX64.test(value);

const isInteger = (value: unknown, least: number, most: number): boolean =>
  typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most;

const isBoolean = (value: unknown): boolean => typeof value === 'boolean';

const ALLOWED: Readonly<Record<Field, (value: unknown) => boolean>> = {
  op: (value) => OPS.includes(value as never),
  iova: isU64,
  length: isU64,
  userVa: isU64,
  fd: (value) => isInteger(value, -(2 ** 31), 2 ** 31 - 1),
  start: isU64,
  readable: isBoolean,
  writeable: isBoolean,
  count: (value) => isInteger(value, 1, MAX_OPERATIONS),
  stride: isU64,
  userVaStride: isU64,
  startStride: isU64,
};

/** Whether a field may have this value. */
export const isAllowed = (field: Field, value: unknown): boolean => ALLOWED[field](value);

/** What one operation, or one run, says. */
export type Row = Partial<Record<Field, string | number | boolean>>;

/** What is wrong with a value that should be an operation or a run; empty: nothing. */
export function wrongWith(value: unknown, shape: Shape, pointer: string): Wrong[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return [{ pointer, reason: 'expected a JSON object' }];
  const row = value as Record<string, unknown>;
  const op = OPS.indexOf(row.op as (typeof OPS)[number]);
  if (op < 0) return [{ pointer: `${pointer}/op`, reason: reasonFor('op', row.op) }];
  const allowed: readonly string[] = shape.allowed[op]!;
  const wrong: Wrong[] = [];
  for (const field of shape.allowed[op]!) {
    const given = row[field];
    const missing = !Object.hasOwn(row, field);
    if (missing ? shape.required[op]!.includes(field) : !isAllowed(field, given))
      wrong.push({ pointer: `${pointer}/${field}`, reason: reasonFor(field, given) });
  }
  for (const name of Object.keys(row))
    if (!allowed.includes(name))
      wrong.push({ pointer: `${pointer}/${escapePointer(name)}`, reason: unknownField(allowed) });
  return wrong;
}

/** Why a field may not have this value. */
export function reasonFor(field: Field, given: unknown): string {
  if (RULES[field] === U64_RULE) return wrongU64(given);
  const verb = given === undefined ? 'required:' : 'expected';
  return `${verb} ${RULES[field]}${field === 'op' ? didYouMean(given, OPS) : ''}`;
}

export const escapePointer = (name: string): string => name.replaceAll('~', '~0').replaceAll('/', '~1');
