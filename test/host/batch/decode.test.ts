/** The decoder of batches is written by hand, for speed. Here it is held to the schemas that document it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Columns, OP_BITS, OP_MASK, type Words } from '../../../src/host/batch/columns.ts';
import { type BatchOptions, type Decoded, decodeJson, decodeLines } from '../../../src/host/batch/decode.ts';
import { OPS } from '../../../src/host/batch/fields.ts';
import { pack, unpack } from '../../../src/host/batch/packed.ts';
import type { Problem } from '../../../src/http/problems.ts';
import { BatchInput, BatchOperation } from '../../../src/http/schemas/batch.ts';
import { invalid, read } from '../../../src/http/validation.ts';
import { MAX_OPERATIONS } from '../../../src/limits.ts';

type Field = string | number | boolean | null;
type Row = Record<string, Field | Field[]>;

/** An operation, in whichever shape it came. */
interface Operation {
  op: string;
  /** Null: the kernel chooses. */
  iova: bigint | null;
  length: bigint;
  start: bigint;
  fd: number;
  readable: boolean;
  writeable: boolean;
}

function decode(text: string, pause = 7): Decoded {
  return finish(decodeJson(new TextEncoder().encode(text), pause));
}

const OPTIONS: BatchOptions = { onError: 'stop', results: false };

function finish(steps: Generator<void, Decoded>): Decoded {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** What the columns say, operation by operation. */
function operationsOf(columns: Columns): Operation[] {
  const { rows, kind, iova, length, start, fd, runs } = columns;
  const big = (words: Words, row: number): bigint => words.big(words.rows === 1 ? 0 : row);
  const operations: Operation[] = [];
  for (let row = 0; row < rows; row++) {
    const word = kind.data[kind.rows === 1 ? 0 : row]!;
    const op = OPS[word & OP_MASK]!;
    const flags = word >>> OP_BITS;
    for (let place = 0n; place < (runs ? runs.count.data[row]! : 1); place++)
      operations.push({
        op,
        iova: flags & 1 ? big(iova, row) + place * (runs?.stride.big(row) ?? 0n) : null,
        length: big(length, row),
        start: op === 'unmap' ? 0n : big(start, row) + place * (runs?.startStride.big(row) ?? 0n),
        fd: op === 'map-file' ? fd.data[fd.rows === 1 ? 0 : row]! : 0,
        readable: op === 'unmap' || (flags & 4) !== 0,
        writeable: op === 'unmap' || (flags & 2) !== 0,
      });
  }
  return operations;
}

/** The same from what the schema has let pass, in the plainest way. */
function expected({ operations, columns, runs }: Record<string, unknown>): Operation[] {
  if (operations) return (operations as Row[]).map(operation);
  if (runs)
    return (runs as Row[]).flatMap((run) =>
      Array.from({ length: run.count as number }, (_, place) => {
        const stride = BigInt((run.stride ?? run.length) as string);
        const further = BigInt((run.userVaStride ?? run.startStride ?? stride) as string);
        const { iova, start, ...rest } = operation(run);
        return {
          ...rest,
          iova: iova === null ? null : iova + BigInt(place) * stride,
          start: run.op === 'unmap' ? 0n : start + BigInt(place) * further,
        };
      }),
    );
  const given = columns as Record<string, Field | Field[]>;
  const rows = (Object.values(given).find(Array.isArray) as Field[]).length;
  return Array.from({ length: rows }, (_, row) => {
    const fields = Object.entries(given).map(([name, value]) => [name, Array.isArray(value) ? value[row] : value]);
    return operation({ op: 'map', ...Object.fromEntries(fields.filter(([, value]) => value !== null)) });
  });
}

function operation(row: Row): Operation {
  const { op, iova, readable, writeable } = row;
  const big = (value: unknown): bigint => BigInt((value ?? 0) as string);
  return {
    op: op as string,
    iova: iova === undefined ? null : big(iova),
    length: big(row.length),
    start: op === 'unmap' ? 0n : big(op === 'map' ? row.userVa : row.start),
    fd: op === 'map-file' ? (row.fd as number) : 0,
    readable: op === 'unmap' || readable !== false,
    writeable: op === 'unmap' || writeable !== false,
  };
}

const u64 = fc.oneof(
  fc.bigInt(0n, 2n ** 64n - 1n).map((value) => `0x${value.toString(16)}`),
  fc.bigInt(0n, 2n ** 64n - 1n).map((value) => `0x${value.toString(16).padStart(16, '0').toUpperCase()}`),
  fc.maxSafeNat(),
  fc.nat(0xffff),
  fc.constantFrom(0, 4096, '0x0', '0x1000', '0xffffffffffffffff', Number.MAX_SAFE_INTEGER),
);
/** What may stand where something else should. */
const wrong = fc.constantFrom<Field | Field[]>(
  ...['0x', '0xg', '4096', 'fee0', '0x10000000000000000', '', 'map', 'unmap', 'map-file', 'mop', ' 0x1'],
  ...[-1, 0.5, 1e300, 2 ** 53, -0, 1e3, 2 ** 31, -(2 ** 31)],
  ...[true, false, null],
  ...[[], ['0x1000', 1], [true]],
);
const values: Record<string, fc.Arbitrary<Field>> = {
  op: fc.constantFrom(...OPS),
  iova: u64,
  length: u64,
  userVa: u64,
  fd: fc.oneof(fc.nat(9), fc.integer()),
  start: u64,
  readable: fc.boolean(),
  writeable: fc.boolean(),
  count: fc.integer({ min: 1, max: 5 }),
  stride: fc.oneof(fc.nat(0x10000), u64),
  userVaStride: fc.nat(0x10000),
  startStride: fc.nat(0x10000),
};

function fieldsOf(names: readonly string[], optional: readonly string[]): fc.Arbitrary<Row> {
  const pick = (list: readonly string[]) => Object.fromEntries(list.map((name) => [name, values[name]!]));
  return fc
    .record({ ...pick(names), ...pick(optional) }, { requiredKeys: [...names], noNullPrototype: true })
    .chain((row) => fc.shuffledSubarray(Object.entries(row), { minLength: Object.keys(row).length }))
    .map((entries) => Object.fromEntries(entries) as Row);
}

const access = ['readable', 'writeable'];
const rowOf = (more: readonly string[], optional: (start: string) => readonly string[]): fc.Arbitrary<Row> =>
  fc.oneof(
    fieldsOf(['length', 'userVa', ...more], ['iova', ...access, ...optional('userVa')]).map((row) => ({
      op: 'map',
      ...row,
    })),
    fieldsOf(['length', 'fd', 'start', ...more], ['iova', ...access, ...optional('start')]).map((row) => ({
      ...row,
      op: 'map-file',
    })),
    fieldsOf(['iova', 'length', ...more], more.length > 0 ? ['stride'] : []).map((row) => ({ op: 'unmap', ...row })),
  );
const anOperation = rowOf([], () => []);
const aRun = rowOf(['count'], (start) => ['stride', `${start}Stride`]);

const columns = fc.integer({ min: 0, max: 6 }).chain((rows) => {
  const list = (value: fc.Arbitrary<Field>, nulls: boolean): fc.Arbitrary<Field | Field[]> =>
    fc.oneof(
      value,
      fc.array(nulls ? fc.oneof({ weight: 5, arbitrary: value }, { weight: 1, arbitrary: fc.constant(null) }) : value, {
        minLength: rows,
        maxLength: rows,
      }),
    );
  const column = (name: string): fc.Arbitrary<Field | Field[]> =>
    list(values[name]!, ['iova', 'userVa', 'fd', 'start'].includes(name));
  const names = ['op', 'iova', 'length', 'userVa', 'fd', 'start', ...access];
  return fc.oneof(
    fc.record(Object.fromEntries(names.map((name) => [name, column(name)])), { requiredKeys: ['length'] }),
    fc.record({ op: fc.constant('map'), iova: column('iova'), length: column('length'), userVa: column('userVa') }),
    fc.record({
      iova: column('iova'),
      length: column('length'),
      userVa: column('userVa'),
      readable: column('readable'),
    }),
  );
});

const options = fc.record(
  { onError: fc.constantFrom('stop', 'continue', 'rollback', 'later'), results: fc.boolean() },
  { requiredKeys: [] },
);
const body: fc.Arbitrary<Record<string, unknown>> = fc
  .tuple(
    options,
    fc.oneof(
      fc.record({ operations: fc.array(anOperation, { maxLength: 12 }) }),
      fc.record({ columns }),
      fc.record({ runs: fc.array(aRun, { maxLength: 4 }) }),
      fc.constantFrom(
        {},
        { operations: [], runs: [] },
        { operations: 1 },
        { columns: {} },
        { columns: [] },
        { runs: {} },
      ),
    ),
  )
  .map(([given, shape]) => ({ ...given, ...shape }));

/** Changes one value somewhere, or removes it, or adds one. */
function damaged(value: unknown, place: number, by: unknown, how: number): unknown {
  const copy = structuredClone(value) as Record<string, unknown>;
  const places: [Record<string, unknown>, string][] = [];
  const visit = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    for (const key of Object.keys(node)) {
      places.push([node as Record<string, unknown>, key]);
      visit((node as Record<string, unknown>)[key]);
    }
  };
  visit(copy);
  const found = places[place % Math.max(1, places.length)];
  if (found === undefined) return copy;
  const [node, key] = found;
  if (how === 0) node[key] = by;
  else if (how === 1 && Array.isArray(node)) node.push(by);
  else if (how === 1)
    node[['extra', 'userVa', 'start', 'stride', 'a/b~c', '__proto__', 'lenght', 'Iova'][place % 8]!] = by;
  else if (Array.isArray(node)) node.pop();
  else delete node[key];
  return copy;
}

const anyBody = fc.oneof(
  { weight: 2, arbitrary: body },
  { weight: 3, arbitrary: fc.tuple(body, fc.nat(200), wrong, fc.nat(2)).map((given) => damaged(...given)) },
);
const spacing = fc.constantFrom('', ' ', '\n\t', '    ');
const write = (value: unknown, space: string): string =>
  JSON.stringify(value, (_key, item) => (Object.is(item, -0) ? 0 : item), space);

test('a batch is taken or refused, and understood, as its schema says', () => {
  let taken = 0;
  fc.assert(
    fc.property(anyBody, spacing, fc.integer({ min: 1, max: 20 }), (value, space, pause) => {
      const text = write(value, space);
      const decoded = decode(text, pause);
      const parsed = BatchInput.safeParse(JSON.parse(text));
      const why = () => `${text}\n${JSON.stringify(decoded.kind === 'invalid' ? decoded.errors : decoded.kind)}`;
      assert.equal(decoded.kind, parsed.success ? 'batch' : 'invalid', `${why()}\n${parsed.error}`);
      if (decoded.kind === 'invalid') {
        assert.ok(decoded.errors.length > 0, why());
        return;
      }
      taken++;
      assert.ok(decoded.kind === 'batch' && parsed.success);
      const { onError = 'stop', results = false } = parsed.data;
      assert.deepEqual(decoded.options, { onError, results });
      const operations = operationsOf(decoded.columns);
      assert.deepEqual(operations, expected(parsed.data), why());
      assert.equal(decoded.columns.operations, operations.length);
      assert.deepEqual(operationsOf(unpack(pack(decoded.columns))), operations);
    }),
    { numRuns: 3000 },
  );
  assert.ok(taken > 500, `${taken} were taken`);
});

/** What is answered where it throws. */
function reasons(act: () => unknown): Record<string, string> {
  try {
    act();
  } catch (error) {
    const { errors = [] } = (error as Problem).extras;
    return Object.fromEntries(errors.map(({ pointer, reason }) => [pointer, reason]));
  }
  return {};
}

test('of an operation the very fields are named that the schema names, and in its words', () => {
  fc.assert(
    fc.property(anOperation, fc.nat(200), wrong, fc.nat(2), (operation, place, by, how) => {
      const text = JSON.stringify({ operations: [operation, damaged(operation, place, by, how)] });
      const decoded = decode(text);
      const parsed = BatchOperation.safeParse(JSON.parse(text).operations[1]);
      if (parsed.success) assert.equal(decoded.kind, 'batch', text);
      else {
        assert.equal(decoded.kind, 'invalid', text);
        const { errors } = decoded as { errors: { pointer: string; reason: string }[] };
        const told = reasons(() => {
          throw invalid(errors.map((error) => ({ in: 'body', ...error })));
        });
        const wanted = reasons(() => read(BatchOperation, JSON.parse(text).operations[1], 'body'));
        const named = Object.entries(wanted).map(([pointer, reason]) => [`/operations/1${pointer}`, reason]);
        assert.deepEqual(told, Object.fromEntries(named), text);
      }
    }),
    { numRuns: 3000 },
  );
});

test('what is not JSON is refused where JSON.parse refuses it', () => {
  const noise = fc.constantFrom(...'{}[]",:\\ \n0123456789.eE+-xtruefalsnu/\u0000\u001f');
  fc.assert(
    fc.property(body, spacing, fc.nat(5000), noise, fc.nat(2), (value, space, place, character, how) => {
      const text = write(value, space);
      const at = place % (text.length + 1);
      const changed = text.slice(0, at) + (how === 2 ? '' : character) + text.slice(at + (how === 0 ? 0 : 1));
      let parsed: unknown;
      try {
        parsed = JSON.parse(changed);
      } catch {
        assert.equal(decode(changed).kind, 'malformed', changed);
        return;
      }
      const decoded = decode(changed);
      const accepted = BatchInput.safeParse(parsed).success;
      // A name that is there twice is refused, where JSON.parse takes the last.
      if (decoded.kind === 'invalid' && decoded.errors.some(({ reason }) => reason === 'given twice')) return;
      assert.equal(decoded.kind, accepted ? 'batch' : 'invalid', changed);
    }),
    { numRuns: 3000 },
  );
});

test('lines are operations, and blank ones are none', () => {
  fc.assert(
    fc.property(
      fc.array(anOperation, { maxLength: 20 }),
      fc.constantFrom('\n', '\r\n', '\n \n'),
      fc.boolean(),
      (rows, end, last) => {
        const text = rows.map((row) => JSON.stringify(row)).join(end) + (last ? end : '');
        const decoded = finish(decodeLines(new TextEncoder().encode(text), 0, OPTIONS, 3));
        assert.equal(decoded.kind, 'batch');
        assert.deepEqual(operationsOf((decoded as { columns: Columns }).columns), rows.map(operation));
      },
    ),
  );
});

test('a line that is not an operation is named by its number', () => {
  const good = '{"op":"unmap","iova":0,"length":1}';
  const refused = (text: string) => {
    const decoded = finish(decodeLines(new TextEncoder().encode(text), 10, OPTIONS, 3));
    return decoded.kind === 'invalid' ? decoded.errors.map(({ pointer }) => pointer) : decoded.kind;
  };
  assert.deepEqual(refused(`${good}\n{"op":"unmap","iova":0,\n"length":1}`), ['/11', '/12']);
  assert.deepEqual(refused(`${good}${good}\n`), ['/10']);
  assert.deepEqual(refused(`${good}\n\n[${good}]\n{"op":"map"}`), ['/11', '/12/length', '/12/userVa']);
});

test('a batch of more operations than there may be is refused, however short it is', () => {
  const runs = [
    { op: 'map', length: 1, userVa: 0, count: MAX_OPERATIONS },
    { op: 'unmap', iova: 0, length: 1, count: 1 },
  ];
  assert.equal(decode(JSON.stringify({ runs: runs.slice(0, 1) })).kind, 'batch');
  assert.equal(decode(JSON.stringify({ runs })).kind, 'invalid');
  const many = { runs: [{ ...runs[1], count: 100_001 }], results: true };
  assert.deepEqual(decode(JSON.stringify(many)).kind, 'invalid');
});

test('bytes of an unknown version are not taken for a batch', () => {
  const packed = pack((decode('{"operations":[]}') as { columns: Columns }).columns);
  assert.equal(unpack(packed).operations, 0);
  packed[0] = 9;
  assert.throws(() => unpack(packed), /version 9/);
  assert.throws(() => unpack(new Uint8Array()), /version/);
});
