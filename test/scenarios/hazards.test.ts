/** Every hazard there is: it is raised, in the answer and in the events, and the advice that goes with it is followed and helps. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HAZARDS, type Hazard } from '../../src/kernel/hazards.ts';
import { useApp } from '../support/app.ts';
import { D1, type Host, MIB } from '../support/client.ts';
import { DmaWatch } from '../support/dma-watch.ts';
import { expectErrno } from '../support/kernel-error.ts';
import {
  type Adopted,
  adopt,
  buildSuccessor,
  IOVA,
  prepare,
  preserveAll,
  RAM,
  retrieveAll,
  setUpVmm,
  TEXT,
  TOKEN,
  update,
} from '../support/setups.ts';

const app = useApp();

const PUNCH_HOLE = 3;
const HOLE = { offset: 4 * MIB, length: 2 * MIB };
const ANYWHERE = 0x7f0000000000;

/** Raises the hazard, and returns what following its advice is. */
type Case = () => Promise<{ host: Host; advice: () => Promise<void> }>;

/** A session, an iommufd and a cdev as they came, on their way to a HWPT of this kernel. */
async function moveOn(q: Adopted): Promise<void> {
  const restored = await q.vmm.restore(q.iommufd, TOKEN);
  const { hwpt } = await buildSuccessor(q);
  await q.vmm.attach(q.cdev, hwpt);
  await q.vmm.destroy(q.iommufd, restored);
}

/** A live update of a VMM with a hole in its memory, whose old pages nobody has preserved. */
async function updateWithHole(): Promise<Adopted> {
  const { host, vmm, memfd, iommufd, cdev, hwpt, watch } = await setUpVmm(app);
  await vmm.allocate(memfd, HOLE.offset, HOLE.length, PUNCH_HOLE);
  await vmm.write(memfd, HOLE.offset, 'a new page');
  await preserveAll({ vmm, memfd, iommufd, cdev, hwpt });
  await host.kexec();
  const q = await retrieveAll(host, watch);
  return { ...q, device: await q.vmm.bind(q.cdev, q.iommufd) };
}

/** A new device, memory and session after whatever has gone wrong with those before. */
async function updateAnew(host: Host): Promise<void> {
  await host.kexec();
  if ((await host.device(D1)).driver === null) await host.bindDriver(D1, 'vfio-pci');
  const vmm = await host.process({ name: 'vmm' });
  const memfd = await vmm.sealedMemfd(RAM);
  await vmm.write(memfd, 0, TEXT);
  const iommufd = await vmm.open('/dev/iommu');
  const cdev = await vmm.openCdev(D1);
  const device = await vmm.bind(cdev, iommufd);
  const ioas = await vmm.allocIoas(iommufd);
  await vmm.mapFile(iommufd, ioas, IOVA, memfd, RAM);
  const hwpt = await vmm.allocHwpt(iommufd, device, ioas);
  await vmm.attach(cdev, hwpt);
  await preserveAll({ vmm, memfd, iommufd, cdev, hwpt });
  const watch = await new DmaWatch(host, D1, IOVA, TEXT).start();
  const { hazards } = await host.kexec();
  assert.equal(hazards, undefined);
  const q = await retrieveAll(host, watch);
  await q.vmm.bind(q.cdev, q.iommufd);
  await q.vmm.finish(q.session);
  assert.equal((await host.device(D1)).state, 'A');
  await watch.noGap();
}

const CASES: Record<Hazard, Case> = {
  async 'device-left-behind'() {
    const { host } = await setUpVmm(app);
    await host.kexec();
    return { host, advice: () => updateAnew(host) };
  },
  async 'session-lost'() {
    const { host } = await prepare(app);
    await host.kexec();
    await host.kexec();
    return { host, advice: () => updateAnew(host) };
  },
  async 'session-stuck'() {
    const { host, vmm } = await update(app);
    await vmm.kill();
    return { host, advice: () => updateAnew(host) };
  },
  async 'never-adopted'() {
    const { host } = await prepare(app);
    await host.kexec();
    const vmm = await host.process({ name: 'vmm' });
    const session = await vmm.retrieveSession(await vmm.openLiveupdate(), 'vm1');
    await expectErrno('ENODEV', vmm.retrieve(session, 3));
    return { host, advice: () => updateAnew(host) };
  },
  async 'removed-before-adopted'() {
    const { host } = await prepare(app);
    await host.kexec();
    await host.request('delete', `/devices/${D1}`);
    const again = await prepare(app);
    const advice = async () => {
      await again.host.kexec();
      const q = await retrieveAll(again.host, again.watch);
      await q.vmm.bind(q.cdev, q.iommufd);
      await q.vmm.kill();
      assert.equal((await again.host.device(D1)).state, 'N');
      await again.host.request('delete', `/devices/${D1}`);
      assert.deepEqual(again.host.told, []);
    };
    return { host, advice };
  },
  async 'domain-dropped'() {
    const { host, vmm, memfd, iommufd, hwpt } = await setUpVmm(app);
    const session = await vmm.createSession(await vmm.openLiveupdate(), 'vm1');
    await vmm.preserve(session, memfd, 1);
    await vmm.mark(iommufd, hwpt, TOKEN);
    await vmm.preserve(session, iommufd, 2);
    await host.kexec();
    return { host, advice: () => updateAnew(host) };
  },
  async 'memory-lost-under-domain'() {
    const q = await updateWithHole();
    return { host: q.host, advice: () => moveOn(q) };
  },
  async 'stray-write'() {
    const q = await updateWithHole();
    await q.host.dmaWrite(D1, IOVA + HOLE.offset, 'stray');
    const advice = async () => {
      await moveOn(q);
      await q.host.dmaWrite(D1, IOVA + HOLE.offset, 'its own');
      assert.equal(await q.vmm.read(q.memfd, HOLE.offset, 7), 'its own');
    };
    return { host: q.host, advice };
  },
  async 'foreign-write'() {
    const q = await updateWithHole();
    const other = await q.host.process({ name: 'other' });
    await other.mmap(ANYWHERE, await q.host.freeBytes());
    await q.host.dmaWrite(D1, IOVA + HOLE.offset, 'foreign');
    await other.kill();
    const advice = async () => {
      await moveOn(q);
      await q.host.dmaWrite(D1, IOVA + HOLE.offset, 'its own');
    };
    return { host: q.host, advice };
  },
  async 'replace-window'() {
    const q = await adopt(app, { policies: { hitlessReplace: false } });
    await moveOn(q);
    const hitless = await adopt(app);
    const advice = async () => {
      await moveOn(hitless);
      await hitless.watch.noGap();
      assert.deepEqual(hitless.host.told, []);
    };
    return { host: q.host, advice };
  },
  async 'incomplete-hot-swap'() {
    const q = await adopt(app);
    const { ioas, hwpt } = await buildSuccessor(q, RAM / 2);
    await q.vmm.attach(q.cdev, hwpt);
    const advice = async () => {
      await q.host.dmaFaults(D1, IOVA + RAM / 2);
      await q.vmm.mapFile(q.iommufd, ioas, IOVA + RAM / 2, q.memfd, RAM / 2, RAM / 2);
      await q.host.dmaRead(D1, IOVA + RAM / 2, 1);
    };
    return { host: q.host, advice };
  },
  async 'other-memory-hot-swap'() {
    const q = await adopt(app);
    const other = await q.vmm.memfd(RAM);
    const ioas = await q.vmm.allocIoas(q.iommufd);
    await q.vmm.mapFile(q.iommufd, ioas, IOVA, other, RAM);
    await q.vmm.attach(q.cdev, await q.vmm.allocHwpt(q.iommufd, q.device, ioas));
    const advice = async () => {
      const { hwpt } = await buildSuccessor(q);
      await q.vmm.attach(q.cdev, hwpt);
      await q.watch.noGap();
    };
    return { host: q.host, advice };
  },
  async 'probe-refused'() {
    const { host, watch } = await prepare(app, {
      devices: [{ bdf: D1, class: '0108', driver: 'vfio-pci' }],
    });
    await host.kexec({ kernel: { boot: { builtinDrivers: ['nvme'] } } });
    const advice = async () => {
      const q = await retrieveAll(host, watch);
      await q.vmm.bind(q.cdev, q.iommufd);
      await q.vmm.finish(q.session);
      await q.vmm.kill();
      await host.unbindDriver(D1);
      await host.bindDriver(D1, 'nvme');
    };
    return { host, advice };
  },
  async 'handover-ignored'() {
    const { host } = await prepare(app);
    await host.kexec({ kernel: { profile: 'linux-7.3' } });
    const again = await prepare(app);
    const advice = async () => {
      await again.host.kexec({ kernel: { profile: 'persisted-domains' } });
      await again.watch.noGap();
      assert.deepEqual(again.host.told, []);
    };
    return { host, advice };
  },
};

for (const [hazard, raise] of Object.entries(CASES))
  test(`${hazard}: it is told, and its advice helps`, async () => {
    const { host, advice } = await raise();
    const events = await host.hazards('0');
    assert.deepEqual(host.told, events, 'answers tell what the events tell');
    const raised = events.find(({ data }) => data.hazard === hazard);
    assert.ok(raised, `raised are ${events.map(({ data }) => data.hazard)}`);
    if (raised.data.bdf !== undefined) assert.match(raised.message, new RegExp(String(raised.data.bdf)));
    const { rule } = HAZARDS[hazard as Hazard] as { rule?: string };
    if (rule !== undefined) assert.equal(raised.data.rule, rule);
    const before = events.length;
    await advice();
    const more = (await host.hazards('0')).slice(before).filter(({ data }) => data.hazard === hazard);
    assert.deepEqual(more, [], 'and not again');
  });

test('GET /v1/hazards has them all, with what to do', async () => {
  const { body } = await app.agent.get('/v1/hazards').set('authorization', `Bearer ${app.key}`).expect(200);
  const { items } = body as { items: { hazard: string; about: string; advice: string; rule: string | null }[] };
  assert.deepEqual(
    items.map(({ hazard }) => hazard),
    Object.keys(CASES).sort((a, b) => Object.keys(HAZARDS).indexOf(a) - Object.keys(HAZARDS).indexOf(b)),
  );
  for (const { about, advice } of items) assert.ok(about.endsWith('.') && advice.endsWith('.'));
});
