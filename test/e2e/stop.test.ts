/** What a running service does with requests that take long: others do not notice, they end at their bound, and a stop does not wait. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type Service, startService, temporaryDirectory } from '../support/service.ts';

/** A stop is done within this, in milliseconds. */
const STOP_MS = 5000;

const ioctl = (fd: number, request: string, arg = {}) => ({ call: 'ioctl', fd, request, arg });

const GIB = 2 ** 30;
const hex = (value: number): string => `0x${value.toString(16)}`;

/** So many mappings has the IOAS, and each HWPT of it has them as well: tens of milliseconds. */
const MAPPINGS = 600_000;
const RUN = { op: 'map', iova: '0x100000000', length: 4096, count: MAPPINGS, stride: 8192, userVa: '0x100000000000' };

/** Makes and destroys a HWPT, again and again. The first one of the IOAS is that of the attached device. */
function makeAndDestroy(times: number): object[] {
  const calls = [ioctl(4, 'IOMMU_HWPT_ALLOC', { dev_id: 1, pt_id: 2 }), ioctl(4, 'IOMMU_DESTROY', { id: 4 })];
  return Array.from({ length: times }, () => calls).flat();
}

interface Answer {
  status: number;
  body: unknown;
}

interface Guest {
  path: string;
  calls: (calls: object[]) => Promise<Answer>;
  view: () => Promise<{ time: string; digest: string }>;
}

async function granted(asked: Promise<Answer>): Promise<Record<string, unknown>> {
  const { status, body } = await asked;
  assert.ok(status < 300, JSON.stringify(body));
  return body as Record<string, unknown>;
}

async function succeed(asked: Promise<Answer>): Promise<void> {
  const { results } = (await granted(asked)) as { results: { ret: unknown }[] };
  assert.ok(
    results.every(({ ret }) => ret !== -1),
    JSON.stringify(results),
  );
}

const guestOf = (service: Service, path: string): Guest => ({
  path,
  calls: (calls) => service.request('POST', `${path}/processes/1/calls`, { calls }),
  view: async () => (await granted(service.request('GET', `${path}`))) as { time: string; digest: string },
});

/** A process whose device is attached to an IOAS. */
async function guest(service: Service): Promise<Guest> {
  const { id } = await granted(
    service.request('POST', '/v1/hosts', {
      memory: hex(4 * GIB),
      iommus: [{ kind: 'intel-vtd' }],
      devices: [{ bdf: '0000:01:00.0', driver: 'vfio-pci' }],
    }),
  );
  const made = guestOf(service, `/v1/hosts/${id}`);
  await granted(service.request('POST', `${made.path}/processes`, {}));
  const calls = [
    { call: 'open', path: '/dev/vfio/devices/vfio0' },
    { call: 'open', path: '/dev/iommu' },
    ioctl(3, 'VFIO_DEVICE_BIND_IOMMUFD', { iommufd: 4 }),
    ioctl(4, 'IOMMU_IOAS_ALLOC'),
    ioctl(3, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { pt_id: 2 }),
    { call: 'mmap', addr: '0x100000000000', length: hex(MAPPINGS * 4096) },
  ];
  await succeed(made.calls(calls));
  const batch = `${made.path}/processes/1/iommufds/4/ioases/2/batch`;
  await granted(service.request('POST', batch, { runs: [RUN] }));
  await succeed(made.calls(makeAndDestroy(2)));
  return made;
}

async function start(t: TestContext, directory: string, env: Record<string, string> = {}): Promise<Service> {
  return await startService(t, directory, { env: { HOLDOVER_LANES: '1', ...env } });
}

test('a stop gives up what takes long and what waits behind it, says so, and loses nothing that was acknowledged', async (t) => {
  const directory = temporaryDirectory(t);
  const service = await start(t, directory);
  const busy = await guest(service);
  const other = await guest(service);
  const [before, others] = [await busy.view(), await other.view()];
  const refused = Promise.all([busy.calls(makeAndDestroy(100)), busy.calls([{ call: 'close', fd: 4 }])]);
  // It has begun: others are answered meanwhile.
  for (let time = 0; time < 5; time += 1) assert.deepEqual(await other.view(), others);
  const begun = performance.now();
  assert.deepEqual(await service.stop('SIGTERM'), { code: 0, signal: null });
  assert.ok(performance.now() - begun < STOP_MS, `${performance.now() - begun} ms`);
  for (const { status, body } of await refused)
    assert.deepEqual([status, (body as { type: string }).type], [503, '/problems/service-stopping']);
  const next = await start(t, directory);
  assert.deepEqual(await guestOf(next, busy.path).view(), before);
  assert.deepEqual(await guestOf(next, other.path).view(), others);
});

test('what takes longer than a request may is refused, has not happened, and nobody else notices', async (t) => {
  const service = await start(t, temporaryDirectory(t), { HOLDOVER_COMMAND_SECONDS: '1' });
  const busy = await guest(service);
  const other = await guest(service);
  const [before, others] = [await busy.view(), await other.view()];
  let isDone = false;
  const long = busy.calls(makeAndDestroy(100)).finally(() => {
    isDone = true;
  });
  let answered = 0;
  for (; !isDone; answered += 1) assert.deepEqual(await other.view(), others);
  const { status, body } = await long;
  assert.deepEqual([status, (body as { type: string }).type], [422, '/problems/too-costly']);
  assert.ok(answered >= 5, `${answered} answers`);
  assert.deepEqual(await busy.view(), before);
  assert.equal((await busy.calls(makeAndDestroy(1))).status, 200);
});
