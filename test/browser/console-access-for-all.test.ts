/** Each page of the console is for everybody: axe finds nothing, in both schemes, on narrow and on wide windows. */
import { test } from 'node:test';
import type { Page } from 'playwright-core';
import { useApp } from '../support/app.ts';
import { D1 } from '../support/client.ts';
import { adopt, IOVA, RAM, setUpVmm } from '../support/setups.ts';
import { check, LOOKS, noBrowser, openPage } from './browser.ts';
import { becomes, hostUrl, signIn } from './console.ts';

const app = useApp();

const TABS = ['timeline', 'devices', 'memory', 'processes', 'sessions', 'faults', 'events', 'preflight', 'guide'];

const OPEN_ALL = `for (const one of document.querySelectorAll('main details')) one.open = true`;
const isRead = (page: Page): Promise<void> => becomes(page, () => page.getByText('Reading').count(), 0);

for (const look of LOOKS)
  test(`no page keeps anybody out: ${look.colorScheme}, ${look.viewport.width} px`, { skip: noBrowser }, async (t) => {
    // With all that can be shown: a device that is adopted, one that was left behind, hazards, engines, faults.
    const q = await adopt(app);
    await q.host.startEngine(D1, IOVA, RAM);
    await q.host.armFault('memfd.freeze');
    const { host: lost } = await setUpVmm(app);
    await lost.startEngine(D1, IOVA, RAM);
    await lost.kexec();
    const { page } = await openPage(t, look);
    await page.goto(`${app.url}/console`);
    await check(page);
    await signIn(page, app.url, app.key);
    await page.getByRole('link', { name: lost.id }).waitFor();
    await check(page);
    for (const tab of TABS) {
      await page.goto(hostUrl(app.url, q.host.id, tab));
      await page.getByText('live', { exact: true }).waitFor();
      await isRead(page);
      await page.evaluate(OPEN_ALL);
      await isRead(page);
      await check(page);
    }
    await page.goto(hostUrl(app.url, lost.id));
    await page.locator('.scroller .hazard').first().waitFor();
    await check(page);
    await page.goto(`${hostUrl(app.url, lost.id, 'devices')}?at=0`);
    await page.getByText('The views show the host as it was').waitFor();
    await check(page);
  });
