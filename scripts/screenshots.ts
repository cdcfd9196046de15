/** `npm run screenshots`: makes the pictures of README.md, of the console while it goes through the guided update. It needs Debian's Chromium. */
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';
import { startHoldover } from '../src/index.ts';
import { noBrowser, openPage, SCHEMES } from '../test/browser/browser.ts';
import { becomes, hostUrl, signIn } from '../test/browser/console.ts';

const FOLDER = fileURLToPath(new URL('../docs/images/', import.meta.url));
const SIZE = { width: 1100, height: 900 };

if (noBrowser !== false) throw new Error(noBrowser);
mkdirSync(FOLDER, { recursive: true });
const service = await startHoldover();
const ends: (() => unknown)[] = [];
try {
  for (const colorScheme of SCHEMES) {
    const { page } = await openPage(
      { after: (end) => ends.push(end) },
      {
        viewport: SIZE,
        colorScheme,
      },
    );
    await signIn(page, service.url, service.key);
    await picture(page, `live-update-${colorScheme}`, [11, 13, 20, 24, 33, 'All 41']);
    await picture(page, `left-behind-${colorScheme}`, [11, 13], 'Kexec without a session');
  }
} finally {
  for (const end of ends) await end();
  await service.close();
}

/** Goes through the guide on a host of its own, chapter by chapter, up to a mistake perhaps, and keeps what the timeline shows then. */
async function picture(
  page: Page,
  name: string,
  chapters: readonly (number | string)[],
  mistake?: string,
): Promise<void> {
  const headers = { authorization: `Bearer ${service.key}`, 'content-type': 'application/json' };
  const body = JSON.stringify({ preset: 'vmm-lab', name });
  const made = await fetch(`${service.url}/v1/hosts`, { method: 'POST', headers, body });
  const { id } = (await made.json()) as { id: string };
  await page.goto(hostUrl(service.url, id, 'guide'));
  const bar = page.getByRole('group', { name: 'Guide' });
  for (const done of chapters) {
    await bar.getByRole('button', { name: 'Run the chapter' }).click();
    await bar.getByText(`${done} steps`).waitFor();
  }
  if (mistake !== undefined) {
    await page.getByText(`A mistake to try here: ${mistake}`).click();
    await page.getByRole('button', { name: mistake }).click();
    await becomes(page, () => page.locator('.scroller .hazard').count(), 1);
  }
  await page.goto(hostUrl(service.url, id));
  // The timeline beside the guide has such a field, too.
  await page.getByRole('region', { name: 'View: Timeline' }).waitFor();
  await page.getByRole('searchbox', { name: 'Devices' }).fill('0000:01');
  await page.getByText('1 of 5 devices').waitFor();
  // The newest step is told under it; where the pointer is it would be another one.
  await page.mouse.move(0, 0);
  await page.getByText('live', { exact: true }).waitFor();
  await page
    .locator('.scroller svg')
    .first()
    .screenshot({ path: `${FOLDER}${name}.png` });
  process.stdout.write(`docs/images/${name}.png\n`);
}
