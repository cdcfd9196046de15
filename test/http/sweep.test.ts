/** Every failure that is possible in the story of the README, each on a copy: what is told of it, and that the host stays as it is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SweepOutcome } from '../../src/host/past-views.ts';
import { FAULT_POINTS } from '../../src/kernel/faults.ts';
import { useApp } from '../support/app.ts';
import { D1 } from '../support/client.ts';

const app = useApp();

type Request = [method: string, path: string, body?: unknown];

/** The steps of the README that change something. */
const STORY: readonly Request[] = [
  ['POST', '/processes', { name: 'vmm' }],
  ['POST', '/processes/1/memfds', { name: 'ram', size: 67108864, flags: ['MFD_ALLOW_SEALING'] }],
  ['PUT', '/processes/1/memfds/3/data?offset=0', { data: 'aGVsbG8=' }],
  ['POST', '/processes/1/memfds/3/seals', { seals: ['F_SEAL_SEAL', 'F_SEAL_SHRINK', 'F_SEAL_GROW'] }],
  ['POST', '/processes/1/iommufds'],
  ['POST', '/processes/1/cdevs', { path: '/dev/vfio/devices/vfio0' }],
  ['PUT', '/processes/1/cdevs/5/iommufd', { iommufd: 4 }],
  ['POST', '/processes/1/iommufds/4/ioases'],
  [
    'POST',
    '/processes/1/iommufds/4/ioases/2/file-mappings',
    { fd: 3, start: 0, length: 67108864, iova: '0x100000000' },
  ],
  ['POST', '/processes/1/iommufds/4/hwpts', { device: 1, pageTable: 2 }],
  ['PUT', '/processes/1/cdevs/5/attachment', { pageTable: 3 }],
  ['POST', '/processes/1/liveupdates'],
  ['POST', '/processes/1/liveupdates/6/sessions', { name: 'vm1' }],
  ['POST', '/processes/1/sessions/7/files', { fd: 3, token: 1 }],
  ['PUT', '/processes/1/iommufds/4/hwpts/3/token', { token: 7 }],
  ['POST', '/processes/1/sessions/7/files', { fd: 4, token: 2 }],
  ['POST', '/processes/1/sessions/7/files', { fd: 5, token: 3 }],
  ['POST', '/kexec', { mode: 'live-update' }],
  ['PUT', `/devices/${D1}/driver`, { driver: 'vfio-pci' }],
  ['POST', '/processes', { name: 'vmm' }],
  ['POST', '/processes/1/liveupdates'],
  ['POST', '/processes/1/liveupdates/3/retrievals', { name: 'vm1' }],
  ['POST', '/processes/1/sessions/4/files/1/retrieve'],
  ['POST', '/processes/1/sessions/4/files/2/retrieve'],
  ['POST', '/processes/1/sessions/4/files/3/retrieve'],
  ['PUT', '/processes/1/cdevs/7/iommufd', { iommufd: 6 }],
  ['POST', '/processes/1/sessions/4/finish'],
  ['POST', '/processes/1/iommufds/6/ioases'],
  [
    'POST',
    '/processes/1/iommufds/6/ioases/3/file-mappings',
    { fd: 5, start: 0, length: 67108864, iova: '0x100000000' },
  ],
  ['POST', '/processes/1/iommufds/6/hwpts', { device: 1, pageTable: 3 }],
  ['PUT', '/processes/1/cdevs/7/attachment', { pageTable: 4 }],
  ['DELETE', '/processes/1/iommufds/6/hwpts/2'],
];
const requests = STORY.map(([method, path, body]) => ({ method, path, ...(body !== undefined && { body }) }));

interface Swept {
  points: { point: string; passes: number }[];
  runs: (SweepOutcome & { explained: string })[];
}

const sweep = (id: string, body: object, accept = 'application/json') =>
  app.agent.post(`/v1/hosts/${id}/sweep`).set('authorization', `Bearer ${app.key}`).set('accept', accept).send(body);

test('the story of the README: each failure strikes once, leaves nothing broken, and is explained', async () => {
  const host = await app.host();
  const before = await host.view();
  const { status, body } = await sweep(host.id, { requests });
  assert.equal(status, 200, JSON.stringify(body));
  const { points, runs } = body as Swept;
  assert.deepEqual(await host.view(), before, 'the host stays as it is');
  assert.equal(
    runs.length,
    points.reduce((sum, { passes }) => sum + passes, 0),
  );
  for (const { point } of points) assert.ok(point in FAULT_POINTS, point);
  for (const name of ['ioas.map', 'hwpt.adopt', 'memfd.freeze', 'vfio.retrieve', 'iommu.replace', 'kexec.power-loss'])
    assert.ok(
      points.some(({ point }) => point === name),
      name,
    );
  for (const run of runs) {
    assert.notEqual(run.struck, null, `${run.point} ${run.nth} strikes`);
    assert.equal(run.broken, null, run.explained);
    assert.match(run.explained, /^request \d+ \(|^it strikes in request \d+ \(/);
  }
  const outcomeOf = (point: string, nth = 1) => runs.find((run) => run.point === point && run.nth === nth)!;
  assert.equal(outcomeOf('vfio.retrieve').outcome, 'device-lost');
  assert.deepEqual(outcomeOf('vfio.retrieve').unreachable, [D1]);
  assert.equal(outcomeOf('memfd.freeze').outcome, 'refused');
  assert.match(outcomeOf('iommu.replace').explained, /request 30 .*attachment.*ENOMEM/);
  assert.equal(outcomeOf('iommu.replace').refused[0]!.request, 30);
});

test('lines come as they are found out, of the points that are asked for', async () => {
  const host = await app.host();
  const { status, text, headers } = await sweep(
    host.id,
    { requests, points: ['ioas.map', 'memfd.freeze'] },
    'application/x-ndjson',
  )
    .buffer(true)
    .parse((answer, done) => {
      let all = '';
      answer.setEncoding('utf8');
      answer.on('data', (part: string) => {
        all += part;
      });
      answer.on('end', () => done(null, all));
    })
    .then((answer) => ({ status: answer.status, headers: answer.headers, text: String(answer.body) }));
  assert.equal(status, 200);
  assert.match(String(headers['content-type']), /ndjson/);
  const runs = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as SweepOutcome);
  assert.deepEqual(
    runs.map(({ point, nth }) => [point, nth]),
    [
      ['ioas.map', 1],
      ['ioas.map', 2],
      ['memfd.freeze', 1],
    ],
  );
});

test('a request that is none, or changes nothing, is named', async () => {
  const host = await app.host();
  const wrong: [object, RegExp][] = [
    [{ requests: [{ method: 'POST', path: '/nothing' }] }, /\/requests\/0.*there is no POST \/nothing/],
    [{ requests: [requests[0], { method: 'POST', path: '/processes/x/iommufds' }] }, /\/requests\/1\/path/],
    [{ requests: [{ method: 'POST', path: '/kexec', body: { mode: 'fast' } }] }, /\/requests\/0\/body\/mode/],
    [{ requests: [{ method: 'GET', path: '/devices' }] }, /\/requests\/0\/method/],
    [{ requests: [{ method: 'POST', path: '/processes/1/iommufds/4/ioases/2/batch', body: {} }] }, /there is no POST/],
    [{ requests: [] }, /\/requests/],
    [{ requests, points: ['nowhere'] }, /\/points\/0/],
  ];
  for (const [body, refusal] of wrong) {
    const answer = await sweep(host.id, body);
    assert.equal(answer.status, 400, answer.text);
    assert.match(answer.text, refusal);
  }
});
