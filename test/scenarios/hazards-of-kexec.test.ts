/**
 * What goes wrong at a kexec without an errno: each mistake raises its hazard, in the answer and in the events, with the name of
 * the device; the preflight had announced it; and what the preflight says to do first mends it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventData } from '../../src/kernel/events.ts';
import { useApp } from '../support/app.ts';
import { D1, type Host } from '../support/client.ts';
import { expectErrno } from '../support/kernel-error.ts';
import { SIZE_SEALS } from '../support/process.ts';
import { adopt, buildSuccessor, IOVA, prepare, RAM, setUpVmm, TOKEN, type Vmm } from '../support/setups.ts';

const app = useApp();

const short = ({ hazard, bdf, why }: EventData): string => [hazard, bdf, why].filter(Boolean).join(' ');

/** The kexec raises these hazards, and no others, wherever they can be seen; the preflight said so. */
async function raises(host: Host, expected: string[], body: { mode?: string; kernel?: object } = {}): Promise<void> {
  const before = await host.preflight(body);
  assert.deepEqual(
    before.hazards.map(({ data }) => short(data)),
    expected,
    'announced',
  );
  const cursor = await host.cursor();
  const answer = await host.kexec(body);
  assert.deepEqual(
    (answer.hazards ?? []).map(({ data }) => short(data)),
    expected,
    'in the answer',
  );
  assert.deepEqual(await host.hazards(cursor), answer.hazards ?? [], 'the very events');
  assert.deepEqual(answer.handedOver, before.handedOver, 'as was foretold');
}

const LEFT = `device-left-behind ${D1} no-session`;
const UNTAKEN = `device-left-behind ${D1} not-taken`;

async function stepsOf(host: Host): Promise<string[]> {
  return (await host.preflight()).steps.map(({ what }) => what);
}

/** What is still to be done for the device is done, and then nothing is lost. */
async function mended(
  { host, vmm, memfd, iommufd, cdev, hwpt, watch }: Vmm,
  done: Set<string> = new Set(),
): Promise<void> {
  const lu = await vmm.openLiveupdate();
  const session = await vmm.createSession(lu, 'vm1');
  if (!done.has('memory')) await vmm.preserve(session, memfd, 1);
  await vmm.mark(iommufd, hwpt, TOKEN);
  await vmm.preserve(session, iommufd, 2);
  await vmm.preserve(session, cdev, 3);
  const { steps, hazards, handedOver } = await host.preflight();
  assert.deepEqual([steps, hazards], [[], []]);
  assert.equal(handedOver?.devices[0]?.fate, 'kept');
  await raises(host, []);
  await watch.noGap();
}

test('nothing was prepared: the device is left behind, and the preflight lists the whole path', async () => {
  const ready = await setUpVmm(app);
  const { host, iommufd, cdev, memfd, hwpt } = ready;
  assert.deepEqual(await stepsOf(host), [
    `preserve memfd:ram (process 1, descriptor ${memfd})`,
    `mark HWPT ${hwpt} of the iommufd (process 1, descriptor ${iommufd})`,
    `preserve the iommufd (process 1, descriptor ${iommufd})`,
    `preserve the cdev of ${D1} (process 1, descriptor ${cdev})`,
  ]);
  await mended(ready);
});

test('a mistake, and the hazard that it leads to: nothing was prepared', async () => {
  const { host } = await setUpVmm(app);
  await raises(host, [LEFT]);
});

test('no seals: the iommufd cannot be preserved, and the device is left behind', async () => {
  const host = await app.host();
  const vmm = await host.process({ name: 'vmm' });
  const memfd = await vmm.memfd(RAM);
  const iommufd = await vmm.open('/dev/iommu');
  const cdev = await vmm.openCdev(D1);
  const device = await vmm.bind(cdev, iommufd);
  const ioas = await vmm.allocIoas(iommufd);
  await vmm.mapFile(iommufd, ioas, IOVA, memfd, RAM);
  const hwpt = await vmm.allocHwpt(iommufd, device, ioas);
  await vmm.attach(cdev, hwpt);
  const session = await vmm.createSession(await vmm.openLiveupdate(), 'vm1');
  await vmm.mark(iommufd, hwpt, TOKEN);
  await expectErrno('EINVAL', vmm.preserve(session, iommufd, 2));
  const steps = await stepsOf(host);
  assert.match(steps[0]!, /^unmap memfd:ram .* seal it .* map it again$/);
  await vmm.unmap(iommufd, ioas, IOVA, RAM);
  await vmm.addSeals(memfd, SIZE_SEALS);
  await vmm.mapFile(iommufd, ioas, IOVA, memfd, RAM);
  assert.match((await stepsOf(host))[0]!, /^preserve memfd:ram/);
  await raises(host, [LEFT]);
});

test('the HWPT is not marked, and the cdev then forgotten', async () => {
  const { host, vmm, memfd, iommufd, cdev } = await setUpVmm(app);
  const session = await vmm.createSession(await vmm.openLiveupdate(), 'vm1');
  await vmm.preserve(session, memfd, 1);
  await vmm.preserve(session, iommufd, 2);
  await expectErrno('EINVAL', vmm.preserve(session, cdev, 3));
  assert.ok((await stepsOf(host)).some((what) => what.startsWith('mark HWPT')));
  await raises(host, [LEFT]);
});

test('the cdev is forgotten: the device is left behind, and its domain has nobody to adopt it', async () => {
  const { host, vmm, memfd, iommufd, hwpt } = await setUpVmm(app);
  const session = await vmm.createSession(await vmm.openLiveupdate(), 'vm1');
  await vmm.preserve(session, memfd, 1);
  await vmm.mark(iommufd, hwpt, TOKEN);
  await vmm.preserve(session, iommufd, 2);
  assert.deepEqual(
    (await stepsOf(host)).map((what) => what.replace(/ \(.*/, '')),
    [`preserve the cdev of ${D1}`],
  );
  await raises(host, [LEFT, 'domain-dropped']);
});

test('the iommufd is forgotten: the cdev cannot be preserved', async () => {
  const { host, vmm, memfd, iommufd, cdev, hwpt } = await setUpVmm(app);
  const session = await vmm.createSession(await vmm.openLiveupdate(), 'vm1');
  await vmm.preserve(session, memfd, 1);
  await vmm.mark(iommufd, hwpt, TOKEN);
  await expectErrno('ENOENT', vmm.preserve(session, cdev, 3));
  await raises(host, [LEFT]);
});

test('a second update without preserving again', async () => {
  const q = await adopt(app);
  const { host } = q;
  assert.equal((await host.device(D1)).state, 'A');
  const steps = await stepsOf(host);
  assert.match(steps[0]!, /^finish session "vm1"/);
  assert.match(steps[1]!, /is restored and cannot be marked/);
  await raises(host, [LEFT, 'session-lost']);
});

test('a second update of a device that nobody has adopted', async () => {
  const { host } = await prepare(app);
  await raises(host, []);
  assert.equal((await host.device(D1)).state, 'L');
  assert.match((await stepsOf(host))[0]!, /^adopt 0000:01:00.0/);
  await raises(host, [`device-left-behind ${D1} not-adopted`, 'session-lost']);
});

test('the advice for a second update: finish, move on to a HWPT of this kernel, preserve that', async () => {
  const q = await adopt(app);
  const { host, vmm, session, cdev, iommufd, memfd, watch } = q;
  const restored = await vmm.restore(iommufd, TOKEN);
  const { hwpt } = await buildSuccessor(q);
  await vmm.attach(cdev, hwpt);
  await vmm.destroy(iommufd, restored);
  await vmm.finish(session);
  await vmm.close(session);
  const second = await vmm.createSession(q.lu, 'vm1');
  await vmm.preserve(second, memfd, 1);
  await vmm.mark(iommufd, hwpt, TOKEN);
  await vmm.preserve(second, iommufd, 2);
  await vmm.preserve(second, cdev, 3);
  await raises(host, []);
  await watch.noGap();
});

test('the next kernel does not take over what it is handed', async () => {
  const body = { kernel: { profile: 'linux-7.3' } };
  const { host } = await prepare(app);
  await raises(host, ['handover-ignored profile', UNTAKEN], body);
  assert.equal((await host.device(D1)).state, 'N');

  const without = await prepare(app);
  await raises(without.host, ['handover-ignored liveupdate-off', `never-adopted ${D1} liveupdate-off`], {
    kernel: { boot: { liveupdate: false } },
  });

  const other = await prepare(app);
  await raises(other.host, ['handover-ignored abi', UNTAKEN], { kernel: { khoAbi: 'kho-v9' } });
  const plain = await prepare(app);
  await raises(plain.host, [`device-left-behind ${D1} plain-kexec`], { mode: 'plain' });
});

test('a driver that is built into the next kernel cannot have a restored device', async () => {
  const kernel = { boot: { builtinDrivers: ['nvme'] } };
  const { host } = await prepare(app, {
    devices: [{ bdf: D1, class: '0108', driver: 'vfio-pci', iommu: 'dmar0' }],
    iommus: [{ id: 'dmar0', kind: 'intel-vtd' }],
  });
  await raises(host, [`probe-refused ${D1}`], { kernel });
});

test('what was handed over is told: devices with their fates, sessions, files, domains, the blackout', async () => {
  const { host, hwpt, vmm, cdev, memfd, iommufd } = await prepare(app);
  const place = { session: 'vm1', token: '0x3', hwptToken: '0x7' };
  assert.deepEqual((await host.device(D1)).liveupdate, place);
  const { descriptors } = await vmm.view();
  const inSession = descriptors.filter(({ preservedIn }) => preservedIn === 'vm1').map(({ fd }) => fd);
  assert.deepEqual(
    inSession,
    [memfd, iommufd, cdev].sort((a, b) => a - b),
  );
  const [session] = await host.sessions();
  const { domain } = await vmm.hwpt(iommufd, hwpt);
  const kinds = session!.files.map(({ device, size, hwpts }) => ({ device, size, hwpts }));
  const about = [
    { device: null, size: '0x4000000', hwpts: null },
    { device: null, size: null, hwpts: [{ token: '0x7', domain }] },
    { device: D1, size: null, hwpts: null },
  ];
  assert.deepEqual(kinds, about);

  const { handedOver } = await host.kexec();
  assert.equal(handedOver.taken, true);
  assert.equal(handedOver.blackout, '1000001000', 'that of a boot, and of the command that does it');
  assert.deepEqual(handedOver.devices[0], {
    bdf: D1,
    fate: 'kept',
    state: 'L',
    domain,
    liveupdate: place,
    why: null,
  });
  assert.deepEqual(new Set(handedOver.devices.map(({ fate }) => fate)), new Set(['kept', 'idle', 'quiesced']));
  assert.deepEqual(handedOver.sessions, [{ name: 'vm1', files: 3 }]);
  assert.deepEqual(
    handedOver.files.map(({ kept, device, size, hwpts }) => ({ kept, device, size, hwpts })),
    about.map((one) => ({ kept: true, ...one })),
  );
  assert.deepEqual(handedOver.domains, [{ id: domain, kept: true, devices: [D1] }]);
  assert.deepEqual((await host.device(D1)).liveupdate, place);
  assert.deepEqual(
    (await host.sessions())[0]!.files.map(({ device, size, hwpts }) => ({ device, size, hwpts })),
    about,
  );
  const { message, data } = (await host.events()).find(({ kind }) => kind === 'kexec')!;
  assert.deepEqual(data, { mode: 'live-update', sessions: 1, files: 3, devices: 1, leftBehind: 0 });
  assert.match(message, /handing over 1 sessions with 3 files, 1 devices/);
});

test('what a freeze refuses is foretold, with what to do', async () => {
  const { host, cdev, vmm } = await prepare(app);
  await host.request('patch', `/devices/${D1}`, { interruptsEnabled: true });
  const { refusal, handedOver, steps } = await host.preflight();
  assert.deepEqual([refusal?.errno, refusal?.rule, handedOver], ['EINVAL', 'R22', null]);
  assert.deepEqual(
    steps.map(({ what }) => what),
    [`disable the interrupts of ${D1}`],
  );
  await expectErrno('EINVAL', host.kexec());
  assert.ok(
    (await vmm.view()).descriptors.some(({ fd }) => fd === cdev),
    'nothing has changed',
  );
  await host.request('patch', `/devices/${D1}`, { interruptsEnabled: false });
  await raises(host, []);
});

test('a next kernel that is no JSON, or none that there is, is refused by name', async () => {
  const host = await app.host();
  for (const next of ['{', '{"profile":"none"}']) {
    const path = `/preflight?${new URLSearchParams({ next })}`;
    await assert.rejects(host.request('get', path), /400 .*\/next/);
  }
});
