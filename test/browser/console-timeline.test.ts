/** The timeline in the console is what happens, while it happens, after a reload and after a cut connection. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1, type Host } from '../support/client.ts';
import { adopt, buildSuccessor, IOVA, preserveAll, RAM, retrieveAll, setUpVmm, update } from '../support/setups.ts';
import { noBrowser } from './browser.ts';
import { becomes, hostUrl, openConsole, type Shown, shownOf, Wire } from './console.ts';

const app = useApp();

const QUIET: Shown = { kernels: ['kernel 1: booted cold'], states: '', hazards: [], faults: 0, gaps: 0, sessions: [] };
const SECOND = 'kernel 2: booted with a handover of 1 session';
const BOTH = [QUIET.kernels[0]!, SECOND];

/** Opens the timeline of a host; `shows` waits until it shows that. */
async function watching(t: Parameters<typeof openConsole>[0], host: Host, url = app.url) {
  const { page, complaints } = await openConsole(t, { url, key: app.key });
  await page.goto(hostUrl(url, host.id));
  const shows = (expected: Partial<Shown>): Promise<void> =>
    becomes(
      page,
      async () => {
        const shown = await shownOf(page, D1);
        return Object.fromEntries(Object.keys(expected).map((key) => [key, shown[key as keyof Shown]]));
      },
      { ...expected } as Record<string, unknown>,
    );
  return { page, complaints, shows };
}

test('a live update shows while it happens: each state, the kernels, the session, and no gap', {
  skip: noBrowser,
}, async (t) => {
  const p = await setUpVmm(app);
  const { page, complaints, shows } = await watching(t, p.host);
  await p.host.startEngine(D1, IOVA, RAM);
  await shows({ ...QUIET, states: '1N 1N, now N' });
  const { session: prepared } = await preserveAll(p);
  assert.ok(prepared > 0);
  await shows({ sessions: ['session "vm1"'] });
  await p.host.kexec();
  await shows({ kernels: BOTH, states: '1N 1N 2L, now L' });
  const q = await retrieveAll(p.host, p.watch);
  q.device = await q.vmm.bind(q.cdev, q.iommufd);
  await shows({ states: '1N 1N 2L 2A, now A' });
  const { hwpt } = await buildSuccessor(q);
  await q.vmm.attach(q.cdev, hwpt);
  await q.vmm.finish(q.session);
  const end: Shown = {
    kernels: BOTH,
    states: '1N 1N 2L 2A 2S, now S',
    hazards: [],
    faults: 0,
    gaps: 0,
    sessions: ['session "vm1" is finished'],
  };
  await shows(end);
  await page.reload();
  await shows(end);
  assert.deepEqual(complaints, []);
});

test('a device that is left behind: the hazard, and a gap that goes on', { skip: noBrowser }, async (t) => {
  const { host } = await setUpVmm(app);
  const { shows, page } = await watching(t, host);
  await host.startEngine(D1, IOVA, RAM);
  await shows({ states: '1N 1N, now N', gaps: 0 });
  await host.kexec();
  await shows({ states: '1N 1N 2N, now N', hazards: ['device-left-behind'], gaps: 1 });
  await page.locator('.scroller a:has(> .hazard)').click();
  await page.getByText('What to do:').first().waitFor();
});

test('an empty hot-swap: the hazard, a gap, and faults where DMA is refused', { skip: noBrowser }, async (t) => {
  const q = await adopt(app);
  await q.host.startEngine(D1, IOVA, RAM);
  const { shows } = await watching(t, q.host);
  await shows({ states: '1N 1N 2L 2A, now A', gaps: 0, faults: 0 });
  const hwpt = await q.vmm.allocHwpt(q.iommufd, q.device, await q.vmm.allocIoas(q.iommufd));
  await q.vmm.attach(q.cdev, hwpt);
  await shows({ states: '1N 1N 2L 2A 2S, now S', hazards: ['incomplete-hot-swap'], gaps: 1, faults: 1 });
  await q.host.dmaFaults(D1, IOVA);
  await shows({ gaps: 1, faults: 3 });
});

test('a VMM that dies before FINISH: the session is stuck, and the device stays in luo mode', {
  skip: noBrowser,
}, async (t) => {
  const { host, vmm } = await update(app);
  const { shows } = await watching(t, host);
  await shows({ states: '1N 1N 2L, now L', hazards: [], sessions: ['session "vm1"'] });
  await vmm.kill();
  await shows({ states: '1N 1N 2L, now L', sessions: ['session "vm1" is stuck'] });
  await shows({ hazards: ['session-stuck', 'never-adopted'] });
});

test('a connection that is cut: the page says so, and misses nothing when it is back', {
  skip: noBrowser,
}, async (t) => {
  const p = await setUpVmm(app);
  const wire = await Wire.to(t, app.url);
  const { page, shows } = await watching(t, p.host, wire.url);
  await shows({ states: '1N 1N, now N' });
  await page.getByText('live', { exact: true }).waitFor();
  wire.cut();
  await page.getByText('the connection is cut').waitFor();
  await preserveAll(p);
  await p.host.kexec();
  await shows({ kernels: QUIET.kernels, states: '1N 1N, now N' });
  wire.mend();
  await page.getByText('live', { exact: true }).waitFor();
  await shows({ kernels: BOTH, states: '1N 1N 2L, now L', sessions: ['session "vm1"'] });
  const told = await p.host.events();
  await page.getByRole('link', { name: 'Events' }).click();
  await page.getByText(`${told.length} of ${told.length} events`).waitFor();
});
