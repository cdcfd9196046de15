/**
 * The story of the README with an engine over all of the guest's memory: without a mistake each of its pages is reached at any time;
 * with one, a hazard names the device in the answer and in the events, the report of the engine shows what has become of its DMA, and
 * where it is the kexec that goes wrong the preflight had announced it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EngineView } from '../../src/host/views.ts';
import type { EventData } from '../../src/kernel/events.ts';
import type { Hazard } from '../../src/kernel/hazards.ts';
import { useApp } from '../support/app.ts';
import { D1, type Host } from '../support/client.ts';
import { expectErrno } from '../support/kernel-error.ts';
import { type Adopted, buildSuccessor, IOVA, RAM, retrieveAll, setUpVmm, TOKEN, type Vmm } from '../support/setups.ts';

const app = useApp();
const PAGES = RAM / 4096;

/** What is done wrong, or not at all. */
type Mistake =
  | 'no seals'
  | 'HWPT not marked'
  | 'cdev forgotten'
  | 'iommufd forgotten'
  | 'empty hot-swap'
  | 'hot-swap to other memory'
  | 'VMM dies before FINISH'
  | 'cdev retrieved too early'
  | 'second update without preserving'
  | 'next kernel of another profile';

/** What of the DMA has gone on: all of it; none from some time on; all of it, elsewhere. */
type Fate = 'continuous' | 'gap' | 'moved';

interface Expected {
  hazards: readonly Hazard[];
  fate: Fate;
  /** It is the kexec that goes wrong. */
  announced: boolean;
}

const LEFT = { hazards: ['device-left-behind'], fate: 'gap', announced: true } as const;

const MISTAKES: Record<Mistake, Expected> = {
  'no seals': LEFT,
  'HWPT not marked': LEFT,
  'cdev forgotten': { ...LEFT, hazards: ['device-left-behind', 'domain-dropped'] },
  'iommufd forgotten': LEFT,
  'empty hot-swap': { hazards: ['incomplete-hot-swap'], fate: 'gap', announced: false },
  'hot-swap to other memory': { hazards: ['other-memory-hot-swap'], fate: 'moved', announced: false },
  'VMM dies before FINISH': { hazards: ['session-stuck', 'never-adopted'], fate: 'continuous', announced: false },
  'cdev retrieved too early': { hazards: ['never-adopted'], fate: 'continuous', announced: false },
  'second update without preserving': { ...LEFT, hazards: ['device-left-behind', 'session-lost'] },
  'next kernel of another profile': { ...LEFT, hazards: ['handover-ignored', 'device-left-behind'] },
};

async function preserveAll({ vmm, memfd, iommufd, cdev, hwpt }: Vmm, mistake: Mistake | null): Promise<void> {
  const session = await vmm.createSession(await vmm.openLiveupdate(), 'vm1');
  await vmm.preserve(session, memfd, 1);
  if (mistake !== 'HWPT not marked') await vmm.mark(iommufd, hwpt, TOKEN);
  const iommufdPreserved = vmm.preserve(session, iommufd, 2);
  if (mistake === 'no seals') return void (await expectErrno('EINVAL', iommufdPreserved));
  await iommufdPreserved;
  if (mistake === 'cdev forgotten') return;
  const cdevPreserved = vmm.preserve(session, cdev, 3);
  await (mistake === 'HWPT not marked' ? expectErrno('EINVAL', cdevPreserved) : cdevPreserved);
}

async function forgetIommufd({ vmm, memfd, iommufd, cdev, hwpt }: Vmm): Promise<void> {
  const session = await vmm.createSession(await vmm.openLiveupdate(), 'vm1');
  await vmm.preserve(session, memfd, 1);
  await vmm.mark(iommufd, hwpt, TOKEN);
  await expectErrno('ENOENT', vmm.preserve(session, cdev, 3));
}

/** The memory without seals is mapped in place of the other one. */
async function withoutSeals(ready: Vmm): Promise<Vmm> {
  const { vmm, iommufd, ioas } = ready;
  const memfd = await vmm.memfd(RAM);
  await vmm.unmap(iommufd, ioas, IOVA, RAM);
  await vmm.mapFile(iommufd, ioas, IOVA, memfd, RAM);
  return { ...ready, memfd };
}

async function kexec(host: Host, mistake: Mistake | null): Promise<void> {
  const body = mistake === 'next kernel of another profile' ? { kernel: { profile: 'linux-7.3' } } : {};
  const names = (list: readonly { data: EventData }[]) => list.map(({ data }) => data.hazard);
  const told = host.told.length;
  const before = names((await host.preflight(body)).hazards);
  // What is foretold is not told.
  host.told.length = told;
  const { hazards = [] } = await host.kexec(body);
  assert.deepEqual(names(hazards), before, 'as the preflight has said');
}

async function swap(q: Adopted, mistake: Mistake | null): Promise<void> {
  const { vmm, iommufd, cdev, device } = q;
  const restored = await vmm.restore(iommufd, TOKEN);
  let hwpt: number;
  if (mistake === null) hwpt = (await buildSuccessor(q)).hwpt;
  else {
    const ioas = await vmm.allocIoas(iommufd);
    if (mistake === 'hot-swap to other memory') await vmm.mapFile(iommufd, ioas, IOVA, await vmm.memfd(RAM), RAM);
    hwpt = await vmm.allocHwpt(iommufd, device, ioas);
  }
  await vmm.attach(cdev, hwpt);
  await vmm.destroy(iommufd, restored);
  await vmm.finish(q.session);
}

/** The story up to where the mistake has shown. */
async function tell(mistake: Mistake | null): Promise<{ host: Host; report: EngineView }> {
  let ready = await setUpVmm(app);
  const { host, watch } = ready;
  if (mistake === 'no seals') ready = await withoutSeals(ready);
  const engine = await host.startEngine(D1, IOVA, RAM);
  const report = async (): Promise<{ host: Host; report: EngineView }> => {
    await host.advanceClock('1000000000');
    return { host, report: await host.engine(engine) };
  };
  await (mistake === 'iommufd forgotten' ? forgetIommufd(ready) : preserveAll(ready, mistake));
  await kexec(host, mistake);
  if (mistake !== null && MISTAKES[mistake].announced && mistake !== 'second update without preserving')
    return await report();
  if (mistake === 'cdev retrieved too early') {
    const vmm = await host.process({ name: 'vmm' });
    const session = await vmm.retrieveSession(await vmm.openLiveupdate(), 'vm1');
    await expectErrno('ENODEV', vmm.retrieve(session, 3));
    return await report();
  }
  const q = await retrieveAll(host, watch);
  if (mistake === 'VMM dies before FINISH') {
    await q.vmm.kill();
    return await report();
  }
  q.device = await q.vmm.bind(q.cdev, q.iommufd);
  if (mistake === 'second update without preserving') await kexec(host, mistake);
  else await swap(q, mistake);
  return await report();
}

function fateOf({ gaps, moved, continuousPages, pages }: EngineView): Fate {
  if (gaps.length > 0) return 'gap';
  if (moved.length > 0) return 'moved';
  assert.equal(continuousPages, pages);
  return 'continuous';
}

test('without a mistake there is no hazard, and no gap for any of 16,384 pages', async () => {
  const { host, report } = await tell(null);
  const { pages, continuousPages, continuous, gaps, moved, freed, refused } = report;
  assert.deepEqual([pages, continuousPages, continuous], [PAGES, PAGES, true]);
  assert.deepEqual([gaps, moved, freed, refused], [[], [], [], '0']);
  assert.deepEqual([host.told, await host.hazards('0')], [[], []]);
});

for (const mistake of Object.keys(MISTAKES) as Mistake[])
  test(`one mistake: ${mistake}`, async () => {
    const { hazards, fate } = MISTAKES[mistake];
    const { host, report } = await tell(mistake);
    assert.deepEqual(
      host.told.map(({ data }) => data.hazard),
      hazards,
    );
    assert.deepEqual(await host.hazards('0'), host.told, 'in the events, too');
    assert.ok(
      host.told.some(({ data }) => data.bdf === D1),
      'the device is named',
    );
    assert.equal(fateOf(report), fate);
    if (fate !== 'continuous') assert.equal(report.continuousPages, 0);
  });
