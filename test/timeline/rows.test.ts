/** The rows of a timeline are what has happened: letters, gaps, hazards and brackets of whole stories. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type DeviceRow, History, type Timeline, timelineOf } from '../../src/timeline/rows.ts';
import { useApp } from '../support/app.ts';
import { D1, D2, E1, type Host } from '../support/client.ts';
import { adopt, buildSuccessor, IOVA, prepare, RAM, setUpVmm, update } from '../support/setups.ts';
import { lettersOf, timelineOfHost, toldOf, wrongAtTheEnd } from './told.ts';

const app = useApp();

/** Of a host, whose rows end as the service says. */
async function rowsOf(host: Host): Promise<{ timeline: Timeline; first: DeviceRow; letters: string }> {
  const told = await toldOf(host);
  const timeline = timelineOf(told);
  assert.deepEqual(wrongAtTheEnd(timeline, told), []);
  // Told one by one, as they happen, they come to the same.
  const history = new History();
  for (const event of told.events) {
    history.add([event]);
    history.timeline(told);
  }
  assert.deepEqual(history.timeline(told), timeline);
  const first = timeline.devices.find(({ bdf }) => bdf === D1)!;
  return { timeline, first, letters: lettersOf(first, timeline) };
}

const hazardsOf = (marks: DeviceRow['marks']): unknown[] =>
  marks.filter(({ what }) => what === 'hazard').flatMap(({ events }) => events.map(({ data }) => data.hazard));

test('a live update without a mistake: every letter, no gap, and a session from its making to its finish', async () => {
  const q = await adopt(app);
  const engine = await q.host.startEngine(D1, IOVA, RAM);
  const { hwpt } = await buildSuccessor(q);
  await q.vmm.attach(q.cdev, hwpt);
  await q.vmm.finish(q.session);
  const { timeline, first, letters } = await rowsOf(q.host);
  assert.equal(letters, 'N Np | L A S');
  assert.deepEqual(
    timeline.kernels.map(({ kernel, begun }) => [kernel, begun?.kind]),
    [
      [1, 'boot'],
      [2, 'boot'],
    ],
  );
  const [session] = timeline.sessions;
  const second = timeline.kernels[1]!.from;
  assert.equal(timeline.sessions.length, 1);
  assert.equal(session!.end, 'finished');
  assert.equal(session!.to, timeline.steps.length);
  assert.ok(session!.from < second);
  assert.equal(session!.waiting!.from, second - 1, 'it waits from the kexec on');
  assert.equal(
    timeline.steps[session!.waiting!.to!]!.events.some(({ kind }) => kind === 'luo.session'),
    true,
  );
  assert.deepEqual(
    session!.marks.map(({ what }) => what[0]).join(''),
    'ppprrrfff',
    'three files are preserved, retrieved and finished',
  );
  assert.deepEqual(hazardsOf(first.marks), []);
  const [strip] = first.engines;
  assert.deepEqual(
    [strip!.engine.id, strip!.gaps, strip!.moved, strip!.to],
    [engine.id, [], [], timeline.steps.length + 1],
  );
  const others = timeline.devices.filter(({ bdf }) => bdf !== D1);
  assert.ok(others.every(({ isQuiet }) => isQuiet));
  assert.ok(!first.isQuiet);
  const nvme = timeline.devices.find(({ bdf }) => bdf === E1)!;
  assert.equal(lettersOf(nvme, timeline), 'Nk | N');
});

test('a device that is left behind: its hazard stands at the kexec, and its gap begins with the next kernel', async () => {
  const { host } = await setUpVmm(app);
  await host.startEngine(D1, IOVA, RAM);
  await host.kexec();
  const { timeline, first, letters } = await rowsOf(host);
  assert.equal(letters, 'N Np | N');
  const mark = first.marks.find(({ what }) => what === 'hazard')!;
  assert.deepEqual(hazardsOf(first.marks), ['device-left-behind']);
  const second = timeline.kernels[1]!.from;
  assert.equal(mark.step, second - 1);
  const { gaps } = first.engines[0]!;
  assert.deepEqual(
    gaps.map(({ from, to }) => [from, to]),
    [[second, timeline.steps.length + 1]],
  );
});

test('an empty hot-swap: the gap begins in the step of the swap, and DMA that is refused is a fault there', async () => {
  const q = await adopt(app);
  await q.host.startEngine(D1, IOVA, RAM);
  const hwpt = await q.vmm.allocHwpt(q.iommufd, q.device, await q.vmm.allocIoas(q.iommufd));
  await q.vmm.attach(q.cdev, hwpt);
  const { timeline, first, letters } = await rowsOf(q.host);
  assert.equal(letters, 'N Np | L A S');
  assert.deepEqual(hazardsOf(first.marks), ['incomplete-hot-swap']);
  const swapped = timeline.steps.findIndex(({ events }) => events.some(({ kind }) => kind === 'restore.swapped'));
  assert.equal(first.engines[0]!.gaps[0]!.from, swapped);
  await q.host.dmaFaults(D1, IOVA);
  const faults = (await rowsOf(q.host)).first.marks.filter(({ what }) => what === 'fault');
  assert.deepEqual(
    faults.flatMap(({ events }) => events.map(({ kind, data }) => [kind, data.op])),
    [
      ['engine.gap', undefined],
      ['dma.fault', 'read'],
      ['dma.fault', 'write'],
    ],
  );
});

test('a VMM that dies before FINISH: the session is stuck, and its bracket goes on', async () => {
  const { host, vmm } = await update(app);
  await vmm.kill();
  const { timeline, first, letters } = await rowsOf(host);
  assert.equal(letters, 'N Np | L');
  assert.deepEqual([timeline.sessions[0]!.end, timeline.sessions[0]!.to], ['stuck', null]);
  assert.deepEqual(hazardsOf(first.marks), ['never-adopted']);
});

test('a session of the kernel before ends with a second update, one that is closed where it is closed', async () => {
  const q = await adopt(app);
  await q.host.kexec();
  const lost = await rowsOf(q.host);
  assert.equal(lost.letters, 'N Np | L A | N');
  assert.equal(lost.timeline.sessions[0]!.end, 'lost');
  const p = await prepare(app);
  await p.vmm.close(p.session);
  const closed = await rowsOf(p.host);
  assert.equal(closed.timeline.sessions[0]!.end, 'closed');
});

test('a crash, a detach and a death of a program are told as the service tells them', async () => {
  const q = await adopt(app);
  await q.vmm.detach(q.cdev);
  assert.equal((await rowsOf(q.host)).letters, 'N Np | L A X');
  await q.vmm.kill();
  assert.equal((await rowsOf(q.host)).letters, 'N Np | L A X N');
  await q.host.crash();
  const { timeline, letters } = await rowsOf(q.host);
  assert.equal(letters, 'N Np | L A X N | N');
  assert.deepEqual(
    timeline.kernels.map(({ kernel }) => kernel),
    [1, 2, 3],
  );
});

test('a host that goes back to a snapshot goes on from the states that it had then', async () => {
  const { host, vmm, session } = await update(app);
  await host.request('put', '/snapshots/ready');
  await vmm.kill();
  await host.request('post', '/snapshots/ready/restore');
  const { timeline, letters } = await rowsOf(host);
  assert.equal(letters, 'N Np | L | L');
  assert.equal(timeline.kernels.at(-1)!.begun?.kind, 'restored');
  assert.deepEqual(
    timeline.sessions.map(({ name, to, end }) => [name, to, end]),
    [
      ['vm1', timeline.kernels.at(-1)!.from, 'undone'],
      ['vm1', null, null],
    ],
  );
  await host.request('delete', `/processes/${vmm.pid}/descriptors/${session}`);
  assert.equal((await rowsOf(host)).timeline.sessions[1]!.end, 'stuck');
});

test('of a copy only what came since is told: a device is what it is now, or not known until an event says', async () => {
  const { host, vmm, cdev } = await setUpVmm(app);
  const copy = await app.host({ from: host.id, preset: undefined });
  const before = await timelineOfHost(copy);
  const stretchOf = (timeline: Timeline, bdf: string) => timeline.devices.find((row) => row.bdf === bdf)!.stretches;
  assert.deepEqual(
    stretchOf(before, D1).map(({ state: { letter, owner } }) => [letter, owner]),
    [['N', 'program']],
  );
  await copy.request('delete', `/processes/${vmm.pid}/cdevs/${cdev}/attachment`);
  const after = await timelineOfHost(copy);
  assert.deepEqual(
    stretchOf(after, D1).map(({ state: { letter, owner } }) => [letter, owner]),
    [
      ['?', null],
      ['N', 'program'],
    ],
  );
  assert.equal(stretchOf(after, D2)[0]!.state.letter, 'N');
});

test('of a copy a device that is adopted and swapped is told to be so, and what it was before', async () => {
  const q = await update(app);
  const copy = await app.host({ from: q.host.id, preset: undefined });
  const inCopy = `/processes/${q.vmm.pid}`;
  await copy.request('put', `${inCopy}/cdevs/${q.cdev}/iommufd`, { iommufd: q.iommufd });
  assert.equal((await rowsOf(copy)).letters, 'L A');
  const again = await app.host({ from: copy.id, preset: undefined });
  await again.request('post', `${inCopy}/iommufds/${q.iommufd}/ioases`);
  const ioas = 3;
  await again.request('post', `${inCopy}/iommufds/${q.iommufd}/hwpts`, { device: 1, pageTable: ioas });
  await again.request('put', `${inCopy}/cdevs/${q.cdev}/attachment`, { pageTable: 4 });
  assert.equal((await rowsOf(again)).letters, '? S');
});
