/** The pages at / and /docs in a browser: light and dark, on a wide screen and a narrow one, with what opens in them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Page } from 'playwright-core';
import { startService, temporaryDirectory } from '../support/service.ts';
import { check, LOOKS, noBrowser, openPage, SCHEMES } from './browser.ts';

const skip = noBrowser;
const LIST = '#operations-Hosts-listHosts';
const CREATE = '#operations-Hosts-createHost';
const HOSTS = '#operations-tag-Hosts .expand-operation';

/** Shows an operation, with what it takes to try it. */
async function tryOut(page: Page, operation: string): Promise<void> {
  await page.click(`${operation} .opblock-summary-control`);
  await page.click(`${operation} .try-out__btn`);
  await page.waitForSelector(`${operation} .execute`);
}

/** Sends the request of an operation, and returns the status of the answer. */
async function execute(page: Page, operation: string): Promise<string> {
  await page.click(`${operation} .execute`);
  const status = await page.waitForSelector(`${operation} .live-responses-table tbody .response-col_status`);
  return ((await status.textContent()) ?? '').trim();
}

for (const look of LOOKS) {
  const { colorScheme, viewport } = look;
  test(`/ and /docs are for all readers, and no wider than ${viewport.width} px: ${colorScheme}`, {
    skip,
  }, async (t) => {
    const { url } = await startService(t, temporaryDirectory(t));
    const { page, complaints } = await openPage(t, look);
    await page.goto(url);
    await check(page);
    await page.click('text=API pages');
    await page.waitForSelector('.opblock-tag');
    await check(page);
    await page.click(HOSTS);
    await check(page);
    await page.click('.btn.authorize');
    await check(page);
    await page.click('.close-modal');
    await tryOut(page, LIST);
    await check(page);
    await execute(page, LIST);
    await check(page);
    await page.click(`${LIST} .opblock-summary-control`);
    await tryOut(page, CREATE);
    await check(page);
    assert.deepEqual(complaints, []);
  });
}

test('in development mode the key is filled in, so that requests are answered at once', { skip }, async (t) => {
  const service = await startService(t, temporaryDirectory(t));
  const { page, complaints } = await openPage(t);
  await page.goto(`${service.url}/docs`);
  await page.waitForSelector('.authorize.locked');
  await page.click(HOSTS);
  await tryOut(page, CREATE);
  // Each is a request of its own, not the same one once more.
  assert.equal(await execute(page, CREATE), '201');
  await page.click(`${CREATE} .btn-clear`);
  assert.equal(await execute(page, CREATE), '201');
  await page.click(`${CREATE} .opblock-summary-control`);
  await tryOut(page, LIST);
  assert.equal(await execute(page, LIST), '200');
  const { items } = JSON.parse((await page.textContent(`${LIST} .live-responses-table .highlight-code pre`)) ?? '');
  assert.equal(items.length, 2);
  assert.deepEqual(complaints, []);
});

test('without it the key is asked for, and kept for the next visit', { skip }, async (t) => {
  const service = await startService(t, temporaryDirectory(t), {
    dev: false,
    env: { HOLDOVER_TENANTS: 'acme:key-of-acme' },
  });
  const { page } = await openPage(t);
  await page.goto(`${service.url}/docs/`);
  await page.waitForSelector('.authorize.unlocked');
  await page.click(HOSTS);
  await tryOut(page, LIST);
  assert.equal(await execute(page, LIST), '401');
  await page.click('.btn.authorize');
  await page.fill('.modal-ux input', 'key-of-acme');
  await page.click('.modal-btn.authorize');
  await page.reload();
  await page.waitForSelector('.authorize.locked');
  // The address names the operation that was opened last, which is open again.
  await page.click(`${LIST} .try-out__btn`);
  assert.equal(await execute(page, LIST), '200');
});

test('a link to an operation opens it', { skip }, async (t) => {
  const { url } = await startService(t, temporaryDirectory(t));
  for (const colorScheme of SCHEMES) {
    const { page, complaints } = await openPage(t, { colorScheme });
    await page.goto(`${url}/docs#/Devices/bindDriver`);
    await page.waitForSelector('#operations-Devices-bindDriver .try-out__btn');
    // Of a list that is longer it has what is on the screen, and on a slow computer not what a link leads to.
    assert.equal(await page.locator('.operations-virtual').count(), 0);
    await check(page);
    assert.deepEqual(complaints, []);
  }
});
