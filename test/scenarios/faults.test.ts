/** Failures on demand: points by name and by class, the nth pass and those behind it, and what each has touched. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FaultView } from '../../src/host/views.ts';
import { useApp } from '../support/app.ts';
import { expectErrno } from '../support/kernel-error.ts';
import { IOVA, setUpVmm } from '../support/setups.ts';

const app = useApp();

interface Listed {
  armed: FaultView[];
  over: FaultView[];
}

test('a point fails from its nth pass on, so many times, and counts them', async () => {
  const host = await app.host();
  const vmm = await host.process();
  const iommufd = await vmm.open('/dev/iommu');
  const fault = await host.armFault('ioas.alloc', { nth: 2, times: 2 });
  assert.deepEqual([fault.nth, fault.times, fault.struck], [2, 2, 0]);
  await vmm.allocIoas(iommufd);
  await expectErrno('ENOMEM', vmm.allocIoas(iommufd));
  const list = (): Promise<Listed> => host.request('get', '/faults') as Promise<Listed>;
  assert.deepEqual((await list()).armed, [{ ...fault, nth: 1, times: 1, struck: 1 }]);
  await expectErrno('ENOMEM', vmm.allocIoas(iommufd));
  await vmm.allocIoas(iommufd);
  assert.deepEqual(await list().then(({ armed, over }) => [armed, over]), [
    [],
    [{ ...fault, nth: null, times: 0, struck: 2 }],
  ]);
  await host.disarmFault(fault);
  assert.deepEqual((await list()).over, []);
});

test('the class of a point is passed with it; another class, or another point, is not', async () => {
  const host = await app.host();
  const vmm = await host.process();
  await host.armFault('allocation', { nth: 2 });
  await host.armFault('session.create');
  const iommufd = await vmm.open('/dev/iommu');
  await expectErrno('ENOMEM', vmm.allocIoas(iommufd));
  await vmm.allocIoas(iommufd);
  const lu = await vmm.openLiveupdate();
  await expectErrno('ENOMEM', vmm.createSession(lu, 'vm1'));
  await vmm.createSession(lu, 'vm1');
});

test('what a fault has refused names it: in calls, in REST, in a batch, in the event', async () => {
  const { host, vmm, iommufd, ioas, memfd } = await setUpVmm(app);
  const first = await host.armFault('ioas.map', { errno: 'ENOSPC' });
  const arg = { flags: 7, ioas_id: ioas, fd: memfd, start: 0, length: 4096, iova: '0x200000000' };
  const map = { call: 'ioctl', fd: iommufd, request: 'IOMMU_IOAS_MAP_FILE', arg };
  const [refused, done] = await host.runCalls(vmm.pid, [map, map]);
  assert.deepEqual([refused?.errno, refused?.fault], ['ENOSPC', first.id]);
  assert.equal(done?.errno, undefined);

  const second = await host.armFault('ioas.alloc');
  const path = `/v1/hosts/${host.id}/processes/${vmm.pid}/iommufds/${iommufd}`;
  const ask = (to: string, body: object) =>
    app.agent.post(`${path}${to}`).set('authorization', `Bearer ${app.key}`).send(body);
  const { status, body } = await ask('/ioases', {});
  assert.deepEqual([status, body.errno, body.fault], [409, 'ENOMEM', second.id]);

  // In the middle of many that would be done at once.
  const third = await host.armFault('ioas.map', { nth: 50 });
  await vmm.mmap(0x7f0000000000, 100 * 4096);
  const run = { op: 'map', iova: '0x300000000', length: 4096, userVa: '0x7f0000000000', count: 100 };
  const batch = await ask(`/ioases/${ioas}/batch`, { runs: [run], onError: 'continue' });
  assert.deepEqual([batch.body.applied, batch.body.failed], [99, 1]);
  assert.deepEqual([batch.body.errors[0].index, batch.body.errors[0].fault], [49, third.id]);

  const told = (await host.events()).filter(({ kind }) => kind === 'fault.injected').map(({ data }) => data.fault);
  assert.deepEqual(told, [first.id, second.id, third.id]);
  assert.equal((await host.dmaRead('0000:01:00.0', IOVA, 1)).length, 1);
});
