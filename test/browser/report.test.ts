/** The report on a host, as a job keeps it, in a browser. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1 } from '../support/client.ts';
import { IOVA, RAM, setUpVmm } from '../support/setups.ts';
import { check, noBrowser, openPage, SCHEMES } from './browser.ts';
import { hostUrl, openConsole } from './console.ts';

const app = useApp();

test('the console gives a report that stands alone, and keeps nobody out', { skip: noBrowser }, async (t) => {
  const { host } = await setUpVmm(app);
  await host.startEngine(D1, IOVA, RAM);
  await host.kexec();
  const { page } = await openConsole(t, app);
  await page.goto(hostUrl(app.url, host.id));
  await page.locator('.scroller .hazard').first().waitFor();
  const coming = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Report' }).click();
  const download = await coming;
  assert.equal(download.suggestedFilename(), `${host.id}.html`);
  const html = readFileSync(await download.path(), 'utf8');
  for (const colorScheme of SCHEMES) {
    const { page: report, complaints } = await openPage(t, { colorScheme, viewport: { width: 390, height: 800 } });
    const asked: string[] = [];
    report.on('request', (request) => asked.push(request.url()));
    await report.setContent(html);
    await report.getByRole('heading', { name: 'device-left-behind' }).waitFor();
    await check(report);
    assert.deepEqual([complaints, asked], [[], []]);
  }
});
