/** The story of README.md, gone through in the console, and the mistakes that it offers; and preflight before a kexec. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Page } from 'playwright-core';
import { useApp } from '../support/app.ts';
import { D1, type Host } from '../support/client.ts';
import { prepare, setUpVmm } from '../support/setups.ts';
import { noBrowser } from './browser.ts';
import { becomes, hostUrl, openConsole, shownOf } from './console.ts';

const app = useApp();

async function guideOf(t: TestContext): Promise<{ page: Page; host: Host; chapter: (count: number) => Promise<void> }> {
  const host = await app.host();
  const { page } = await openConsole(t, app);
  await page.goto(hostUrl(app.url, host.id, 'guide'));
  const bar = page.getByRole('group', { name: 'Guide' });
  let done = 0;
  return {
    page,
    host,
    async chapter(count) {
      await bar.getByRole('button', { name: 'Run the chapter' }).click();
      done += count;
      await bar.getByText(done === 41 ? 'All 41 steps are done' : `${done} steps of 41`).waitFor();
    },
  };
}

test('the story of the README, chapter by chapter, with the timeline beside it', { skip: noBrowser }, async (t) => {
  const { page, host, chapter } = await guideOf(t);
  const shows = (states: string): Promise<void> => becomes(page, async () => (await shownOf(page, D1)).states, states);
  await chapter(11);
  await shows('1N 1N, now N');
  await chapter(2);
  await chapter(7);
  await chapter(4);
  await shows('1N 1N 2L, now L');
  await chapter(9);
  await shows('1N 1N 2L 2A, now A');
  await chapter(8);
  await shows('1N 1N 2L 2A 2S, now S');
  // The driver of the kernel was tried, and refused.
  await becomes(
    page,
    async () => {
      const { hazards, gaps, faults, sessions } = await shownOf(page, D1);
      return { hazards, gaps, faults, sessions };
    },
    { hazards: [], gaps: 0, faults: 1, sessions: ['session "vm-vfio0" is finished'] },
  );
  const [engine] = ((await host.request('get', '/engines')) as { items: { continuous: boolean; pages: number }[] })
    .items;
  assert.deepEqual([engine!.continuous, engine!.pages], [true, 16_384]);
});

test('a kexec without a session: what is lost, on the timeline', { skip: noBrowser }, async (t) => {
  const { page, chapter } = await guideOf(t);
  await chapter(11);
  await chapter(2);
  await page.getByText('A mistake to try here: Kexec without a session').click();
  await page.getByRole('button', { name: 'Kexec without a session' }).click();
  await becomes(page, async () => (await shownOf(page, D1)).hazards, ['device-left-behind']);
  await becomes(page, async () => {
    const { states, gaps } = await shownOf(page, D1);
    return [states, gaps];
  }, ['1N 1N 2N, now N', 1]);
});

test('FINISH before the bind is refused, and a move to an empty HWPT makes a gap', { skip: noBrowser }, async (t) => {
  const { page, chapter } = await guideOf(t);
  for (const count of [11, 2, 7, 4]) await chapter(count);
  const bar = page.getByRole('group', { name: 'Guide' });
  let done = 24;
  /** Where it can be made; it is done only there. */
  const mistake = async (name: string): Promise<void> => {
    const own = page.locator('button', { hasText: name });
    for (; await own.isDisabled(); done++) {
      await bar.getByRole('button', { name: 'Run the next' }).click();
      await bar.getByText(`${done + 1} steps of 41`).waitFor();
    }
    await page.getByText(`A mistake to try here: ${name}`).click();
    await own.click();
  };
  await mistake('FINISH before the bind');
  await page.locator('.mistake .came', { hasText: 'EBUSY' }).waitFor();
  assert.deepEqual((await shownOf(page, D1)).gaps, 0);
  await mistake('Move to an empty HWPT');
  await page.locator('.mistake .came', { hasText: 'has read nothing' }).first().waitFor();
  await becomes(page, async () => (await shownOf(page, D1)).gaps, 1);
  assert.deepEqual((await shownOf(page, D1)).hazards, ['incomplete-hot-swap']);
});

test('preflight tells what would be lost, asks before it is, and runs the update', { skip: noBrowser }, async (t) => {
  const { host } = await setUpVmm(app);
  const { page } = await openConsole(t, app);
  await page.goto(hostUrl(app.url, host.id, 'preflight'));
  await page.getByText('1 device would be left behind.').waitFor();
  await page.getByText('device-left-behind').first().waitFor();
  const asked: string[] = [];
  page.once('dialog', (dialog) => {
    asked.push(dialog.message());
    void dialog.dismiss();
  });
  await page.getByRole('button', { name: 'Run the live update' }).click();
  assert.match(asked[0]!, /1 device would be left behind/);
  assert.equal((await host.view()).kernel, 1);
});

test('where nothing is lost, one button runs it', { skip: noBrowser }, async (t) => {
  const { host } = await prepare(app);
  const { page } = await openConsole(t, app);
  await page.goto(hostUrl(app.url, host.id, 'preflight'));
  await page.getByText('Nothing is lost').waitFor();
  await page.getByRole('button', { name: 'Run the live update' }).click();
  await becomes(page, async () => (await host.view()).kernel, 2);
  await page.getByText('2, profile persisted-domains').waitFor();
});
