/** The death of the service at the worst moments: whatever was answered is still so at the next start. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { D1 } from '../support/client.ts';
import { MortalApp } from '../support/mortal-app.ts';
import { adopt, buildSuccessor, IOVA, prepare, retrieveAll, TEXT, TOKEN } from '../support/setups.ts';

test('killed between freeze and boot, the host comes up in the new kernel with its session and its domain', async (t) => {
  const app = new MortalApp(t);
  await app.start({ HOLDOVER_ALLOW_SERVICE_DEATH: '1' });
  const { host, watch } = await prepare(app);
  await host.armFault('service.death');
  await assert.rejects(host.kexec());
  assert.deepEqual(await app.service.exited, { code: null, signal: 'SIGKILL' });

  await app.start();
  const { state, kernel, kexecCount } = await host.view();
  assert.deepEqual([state, kernel, kexecCount], ['running', 2, 1]);
  assert.deepEqual(
    (await host.sessions()).map(({ name, side }) => [name, side]),
    [['vm1', 'incoming']],
  );
  assert.equal((await host.device(D1)).state, 'L');
  await watch.noGap();

  const restored = await retrieveAll(host, watch);
  const { vmm, iommufd, cdev, session } = restored;
  const device = await vmm.bind(cdev, iommufd);
  await vmm.restore(iommufd, TOKEN);
  const { hwpt } = await buildSuccessor({ ...restored, device });
  await vmm.attach(cdev, hwpt);
  await vmm.finish(session);
  await watch.noGap();
});

test('killed after a live update, the host is where it was', async (t) => {
  const app = new MortalApp(t);
  await app.start();
  const { host, vmm, iommufd, memfd, watch } = await adopt(app);
  const events = await host.events();
  const view = await host.view();
  assert.deepEqual(await app.service.stop('SIGKILL'), { code: null, signal: 'SIGKILL' });

  await app.start();
  assert.deepEqual(await host.view(), view);
  assert.deepEqual(await host.events(), events);
  await watch.noGap();
  assert.equal(await vmm.read(memfd, 0, TEXT.length), TEXT);
  await vmm.restore(iommufd, TOKEN);
});

test('service.death cannot be armed where the configuration does not allow it', async (t) => {
  const app = new MortalApp(t);
  await app.start();
  const { host } = await prepare(app);
  await assert.rejects(host.armFault('service.death'), { errno: 'EPERM', message: /HOLDOVER_ALLOW_SERVICE_DEATH=1/ });
  await host.kexec();
  assert.equal((await host.dmaRead(D1, IOVA, TEXT.length)).toString(), TEXT);
});
