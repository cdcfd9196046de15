import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { IoasView, MappingView } from '../../src/host/views.ts';
import { TestApp, useApp } from '../support/app.ts';
import {
  batch,
  LINES,
  linesOf,
  type Operation,
  progressOf,
  send,
  stream,
  type Target,
  urlOf,
} from '../support/batch.ts';
import { D1 } from '../support/client.ts';

const ours = useApp();

const VA = 0x7f00_0000_0000;
const IOVA = 0x1_0000_0000;
const PAGE = 4096;

/** An IOAS with a domain, and memory of the process to map. */
async function target(app: TestApp = ours): Promise<Target> {
  const host = await app.host();
  const process = await host.process();
  const iommufd = await process.open('/dev/iommu');
  const cdev = await process.openCdev(D1);
  await process.bind(cdev, iommufd);
  const ioas = await process.allocIoas(iommufd);
  await process.attach(cdev, ioas);
  await process.mmap(VA, 0x1000_0000);
  return { app, process, iommufd, ioas };
}

const map = (index: number, pages = 1): Operation => ({
  op: 'map',
  iova: IOVA + index * PAGE,
  length: pages * PAGE,
  userVa: VA + index * PAGE,
});
const unmap = (index: number, pages = 1): Operation => ({
  op: 'unmap',
  iova: IOVA + index * PAGE,
  length: pages * PAGE,
});
const maps = (count: number): Operation[] => Array.from({ length: count }, (_, index) => map(index));

async function ioasOf({ process: { host, pid }, iommufd, ioas }: Target): Promise<IoasView> {
  return (await host.request('get', `/processes/${pid}/iommufds/${iommufd}/ioases/${ioas}`)) as IoasView;
}

const areas = async (target: Target): Promise<number> => (await ioasOf(target)).areas;

async function mappings({ process: { host, pid }, iommufd, ioas }: Target): Promise<MappingView[]> {
  const path = `/processes/${pid}/iommufds/${iommufd}/ioases/${ioas}/mappings?limit=10000`;
  return ((await host.request('get', path)) as { items: MappingView[] }).items;
}

test('objects, columns and runs say the same', async () => {
  const [objects, columns, runs] = [await target(), await target(), await target()];
  const iova = [0, 1, 2, 3].map((index) => `0x${(IOVA + index * PAGE).toString(16)}`);
  const answers = [
    await batch(objects, { results: true, operations: maps(4) }),
    await batch(columns, {
      results: true,
      columns: { iova, length: PAGE, userVa: [0, 1, 2, 3].map((index) => VA + index * PAGE) },
    }),
    await batch(runs, {
      results: true,
      runs: [{ op: 'map', iova: IOVA, length: PAGE, count: 4, stride: PAGE, userVa: VA }],
    }),
  ];
  for (const answer of answers)
    assert.deepEqual(answer, {
      applied: 4,
      failed: 0,
      skipped: 0,
      mappedBytes: '0x4000',
      unmappedBytes: '0x0',
      errors: [],
      results: iova.map((iova) => ({ iova })),
    });
  const found = await mappings(objects);
  assert.equal(found.length, 4);
  assert.deepEqual(await mappings(columns), found);
  assert.deepEqual(await mappings(runs), found);
});

test('devices reach what a batch has mapped, and no longer what it has unmapped', async () => {
  const on = await target();
  const { host } = on.process;
  await batch(on, { operations: maps(8) });
  assert.equal((await host.dmaRead(D1, IOVA + 7 * PAGE, 1))[0], 1);
  await batch(on, { columns: { op: 'unmap', iova: [IOVA, IOVA + 7 * PAGE], length: PAGE } });
  await host.dmaFaults(D1, IOVA + 7 * PAGE);
  assert.equal((await host.dmaRead(D1, IOVA + 6 * PAGE, 1))[0], 1);
});

test('runs leave gaps, in the IOVAs and in the memory, and unmap with gaps', async () => {
  const on = await target();
  const run = { length: PAGE, count: 5, stride: 4 * PAGE };
  await batch(on, { runs: [{ op: 'map', iova: IOVA, userVa: VA, userVaStride: 2 * PAGE, ...run }] });
  assert.deepEqual(
    (await mappings(on)).map(({ iova, offset }) => [Number(iova) - IOVA, Number(offset) - VA]),
    [0, 1, 2, 3, 4].map((index) => [index * 4 * PAGE, index * 2 * PAGE]),
  );
  const { applied, unmappedBytes } = await batch(on, { runs: [{ op: 'unmap', iova: IOVA, ...run, count: 4 }] });
  assert.deepEqual([applied, unmappedBytes, await areas(on)], [4, '0x4000', 1]);
});

test('the kernel chooses where no IOVA is given, also in columns and runs', async () => {
  const on = await target();
  const length = 0x10000;
  const { results: single } = await batch(on, { results: true, operations: [{ op: 'map', length, userVa: VA }] });
  const { results: mixed } = await batch(on, {
    results: true,
    columns: { iova: [null, IOVA, null], length, userVa: [VA, VA, VA] },
  });
  const { results: run } = await batch(on, {
    results: true,
    runs: [{ op: 'map', length, count: 2, userVa: VA, userVaStride: 0 }],
  });
  assert.deepEqual(
    [single, mixed, run],
    [
      [{ iova: '0x10000' }],
      [{ iova: '0x20000' }, { iova: '0x100000000' }, { iova: '0x30000' }],
      [{ iova: '0x40000' }, { iova: '0x50000' }],
    ],
  );
});

test('a refused operation ends the batch, or does not, as the batch says', async () => {
  const operations = [map(0), map(0), unmap(5), map(1)];
  const taken = { index: 1, errno: 'EEXIST', where: 'iopt_check_iova' };
  const absent = { index: 2, errno: 'ENOENT', where: 'iopt_unmap_iova_range' };
  const bare = ({ errors }: { errors: { index: number; errno: string; where: string }[] }) =>
    errors.map(({ index, errno, where }) => ({ index, errno, where }));

  const stopping = await target();
  const stopped = await batch(stopping, { operations });
  assert.deepEqual([stopped.applied, stopped.failed, stopped.skipped], [1, 1, 2]);
  assert.deepEqual(bare(stopped), [taken]);
  assert.equal(await areas(stopping), 1);

  const going = await target();
  const all = await batch(going, { operations, onError: 'continue', results: true });
  assert.deepEqual([all.applied, all.failed, all.skipped], [2, 2, 0]);
  assert.deepEqual(bare(all), [taken, absent]);
  assert.deepEqual(all.results, [
    { iova: '0x100000000' },
    { errno: 'EEXIST' },
    { errno: 'ENOENT' },
    { iova: '0x100001000' },
  ]);
  assert.equal(await areas(going), 2);
});

test('rollback undoes all of the batch, what it had unmapped included', async () => {
  const on = await target();
  const { host } = on.process;
  const memfd = await on.process.memfd(16 * PAGE);
  await on.process.write(memfd, 0, 'from the file');
  await batch(on, {
    operations: [...maps(4), { op: 'map-file', iova: 0x8000_0000, length: 16 * PAGE, fd: memfd, start: 0 }],
  });
  // Nothing but the mapping holds the file now.
  await on.process.close(memfd);
  const before = { mappings: await mappings(on), view: await host.view(), domains: await host.domains() };

  const operations = [
    unmap(0, 4),
    { op: 'unmap', iova: 0, length: '0xffffffffffffffff' },
    map(100, 300),
    map(2),
    map(2),
    map(3),
  ];
  const answer = await batch(on, { operations, onError: 'rollback', results: true });
  assert.deepEqual([answer.applied, answer.failed, answer.skipped], [0, 1, 5]);
  assert.deepEqual([answer.mappedBytes, answer.unmappedBytes], ['0x0', '0x0']);
  assert.deepEqual(answer.results, [null, null, null, null, { errno: 'EEXIST' }, null]);
  assert.deepEqual({ mappings: await mappings(on), view: await host.view(), domains: await host.domains() }, before);
  assert.equal((await host.dmaRead(D1, 0x8000_0000, 13)).toString(), 'from the file');
  assert.equal((await host.dmaRead(D1, IOVA + 3 * PAGE, 1))[0], 1);
  await host.dmaFaults(D1, IOVA + 100 * PAGE);

  // An unmap that fails has unmapped what came before the area that it would cut.
  const cutting = await batch(on, {
    operations: [{ op: 'unmap', iova: 0x8000_0000, length: IOVA + PAGE / 2 - 0x8000_0000 }],
    onError: 'rollback',
  });
  assert.deepEqual(
    cutting.errors.map(({ errno }) => errno),
    ['ENOENT'],
  );
  assert.deepEqual(await mappings(on), before.mappings);

  const { applied } = await batch(on, { operations: operations.slice(0, 4), onError: 'rollback' });
  assert.equal(applied, 4);
  assert.equal(await areas(on), 2);
});

test('an unmap of very many areas is one operation, however long it takes', async () => {
  const on = await target();
  const count = 20_000;
  const run = { op: 'map', iova: IOVA, length: PAGE, count, userVa: VA };
  await batch(on, { runs: [run] });
  // It ends where it would cut an area, and what came before stays unmapped.
  await batch(on, { operations: [map(count, 2)] });
  const cutting = await batch(on, { operations: [unmap(0, count + 1), map(5)], onError: 'continue', results: true });
  assert.deepEqual(cutting.results, [{ errno: 'ENOENT' }, { iova: '0x100005000' }]);
  assert.deepEqual([cutting.unmappedBytes, await areas(on)], ['0x4e20000', 2]);

  await batch(on, { operations: [unmap(5), unmap(count, 2)] });
  await batch(on, { runs: [run] });
  const all = { op: 'unmap', iova: 0, length: '0xffffffffffffffff' };
  const { results, unmappedBytes } = await batch(on, { operations: [map(count), all, all, map(5)], results: true });
  assert.deepEqual(results?.slice(1), [{ length: '0x4e21000' }, { length: '0x0' }, { iova: '0x100005000' }]);
  assert.deepEqual([unmappedBytes, await areas(on)], ['0x4e21000', 1]);
});

test('of many refusals the first hundred are told, and all are counted', async () => {
  const on = await target();
  const run = { op: 'unmap', iova: IOVA, length: PAGE, count: 500 };
  const { failed, errors } = await batch(on, { runs: [run], onError: 'continue' });
  assert.deepEqual([failed, errors.length, errors.at(-1)?.index], [500, 100, 99]);
});

test('what is not a batch is refused as a whole, with the place', async () => {
  const on = await target();
  const refused = async (body: string | null, type?: string, query?: string) => {
    const { status, type: answered, text } = await send(on, body, type, query);
    assert.equal(answered, 'application/problem+json', text);
    const { detail, errors = [] } = JSON.parse(text) as { detail: string; errors?: { in: string; pointer: string }[] };
    return { status, detail, pointers: errors.map(({ pointer }) => pointer) };
  };
  const json = (value: unknown) => refused(JSON.stringify(value));

  const cut = await refused(`{"operations":[${JSON.stringify(map(0))},`);
  assert.deepEqual([cut.status, cut.detail], [400, 'The body is not JSON: it ends too early.']);
  const odd = await refused(`{"operations":[\n${JSON.stringify(map(0))} x]}`);
  assert.match(odd.detail, /position \d+ \(line 2 column \d+\)/);
  assert.deepEqual((await json({ operations: [map(0), { ...map(1), length: '4096' }] })).pointers, [
    '/operations/1/length',
  ]);
  assert.deepEqual((await json({ operations: [map(0), { op: 'remap' }] })).pointers, ['/operations/1/op']);
  assert.deepEqual((await json({ operations: [{ ...map(0), more: 1 }] })).pointers, ['/operations/0/more']);
  assert.deepEqual((await json({ columns: { iova: [1, 2], length: 1, userVa: [1, -1] } })).pointers, [
    '/columns/userVa/1',
  ]);
  assert.deepEqual((await json({ columns: { iova: [1, 2], length: 1, userVa: [1] } })).pointers, ['/columns/userVa']);
  assert.deepEqual((await json({ columns: { op: ['map', 'unmap'], iova: [1, 2], length: 1 } })).pointers, [
    '/columns/userVa',
  ]);
  assert.deepEqual((await json({ columns: { length: 1, userVa: 1 } })).pointers, ['/columns']);
  assert.deepEqual((await json({ runs: [{ ...map(0), count: 0 }] })).pointers, ['/runs/0/count']);
  assert.deepEqual((await json({ runs: [{ ...map(0), count: 2, stride: '0xffffffffffffffff' }] })).pointers, [
    '/runs/0/count',
  ]);
  assert.deepEqual((await json({ operations: [], runs: [] })).pointers, ['']);
  assert.deepEqual((await json({ operations: [], onError: 'later' })).pointers, ['/onError']);
  assert.deepEqual((await json([])).pointers, ['']);
  assert.deepEqual((await refused(null, '')).pointers, ['']);
  assert.equal((await refused('x', 'text/plain')).status, 415);
  assert.deepEqual((await refused('{"operations":[]}', 'application/json', '?onError=stop')).pointers, ['/onError']);
  assert.equal((await refused('', LINES, '?onError=rollback')).status, 400);
  assert.equal(await areas(on), 0);
});

test('a batch for what is not there is refused as a whole', async () => {
  const on = await target();
  const status = async (more: Partial<Target>, body = { operations: [map(0)] } as unknown) => {
    const { status, text } = await send({ ...on, ...more }, JSON.stringify(body));
    return [status, (JSON.parse(text) as { errno?: string }).errno];
  };
  assert.deepEqual(await status({ ioas: 77 }), [422, 'ENOENT']);
  assert.deepEqual(await status({ iommufd: 77 }), [422, 'EBADF']);
  assert.deepEqual(await status({ iommufd: await on.process.memfd(PAGE) }), [422, 'ENOTTY']);
  const other = await on.process.host.process();
  await other.kill();
  assert.deepEqual(await status({ process: other }), [404, undefined]);
});

test('lines are acknowledged as they are done', async () => {
  const on = await target();
  const [first, last, ...none] = await stream(on, [...maps(3), unmap(1)], '?results=true');
  const so = { acknowledged: 4, applied: 4, failed: 0, mappedBytes: '0x3000', unmappedBytes: '0x1000', errors: [] };
  const iovas = [0, 1, 2].map((index) => ({ iova: `0x${(IOVA + index * PAGE).toString(16)}` }));
  assert.deepEqual(first, { ...so, results: [...iovas, { length: '0x1000' }] });
  assert.deepEqual(last, { ...so, done: true });
  assert.deepEqual(none, []);
  assert.equal(await areas(on), 2);
});

test('lines without end are done piece by piece, with numbers that go on', async () => {
  const on = await target();
  const count = 40_000;
  const operations = maps(count);
  operations[count - 1] = map(0);
  const lines = await stream(on, operations, '?onError=continue');
  assert.ok(lines.length > 3, `${lines.length} lines`);
  for (const [index, { acknowledged }] of lines.slice(1).entries())
    assert.ok(acknowledged >= lines[index]!.acknowledged);
  const last = lines.at(-1)!;
  assert.deepEqual([last.acknowledged, last.applied, last.failed, last.done], [count, count - 1, 1, true]);
  assert.deepEqual(
    lines.flatMap(({ errors }) => errors.map(({ index }) => index)),
    [count - 1],
  );
  assert.equal(await areas(on), count - 1);
});

test('lines end at the first refusal, unless they shall go on', async () => {
  const on = await target();
  const lines = await stream(on, [map(0), map(0), map(1)]);
  assert.deepEqual(
    lines.map(({ acknowledged, failed }) => [acknowledged, failed]),
    [
      [2, 1],
      [2, 1],
    ],
  );
  assert.equal(lines.at(-1)!.done, true);
  assert.equal(await areas(on), 1);
});

test('a line that is wrong leaves what was acknowledged, and nothing of its piece', async () => {
  const on = await target();
  const alone = await send(on, `${linesOf(maps(2))}{"op":"map"}\n`, LINES);
  assert.equal(alone.status, 400);
  assert.deepEqual(
    (JSON.parse(alone.text) as { errors: { pointer: string }[] }).errors.map(({ pointer }) => pointer),
    ['/2/length', '/2/userVa'],
  );
  assert.equal(await areas(on), 0);

  const count = 30_000;
  const { status, text } = await send(on, `${linesOf(maps(count))}nonsense\n`, LINES);
  assert.equal(status, 200);
  const last = progressOf(text).at(-1)!;
  assert.equal(last.done, undefined);
  assert.equal(last.problem?.status, 400);
  assert.deepEqual(
    last.problem?.errors?.map(({ pointer }) => pointer),
    [`/${count}`],
  );
  assert.ok(last.acknowledged > 0 && last.acknowledged < count);
  assert.equal(await areas(on), last.acknowledged);
});

test('a sender that waits is answered, and a cut body keeps what was acknowledged', async () => {
  const on = await target();
  const headers = { authorization: `Bearer ${ours.key}`, 'content-type': LINES };
  const sending = httpRequest(urlOf(on), { method: 'POST', headers });
  sending.on('error', () => {});
  const { promise, resolve } = Promise.withResolvers<string>();
  sending.on('response', (answer) => answer.once('data', (chunk: Buffer) => resolve(chunk.toString())));
  sending.write(linesOf(maps(3)));
  sending.write('{"op":"map","iova":');
  const [{ acknowledged } = { acknowledged: 0 }] = progressOf(await promise);
  assert.equal(acknowledged, 3);
  sending.destroy();
  // The service hears of it in its own time; what comes later finds the same.
  await setImmediate();
  assert.equal(await areas(on), 3);
  assert.equal((await batch(on, { operations: [map(3)] })).applied, 1);
});

test('other hosts are served while a large batch runs, and commands to its own host wait', async () => {
  const [busy, other] = [await target(), await target()];
  const order: string[] = [];
  const note = async (name: string, work: Promise<unknown>): Promise<void> => {
    await work;
    order.push(name);
  };
  const body = { runs: [{ op: 'map', iova: IOVA, length: PAGE, count: 500_000, userVa: VA, userVaStride: 0 }] };
  const large = note('large', batch(busy, body));
  // The batch is on its way when a small answer of the same host shows that it is heard.
  await note('other', batch(other, { operations: [map(0)] }));
  await Promise.all([
    large,
    note(
      'own',
      areas(busy).then((count) => assert.equal(count, 500_000)),
    ),
  ]);
  assert.deepEqual(order, ['other', 'large', 'own']);
});

test('lines whose sender does not go on after the last answer do not hold up the end of the service', async () => {
  const app = new TestApp();
  await app.start();
  const on = await target(app);
  const headers = { authorization: `Bearer ${app.key}`, 'content-type': LINES };
  const sending = httpRequest(urlOf(on), { method: 'POST', headers });
  sending.on('error', () => {});
  sending.write(`${JSON.stringify(unmap(0))}\n`);
  const [answer] = (await once(sending, 'response')) as [IncomingMessage];
  const lines = (await text(answer)).trimEnd().split('\n');
  assert.equal(JSON.parse(lines.at(-1)!).done, true);
  await app.stop();
});
