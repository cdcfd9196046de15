/** Who sees what in the console, and where the key is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { ADMIN_KEY } from '../support/keys.ts';
import { noBrowser, openPage } from './browser.ts';
import { hostUrl, openConsole, signIn } from './console.ts';

const app = useApp();

/** All that the browser has kept for the page. */
const KEPT = 'JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])';

test('a wrong key is refused in words, and nothing of it is kept', { skip: noBrowser }, async (t) => {
  const { page } = await openPage(t);
  await page.goto(`${app.url}/console`);
  await page.getByLabel('Key of a tenant').fill('no-such-key');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('No tenant has this key.').waitFor();
  assert.equal(await page.evaluate(KEPT), '[{},{},""]');
});

test('the key is in no address and in no storage but that of the tab, and goes with it', {
  skip: noBrowser,
}, async (t) => {
  const host = await app.host();
  const { page } = await openPage(t);
  const asked: string[] = [];
  page.on('request', (request) => asked.push(`${request.url()} ${request.postData() ?? ''}`));
  await signIn(page, app.url, app.key);
  await page.goto(hostUrl(app.url, host.id));
  await page.getByText('live', { exact: true }).waitFor();
  await page.reload();
  await page.getByText('live', { exact: true }).waitFor();
  assert.ok(asked.length > 20);
  assert.deepEqual(
    asked.filter((text) => text.includes(app.key)),
    [],
  );
  assert.ok(
    asked.every((url) => url.startsWith(app.url)),
    'it asks nobody else',
  );
  assert.equal(await page.evaluate(KEPT), JSON.stringify([{}, { 'holdover-key': app.key }, '']));
  const other = await page.context().newPage();
  await other.goto(hostUrl(app.url, host.id));
  await other.getByRole('heading', { name: 'Sign in' }).waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  assert.equal(await page.evaluate(KEPT), '[{},{},""]');
  await page.reload();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
});

test('another tenant sees nothing of a host, not even by its address', { skip: noBrowser }, async (t) => {
  const host = await app.host({ name: 'a host of the first tenant' });
  const made = await app.agent
    .post('/v1/admin/tenants')
    .set('authorization', `Bearer ${ADMIN_KEY}`)
    .send({ name: 'other-in-a-browser' })
    .expect(201);
  const { key } = made.body;
  const { page } = await openConsole(t, { url: app.url, key });
  await page.getByText('There is none yet: make one above.').waitFor();
  await page.goto(hostUrl(app.url, host.id));
  await page.getByText('there is no such host').first().waitFor();
  assert.ok(!(await page.content()).includes('a host of the first tenant'));
});

test('names with markup are text, in lists, on the timeline and in reports', { skip: noBrowser }, async (t) => {
  const name = '<img src=x onerror="document.title=1">';
  const host = await app.host({ name, labels: { suite: '<b>bold</b>' } });
  await host.process({ name: '<i>vmm</i>' });
  const { page, complaints } = await openConsole(t, app);
  await page.getByRole('link', { name }).waitFor();
  await page.goto(hostUrl(app.url, host.id));
  await page.getByRole('heading', { name, exact: true }).waitFor();
  await page.getByText('suite=<b>bold</b>').waitFor();
  for (const tab of ['Processes', 'Devices', 'Events', 'Timeline']) {
    await page.getByRole('link', { name: tab, exact: true }).click();
    await page.getByRole('region').or(page.getByRole('group')).first().waitFor();
    assert.equal(await page.locator('main img, main b, main i').count(), 0);
  }
  assert.deepEqual(complaints, []);
});
