/** Back in time: the timeline from step to step, and the views of a host as it was. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1 } from '../support/client.ts';
import { adopt } from '../support/setups.ts';
import { noBrowser } from './browser.ts';
import { becomes, hostUrl, openConsole } from './console.ts';

const app = useApp();

const hostsOf = async (): Promise<{ id: string; labels: Record<string, string> }[]> => {
  const { body } = await app.agent.get('/v1/hosts?limit=1000').set('authorization', `Bearer ${app.key}`);
  return body.items;
};
const copies = async (): Promise<number> =>
  (await hostsOf()).filter(({ labels }) => 'holdover-console' in labels).length;

test('the slider shows the host as it was, by a copy that is deleted afterwards', { skip: noBrowser }, async (t) => {
  const { host } = await adopt(app);
  const { page } = await openConsole(t, app);
  await page.goto(hostUrl(app.url, host.id, 'devices'));
  const row = page.locator('details.row', { hasText: D1 });
  await becomes(page, async () => (await row.textContent())?.includes('adopted'), true);
  const slider = page.getByRole('slider');
  await slider.focus();
  await page.keyboard.press('Home');
  await page.getByText('Behind command 0, kernel 1').waitFor();
  await page.getByText('The views show the host as it was behind command 0').waitFor();
  await becomes(page, async () => (await row.textContent())?.includes('adopted'), false);
  await becomes(page, copies, 1);
  assert.match(page.url(), /at=0$/);
  await page.getByRole('link', { name: 'Guided update' }).click();
  await page.getByText('This is of the host as it is now.').waitFor();
  await page.getByRole('link', { name: 'Back to now' }).first().click();
  await page.getByText('Now', { exact: true }).waitFor();
  await becomes(page, copies, 0);
  await page.goBack();
  await page.getByText('The views show the host as it was').waitFor();
  await becomes(page, copies, 1);
  // The page shows it: it knows which one it is to delete.
  await page.goBack();
  await becomes(page, async () => (await row.textContent())?.includes('adopted'), false);
  await page.goto('about:blank');
  await becomes(page, copies, 0);
});

test('steps are gone through by keys, and each tells its events', { skip: noBrowser }, async (t) => {
  const { host } = await adopt(app);
  const events = await host.events();
  const { page } = await openConsole(t, app);
  await page.goto(hostUrl(app.url, host.id));
  const picture = page.getByRole('group', { name: 'Timeline, step by step' });
  await picture.locator('svg .kernel').first().waitFor();
  await picture.focus();
  const step = page.getByRole('region', { name: 'Step' });
  await page.keyboard.press('Home');
  await step.getByText('Command 0').waitFor();
  await step.getByText('booted cold').waitFor();
  await page.keyboard.press('ArrowRight');
  const second = events.find(({ sequence }) => sequence > 0)!;
  await step.getByText(`Command ${second.sequence}`).waitFor();
  await step.getByText(second.message).first().waitFor();
  const widthOf = async (): Promise<number> => Number(await picture.locator('svg.timeline').getAttribute('width'));
  const before = await widthOf();
  await page.keyboard.press('+');
  await becomes(page, async () => (await widthOf()) > before, true);
  await page.keyboard.press('End');
  await step.getByText(', the newest').waitFor();
});
