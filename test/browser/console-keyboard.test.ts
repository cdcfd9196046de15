/** All that can be done in the console can be done by keyboard alone. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Locator, Page } from 'playwright-core';
import { useApp } from '../support/app.ts';
import { D1, D2, type Host } from '../support/client.ts';
import { temporaryDirectory } from '../support/service.ts';
import { setUpVmm } from '../support/setups.ts';
import { noBrowser, openPage } from './browser.ts';
import { becomes, hostUrl } from './console.ts';

const app = useApp();

/** No page has more that can be focused. */
const MOST_TABS = 400;

/** Goes on with Tab until it has the focus. */
async function reach(page: Page, element: Locator): Promise<void> {
  await element.waitFor();
  for (let tabs = 0; tabs < MOST_TABS; tabs++) {
    if ((await element.and(page.locator(':focus')).count()) > 0) return;
    await page.keyboard.press('Tab');
  }
  assert.fail(`Tab does not lead to ${element}`);
}

async function press(page: Page, element: Locator, key = 'Enter'): Promise<void> {
  await reach(page, element);
  await page.keyboard.press(key);
}

/** A browser whose user has signed in by keyboard. */
async function signedIn(t: TestContext): Promise<Page> {
  const { page } = await openPage(t, { viewport: { width: 1400, height: 1000 } });
  await page.goto(`${app.url}/console`);
  await reach(page, page.getByLabel('Key of a tenant'));
  await page.keyboard.type(app.key);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Hosts' }).waitFor();
  page.on('dialog', (dialog) => void dialog.accept());
  return page;
}

async function opened(t: TestContext, host: Host, tab: string) {
  const page = await signedIn(t);
  await page.goto(hostUrl(app.url, host.id, tab));
  await page.getByText('live', { exact: true }).waitFor();
  const button = (name: string): Locator => page.locator('main').getByRole('button', { name, exact: true });
  /** A button by whose press the service was asked, which has said yes. */
  const act = async (name: string): Promise<void> => {
    await press(page, button(name));
    await page.getByText(`${name}: done.`).waitFor();
  };
  return { page, button, act };
}

const skip = { skip: noBrowser };

test('hosts are made, of a preset, a text and a file, found, opened and deleted', skip, async (t) => {
  const source = await app.host();
  const file = join(temporaryDirectory(t), 'host.json');
  writeFileSync(file, JSON.stringify(await source.request('get', '/export')));
  const page = await signedIn(t);
  const made = page.getByText('Timeline, step by step').or(page.getByRole('slider'));
  const home = (): Promise<void> => press(page, page.getByRole('link', { name: 'Holdover' }));
  await reach(page, page.getByRole('combobox', { name: 'Machine' }));
  await page.keyboard.press('ArrowDown');
  await reach(page, page.getByRole('textbox', { name: 'Name' }));
  await page.keyboard.type('made by keys');
  await press(page, page.getByRole('button', { name: 'Make it', exact: true }));
  await made.first().waitFor();
  await home();
  await press(page, page.getByText('Of a real machine'));
  await reach(page, page.getByRole('textbox', { name: 'What find' }));
  await page.keyboard.type('/sys/kernel/iommu_groups/0/devices/0000:00:01.0');
  await press(page, page.getByRole('button', { name: 'Make it of this text' }));
  await made.first().waitFor();
  await home();
  await press(page, page.getByText('Of a real machine'));
  const choosing = page.waitForEvent('filechooser');
  await press(page, page.getByLabel('A file that Export has given'));
  await (await choosing).setFiles(file);
  await made.first().waitFor();
  await home();
  await reach(page, page.getByRole('searchbox', { name: 'Find' }));
  await page.keyboard.type('made by keys');
  const row = page.getByRole('row', { name: 'made by keys' });
  await press(page, row.locator('summary'));
  await page.getByText('curl -X DELETE').first().waitFor();
  await press(page, row.getByRole('button', { name: 'Delete' }));
  await page.getByText('None is found.').waitFor();
  await press(page, page.getByRole('button', { name: 'Sign out' }));
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
});

test('a host gets a live update, a crash, a power cycle, a clone, and files of it', skip, async (t) => {
  const host = await app.host();
  const { page, button, act } = await opened(t, host, 'timeline');
  await press(page, page.getByRole('link', { name: 'To the content' }));
  await act('Live update');
  assert.equal((await host.view()).kernel, 2);
  await act('Crash');
  assert.equal((await host.view()).state, 'kdump');
  await act('Cycle the power');
  for (const [name, file] of [
    ['Export', `${host.id}.holdover.json`],
    ['Report', `${host.id}.html`],
  ] as const) {
    const coming = page.waitForEvent('download');
    await press(page, button(name));
    assert.equal((await coming).suggestedFilename(), file);
  }
  await press(page, button('Clone'));
  await becomes(page, async () => page.url().includes(host.id), false);
  await page.getByText('live', { exact: true }).waitFor();
  await press(page, button('Delete'));
  await page.getByRole('heading', { name: 'Hosts' }).waitFor();
});

test('the timeline is zoomed, filtered, read in words, and gone back in', skip, async (t) => {
  const { host } = await setUpVmm(app);
  const { page, button } = await opened(t, host, 'timeline');
  const width = async (): Promise<number> =>
    Number(await page.locator('svg.timeline[width]').first().getAttribute('width'));
  const usual = await width();
  for (const [name, changes] of [
    ['Zoom in', (now: number) => now > usual],
    ['Usual size', (now: number) => now === usual],
    ['Zoom out', (now: number) => now < usual],
    ['All of it', (now: number) => now > 0],
  ] as const) {
    await press(page, button(name));
    await becomes(page, async () => changes(await width()), true);
  }
  await reach(page, page.getByRole('searchbox', { name: 'Devices' }));
  await page.keyboard.type('02:00');
  await page.getByText('1 of 5 devices').waitFor();
  await press(page, page.getByRole('checkbox', { name: 'those, too' }), 'Space');
  await page.getByText('0 of 5 devices').waitFor();
  await press(page, page.getByRole('checkbox', { name: 'follow' }), 'Space');
  await press(page, page.getByText('The timeline in words'));
  await page.getByRole('table').first().waitFor();
  await reach(page, page.getByRole('group', { name: 'Timeline, step by step' }));
  await page.keyboard.press('Home');
  await press(page, button('See the host as it was then'));
  await page.getByText('The views show the host as it was behind command 0').waitFor();
  await press(page, page.getByRole('link', { name: 'Back to now' }));
  await reach(page, page.getByRole('slider'));
  await page.keyboard.press('ArrowLeft');
  await page.getByText('The views show the host as it was').waitFor();
});

test(
  'devices get drivers, resets and engines; processes come and go; faults are armed; time passes',
  skip,
  async (t) => {
    const host = await app.host();
    const { page, act, button } = await opened(t, host, 'devices');
    const row = (text: string): Locator => page.locator('details.row', { hasText: text }).locator('> summary');
    await press(page, row(D2));
    await press(page, button('Unbind vfio-pci'));
    await becomes(page, async () => (await host.device(D2)).driver, null);
    await act('Bind vfio-pci');
    await act('Reset (FLR)');
    await act('Start engine');
    await press(page, button('Stop engine 1'));
    await page.getByText('Engine 1 has ended').waitFor();
    await press(page, page.getByRole('link', { name: 'Processes' }));
    await act('Start a process');
    await host.request('post', '/processes/1/iommufds', {});
    // It is open, as it is new: it is closed, and opened again.
    await press(page, row('vmm'));
    await press(page, row('vmm'));
    await act('Close 3');
    await act('Kill 1');
    await press(page, page.getByRole('link', { name: 'Faults and engines' }));
    await act('Let 1 ms pass');
    await act('Let 1 s pass');
    await reach(page, page.getByRole('combobox', { name: 'Point' }));
    await page.keyboard.press('ArrowDown');
    await act('Arm it');
    await act('Disarm fault 1');
  },
);

test('IOVA spaces are chosen, events filtered, and what an update would do is asked and done', skip, async (t) => {
  const { host, vmm, iommufd } = await setUpVmm(app);
  await vmm.allocIoas(iommufd);
  const { page, act } = await opened(t, host, 'memory');
  await reach(page, page.getByRole('combobox', { name: 'iommufd' }));
  const second = page.locator('.iommufd-ioas[aria-pressed=false]');
  await press(page, second.first());
  await page.getByText('Nothing is mapped.').waitFor();
  await press(page, page.getByRole('link', { name: 'Sessions' }));
  await page.getByRole('heading', { name: 'Paging domains' }).waitFor();
  await press(page, page.getByRole('link', { name: 'Events' }));
  await reach(page, page.getByRole('combobox', { name: 'At least' }));
  await page.keyboard.type('notice');
  await reach(page, page.getByRole('searchbox', { name: 'Text' }));
  await page.keyboard.type('reset');
  await page.getByText(/^1 of \d+ events/).waitFor();
  await press(page, page.getByRole('link', { name: 'Preflight' }));
  await reach(page, page.getByRole('combobox', { name: 'Kexec' }));
  await page.keyboard.type('plain');
  await act('Run the plain kexec');
  assert.equal((await host.view()).kernel, 2);
});

test('the guide is gone through, with a mistake, and begun anew', skip, async (t) => {
  const { page, button } = await opened(t, await app.host(), 'guide');
  await press(page, button('Start a VMM'));
  await page.getByText('1 steps of 41').or(page.getByText('1 step of 41')).waitFor();
  await press(page, button('Run the next'));
  await page.getByText('2 steps of 41').waitFor();
  await press(page, button('Run the chapter'));
  await page.getByText('11 steps of 41').waitFor();
  await press(page, button('Run the chapter'));
  await page.getByText('13 steps of 41').waitFor();
  await press(page, page.getByText('A mistake to try here: Kexec without a session'));
  await press(page, button('Kexec without a session'));
  await becomes(page, () => page.locator('.scroller .hazard').count(), 1);
  await press(page, button('Begin anew'));
  await press(page, button(`Bind vfio-pci to ${D1}`));
  await button('Start a VMM').and(page.locator(':enabled')).waitFor();
});
