/**
 * Batches of maps and unmaps, in their three shapes. These schemas only document: bodies, which may be large, are read
 * by the decoder in src/host/batch, which a test compares with these schemas.
 */

import { z } from 'zod';
import { COLUMNS, MAY_BE_NULL } from '../../host/batch/column-reader.ts';
import { ON_ERROR } from '../../host/batch/decode.ts';
import { isAllowed, isU64, OPERATION, OPS, RULES } from '../../host/batch/fields.ts';
import { MAX_OPERATIONS, MAX_RESULTS } from '../../limits.ts';
import { UMAX } from '../../machine/address.ts';
import type { Forms } from '../openapi-form.ts';
import { booleanText } from '../parameters.ts';
import { ErrnoName, expected, flag, Hex64, integer, s32, strict, told, U64 } from './values.ts';

const iova = U64.meta({ description: 'Where to map it; the kernel chooses if it is not given.' }).optional();
const length = U64.meta({ description: 'Bytes.' });
const access = {
  readable: flag('Whether devices may read; true if not given.').optional(),
  writeable: flag('Whether devices may write; true if not given.').optional(),
};
const COUNT = {
  count: integer(1, MAX_OPERATIONS).meta({ description: 'How many operations.' }),
  stride: U64.meta({ description: 'From one IOVA to the next; `length` if not given.' }).optional(),
};
const memoryStride = U64.meta({ description: 'The same in the memory; `stride` if not given.' }).optional();

const MAP = {
  op: z.literal('map'),
  iova,
  length,
  userVa: U64.meta({ description: 'Address in the process.' }),
  ...access,
};
const MAP_FILE = {
  op: z.literal('map-file'),
  iova,
  length,
  fd: s32().meta({ description: 'Descriptor of the memfd.' }),
  start: U64.meta({ description: 'First byte of the file.' }),
  ...access,
};
const UNMAP = { op: z.literal('unmap'), iova: U64.meta({ description: 'First IOVA.' }), length };

const anOp = { error: told('op', RULES.op) };

export const BatchOperation = z
  .discriminatedUnion(
    'op',
    [
      strict(MAP).meta({ id: 'BatchMap' }),
      strict(MAP_FILE).meta({ id: 'BatchMapFile' }),
      strict(UNMAP).meta({ id: 'BatchUnmap' }),
    ],
    anOp,
  )
  .meta({ id: 'BatchOperation', description: 'One map or unmap, as its ioctl would do it.' });

/** Whether the last of `count` values has at most 64 bits; true if a value is no number, which is refused elsewhere. */
function fits(first: unknown, stride: unknown, count: number): boolean {
  if (!isU64(first) || !isU64(stride)) return true;
  return BigInt(first as U64) + BigInt(count - 1) * BigInt(stride as U64) <= UMAX;
}

const BatchRun = z
  .discriminatedUnion(
    'op',
    [
      strict({ ...MAP, ...COUNT, userVaStride: memoryStride }).meta({ id: 'BatchMapRun' }),
      strict({ ...MAP_FILE, ...COUNT, startStride: memoryStride }).meta({ id: 'BatchMapFileRun' }),
      strict({ ...UNMAP, ...COUNT }).meta({ id: 'BatchUnmapRun' }),
    ],
    anOp,
  )
  .superRefine((run, context) => {
    const fields = run as Record<string, unknown>;
    const stride = fields.stride ?? run.length;
    const further = fields.userVaStride ?? fields.startStride ?? stride;
    const start = fields.userVa ?? fields.start ?? 0;
    if (!isAllowed('count', run.count)) return;
    if (!fits(run.iova ?? 0, stride, run.count) || !fits(start, further, run.count))
      context.addIssue({ code: 'custom', path: ['count'], message: 'the last of them would begin beyond 64 bits' });
  })
  .meta({ id: 'BatchRun', description: 'Many operations of one kind at equal distances.' });

type ColumnName = (typeof COLUMNS)[number];

function column(name: ColumnName, one: z.ZodType) {
  const element = MAY_BE_NULL.includes(name) ? one.nullable() : one;
  return z.union([one, z.array(element)], { error: expected(`${RULES[name]}, or a list of these`) }).optional();
}

const COLUMN_TYPES: Record<ColumnName, z.ZodType> = {
  op: z.enum(OPS),
  iova: U64,
  length: U64,
  userVa: U64,
  fd: s32(),
  start: U64,
  readable: z.boolean(),
  writeable: z.boolean(),
};

const columns = Object.fromEntries(COLUMNS.map((name) => [name, column(name, COLUMN_TYPES[name])]));

const BatchColumns = strict(columns)
  .superRefine((given, context) => {
    for (const problem of columnProblems(given)) context.addIssue({ code: 'custom', ...problem });
  })
  .meta({
    id: 'BatchColumns',
    description:
      'Of each field a list with a value for each operation, or one value for all. `op` is `map` if not given. In a ' +
      'list null stands for a field that is not given; what an operation does not have is ignored.',
  });

/** Checks columns together: all have equally many values, and each operation has all that it needs. */
function* columnProblems(given: Partial<Record<ColumnName, unknown>>): Generator<{ path: string[]; message: string }> {
  const names = COLUMNS.filter((name) => given[name] !== undefined);
  const lists = names.filter((name) => Array.isArray(given[name]));
  const rows = (given[lists[0]!] as unknown[] | undefined)?.length ?? 0;
  if (lists.length === 0) yield { path: [], message: 'at least one column must be a list of values' };
  for (const name of lists)
    if ((given[name] as unknown[]).length !== rows) yield { path: [name], message: 'has another number of values' };
  if (lists.length === 0 || lists.some((name) => (given[name] as unknown[]).length !== rows)) return;
  const at = (name: ColumnName, row: number): unknown => {
    const value = given[name];
    return Array.isArray(value) ? value[row] : value;
  };
  const needed = new Set<string>();
  for (let row = 0; row < rows; row++) {
    const op = OPS.indexOf((at('op', row) ?? 'map') as (typeof OPS)[number]);
    for (const name of OPERATION.allowed[op] ?? []) needed.add(name);
    for (const name of (OPERATION.required[op] ?? []) as readonly ColumnName[])
      if (name !== 'op' && !isAllowed(name, at(name, row))) yield { path: [name], message: `required: ${RULES[name]}` };
  }
  if (rows > 0)
    for (const name of names)
      if (!needed.has(name)) yield { path: [name], message: 'none of the operations has this field' };
}

const onError = z.enum(ON_ERROR).meta({
  description:
    'What a refused operation does: `stop` ends the batch there, `continue` goes on behind it, `rollback` ends it and ' +
    'undoes all that it has done.',
});

const FORMS: Forms = {
  BatchOfOperations: {
    description: 'A batch as a list of operations.',
    needs: ['operations'],
    without: ['columns', 'runs'],
  },
  BatchOfColumns: {
    description: 'A batch as a list of values for each field.',
    needs: ['columns'],
    without: ['operations', 'runs'],
  },
  BatchOfRuns: {
    description: 'A batch as runs of many operations each.',
    needs: ['runs'],
    without: ['operations', 'columns'],
  },
};

export const BatchInput = strict({
  onError: onError.optional(),
  results: flag('Whether the outcome of every operation is answered.').optional(),
  operations: z.array(BatchOperation).meta({ description: 'One object an operation.' }).optional(),
  columns: BatchColumns.optional(),
  runs: z.array(BatchRun).meta({ description: 'Many operations an object.' }).optional(),
})
  .superRefine(({ operations, columns, runs, results }, context) => {
    const refuse = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message });
    if ([operations, columns, runs].filter((shape) => shape !== undefined).length !== 1)
      refuse([], 'expected exactly one of operations, columns and runs');
    const count =
      operations?.length ??
      runs?.reduce((sum, run) => sum + run.count, 0) ??
      (Object.values(columns ?? {}).find(Array.isArray) as unknown[] | undefined)?.length ??
      0;
    if (count > MAX_OPERATIONS) refuse([], `a batch has at most ${MAX_OPERATIONS} operations`);
    if (results && count > MAX_RESULTS) refuse(['results'], `of at most ${MAX_RESULTS} operations`);
  })
  .meta({ id: 'BatchInput', description: 'Exactly one of `operations`, `columns` and `runs`.', forms: FORMS });

export const BatchQuery = strict({
  onError: onError
    .extract(['stop', 'continue'])
    .meta({ description: 'Of lines: what a refused operation does; `stop` if not given.' })
    .optional(),
  results: booleanText('Of lines: whether the outcome of every operation is answered.').optional(),
});

const count = (about: string) => z.int().min(0).meta({ description: about });
const Bytes = (about: string) =>
  z
    .string()
    .regex(/^0x(0|[1-9a-f][0-9a-f]*)$/)
    .meta({ description: `${about} Hexadecimal; it may exceed 64 bits.` });

const BatchError = strict({
  index: count('Which operation of the batch, from 0.'),
  errno: ErrnoName,
  where: z.string().meta({ description: 'The kernel function that refuses.' }),
  why: z.string().meta({ description: 'What would help.' }),
  rule: z.string().optional(),
  fault: z.int().meta({ description: 'The fault that was armed and has struck.' }).optional(),
}).meta({ id: 'BatchError' });

const BatchResult = z
  .union([strict({ iova: Hex64 }), strict({ length: Hex64 }), strict({ errno: ErrnoName }), z.null()])
  .meta({
    id: 'BatchResult',
    description: 'Where it was mapped, how much was unmapped, or why not; null if it was not tried or is undone.',
  });

const counts = {
  applied: count('Operations that took effect.'),
  failed: count('Operations that were refused.'),
};
const bytes = {
  mappedBytes: Bytes('Bytes of all maps that took effect.'),
  unmappedBytes: Bytes('Bytes of all areas that were unmapped.'),
};
const errors = z.array(BatchError).meta({ description: 'The first 100 that were refused.' });
const results = z.array(BatchResult).meta({ description: 'In the order of the operations.' }).optional();

export const BatchAnswer = strict({
  ...counts,
  skipped: count('Operations that were not tried, or are undone.'),
  ...bytes,
  errors,
  results,
}).meta({ id: 'BatchAnswer' });

export const BatchProgress = strict({
  acknowledged: count('So many operations, from the first on, are done for good.'),
  ...counts,
  ...bytes,
  errors: errors.meta({ description: 'Those refused since the line before; the first 100 in all.' }),
  results,
  done: z.literal(true).meta({ description: 'In the last line.' }).optional(),
  problem: z.looseObject({}).meta({ description: 'Why the rest was not done, as problem details.' }).optional(),
}).meta({ id: 'BatchProgress', description: 'A line of the answer to lines. Counts are of all so far.' });
