/** A batch does what its operations do one by one: the same results, and the same state behind them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { BatchResult } from '../../src/host/batch/execution.ts';
import type { CallResult } from '../../src/kernel/uapi/calls.ts';
import { useApp } from '../support/app.ts';
import { batch, type Operation, stream, type Target } from '../support/batch.ts';
import { D1, type Host } from '../support/client.ts';
import type { Process } from '../support/process.ts';

const app = useApp();

const PAGE = 4096;
const IOVA = 0x1_0000_0000;
/** 64 pages that can be written, 8 that cannot, then nothing. */
const VA = 0x7f00_0000_0000;
const READ_ONLY = VA + 64 * PAGE;
const FILE_PAGES = 16;
const FIXED = 1;
const WRITEABLE = 2;
const READABLE = 4;

interface Lab {
  host: Host;
  process: Process;
  iommufd: number;
  device: number;
  memfd: number;
}

/** A process that may lock 14 pages. */
async function lab(): Promise<Lab> {
  const host = await app.host();
  const process = await host.process({ capabilities: [] });
  await process.mmap(VA, 72 * PAGE);
  const iommufd = await process.open('/dev/iommu');
  const cdev = await process.openCdev(D1);
  const device = await process.bind(cdev, iommufd);
  const memfd = await process.memfd(FILE_PAGES * PAGE);
  // All pages are there from the beginning: else a batch that is undone gives back what single calls do not.
  await process.allocate(memfd, 0, FILE_PAGES * PAGE);
  const memory = `/processes/${process.pid}/memory`;
  await host.request('put', `${memory}/0x${VA.toString(16)}`, { data: Buffer.alloc(72 * PAGE).toString('base64') });
  await host.request('put', `${memory}/0x${READ_ONLY.toString(16)}/protection`, { length: 8 * PAGE, prot: 1 });
  await process.call('setrlimit', { memlock: 14 * PAGE });
  return { host, process, iommufd, device, memfd };
}

const iova = fc.oneof(
  { weight: 8, arbitrary: fc.nat(40).map((page) => IOVA + page * PAGE) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<string | number>(
      IOVA + 2048,
      IOVA + 1,
      0xfee0_0000,
      0,
      '0xffffffffffffffff',
      '0xfffffffffffff000',
    ),
  },
);
const length = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 1, max: 6 }).map((pages) => pages * PAGE) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<string | number>(
      0,
      2048,
      1,
      3 * PAGE + 2048,
      '0xffffffffffffffff',
      '0xfffffffffffff000',
    ),
  },
);
const userVa = fc.oneof(
  { weight: 8, arbitrary: fc.nat(60).map((page) => VA + page * PAGE) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<string | number>(
      VA + 2048,
      READ_ONLY,
      READ_ONLY + 6 * PAGE,
      0,
      '0xfffffffffffff000',
      '0xffffffffffffffff',
    ),
  },
);
const start = fc.oneof(
  { weight: 6, arbitrary: fc.nat(FILE_PAGES).map((page) => page * PAGE) },
  { weight: 1, arbitrary: fc.constantFrom<string | number>(2048, '0xfffffffffffff000', '0xffffffffffffffff') },
);
const access = { readable: fc.boolean(), writeable: fc.boolean() };
const fd = fc.constantFrom('memfd', 'memfd', 'memfd', 'iommufd', 99);

const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record(
      { op: fc.constant('map'), iova, length, userVa, ...access },
      { requiredKeys: ['op', 'length', 'userVa'] },
    ),
  },
  {
    weight: 2,
    arbitrary: fc.record(
      { op: fc.constant('map-file'), iova, length, fd, start, ...access },
      { requiredKeys: ['op', 'length', 'fd', 'start'] },
    ),
  },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('unmap'), iova, length }) },
  { weight: 1, arbitrary: fc.constant({ op: 'unmap', iova: 0, length: '0xffffffffffffffff' }) },
);

/** Many that are alike, which a batch may do at once; something may be in the way of one of them. */
const stretch: fc.Arbitrary<Operation[]> = fc
  .record({
    op: fc.constantFrom('map', 'map', 'unmap'),
    first: fc.nat(30),
    memory: fc.nat(60),
    count: fc.integer({ min: 8, max: 30 }),
    stride: fc.constantFrom(1, 1, 1, 2, 3),
    startStride: fc.constantFrom(1, 1, 0, 2),
    length: fc.constantFrom(PAGE, PAGE, PAGE, 2 * PAGE),
  })
  .map(({ op, first, memory, count, stride, startStride, length }) =>
    Array.from({ length: count }, (_, index) => ({
      op,
      iova: IOVA + (first + index * stride) * PAGE,
      length,
      ...(op === 'map' && { userVa: VA + (memory + index * startStride) * PAGE }),
    })),
  );

const operations = (most: number): fc.Arbitrary<Operation[]> =>
  fc
    .array(fc.oneof({ weight: 12, arbitrary: operation.map((one) => [one]) }, { weight: 1, arbitrary: stretch }), {
      minLength: 1,
      maxLength: most,
    })
    .map((some) => some.flat());

/** The ioctl of an operation. */
function callOf({ op, ...fields }: Operation, { iommufd }: Lab, ioas: number): Record<string, unknown> {
  const { iova, length, readable = true, writeable = true, userVa, fd, start } = fields;
  if (op === 'unmap')
    return { call: 'ioctl', fd: iommufd, request: 'IOMMU_IOAS_UNMAP', arg: { ioas_id: ioas, iova, length } };
  const flags = (iova === undefined ? 0 : FIXED) | (readable ? READABLE : 0) | (writeable ? WRITEABLE : 0);
  const arg = { flags, ioas_id: ioas, iova: iova ?? 0, length };
  return op === 'map'
    ? { call: 'ioctl', fd: iommufd, request: 'IOMMU_IOAS_MAP', arg: { ...arg, user_va: userVa } }
    : { call: 'ioctl', fd: iommufd, request: 'IOMMU_IOAS_MAP_FILE', arg: { ...arg, fd, start } };
}

function resultOf(operation: Operation, { errno, arg }: CallResult): BatchResult {
  if (errno !== undefined) return { errno } as BatchResult;
  return operation.op === 'unmap' ? { length: String(arg?.length) } : { iova: String(arg?.iova) };
}

/** All that can be seen of an IOAS and of what its mappings cost. */
async function stateOf({ host, process, iommufd }: Lab, ioas: number): Promise<unknown> {
  const path = `/processes/${process.pid}/iommufds/${iommufd}/ioases/${ioas}`;
  const { memory } = await host.view();
  return [
    await host.request('get', path),
    await host.request('get', `${path}/mappings`),
    await host.request('get', `/processes/${process.pid}`),
    await host.domains(),
    memory,
  ];
}

/** Columns that say the same, with null where an operation does not have a field. */
function columnsOf(operations: readonly Operation[]): Record<string, unknown> {
  const names = ['op', 'iova', 'length', 'userVa', 'fd', 'start', 'readable', 'writeable'];
  const used = names.filter((name) => operations.some((operation) => operation[name] !== undefined));
  return Object.fromEntries(
    used.map((name) => [
      name,
      operations.map((operation) => operation[name] ?? (name === 'readable' || name === 'writeable' ? true : null)),
    ]),
  );
}

type Form = 'operations' | 'columns' | 'lines';

test('a batch is the same as its operations one by one', async () => {
  const [batched, single] = [await lab(), await lab()];
  const setUp = async (lab: Lab, attached: boolean): Promise<{ ioas: number; hwpt: number }> => {
    const ioas = await lab.process.allocIoas(lab.iommufd);
    return { ioas, hwpt: attached ? await lab.process.allocHwpt(lab.iommufd, lab.device, ioas) : 0 };
  };
  const cleanUp = async ({ process, iommufd }: Lab, { ioas, hwpt }: { ioas: number; hwpt: number }): Promise<void> => {
    if (hwpt > 0) await process.destroy(iommufd, hwpt);
    await process.destroy(iommufd, ioas);
  };
  const form = fc.constantFrom<Form>('operations', 'columns', 'lines');
  const onError = fc.constantFrom('stop', 'continue', 'rollback');
  await fc.assert(
    fc.asyncProperty(
      operations(24),
      operations(16),
      fc.boolean(),
      form,
      onError,
      async (earlier, given, attached, form, asked) => {
        const onError = form === 'lines' && asked === 'rollback' ? 'stop' : asked;
        const operations = given.map((operation) => withFd(operation, batched));
        const before = earlier.map((operation) => withFd(operation, batched));
        const [own, others] = [await setUp(batched, attached), await setUp(single, attached)];
        const target: Target = { app, process: batched.process, iommufd: batched.iommufd, ioas: own.ioas };
        const run = (some: readonly Operation[]) =>
          single.host.runCalls(
            single.process.pid,
            some.map((operation) => callOf(operation, single, others.ioas)),
          );

        await batch(target, { operations: before, onError: 'continue' });
        await run(before);
        const start = await stateOf(batched, own.ioas);
        assert.deepEqual(start, await stateOf(single, others.ioas));

        const results: BatchResult[] = [];
        if (form === 'lines') {
          for (const line of await stream(target, operations, `?results=true&onError=${onError}`))
            results.push(...(line.results ?? []));
        } else {
          const shape = form === 'columns' ? { columns: columnsOf(operations) } : { operations };
          results.push(...((await batch(target, { ...shape, onError, results: true })).results ?? []));
        }

        const wanted: BatchResult[] = [];
        for (const operation of operations) {
          const [result] = await run([operation]);
          wanted.push(resultOf(operation, result!));
          if (result!.errno !== undefined && onError !== 'continue') break;
        }
        const failed = wanted.some((result) => result !== null && 'errno' in result);
        const skipped = Array.from(operations.slice(wanted.length), () => null);
        const undone = onError === 'rollback' && failed;
        const told = undone ? wanted.map((result) => (result && 'errno' in result ? result : null)) : wanted;
        assert.deepEqual(results, [...told, ...skipped]);
        // A map that is refused has nothing to be undone, but may leave an empty table, as its ioctl does.
        const asBefore = undone && (wanted.length > 1 || operations[0]!.op === 'unmap');
        assert.deepEqual(await stateOf(batched, own.ioas), asBefore ? start : await stateOf(single, others.ioas));
        await cleanUp(batched, own);
        await cleanUp(single, others);
      },
    ),
    { numRuns: 80 },
  );
});

function withFd(operation: Operation, { memfd, iommufd }: Lab): Operation {
  if (operation.op !== 'map-file') return operation;
  return { ...operation, fd: operation.fd === 'memfd' ? memfd : operation.fd === 'iommufd' ? iommufd : operation.fd };
}
