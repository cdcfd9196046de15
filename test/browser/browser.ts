/** Chromium for tests of pages, and what holds for each page. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import axe from 'axe-core';
import { type BrowserContextOptions, chromium, type Page } from 'playwright-core';

const PROGRAMS = ['/usr/bin/chromium', '/usr/bin/chromium-browser'];
const executablePath = PROGRAMS.find((path) => existsSync(path));

/** For `skip` of tests: why there is no browser, or false. */
export const noBrowser =
  executablePath === undefined && `there is no browser: neither ${PROGRAMS.join(' nor ')} (Debian: chromium)`;

/** It asks nobody for anything but the pages that it is shown. */
const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export const SCHEMES = ['light', 'dark'] as const;

/** How pages are looked at: in each scheme, on a wide and on a narrow screen. */
export const LOOKS = SCHEMES.flatMap((colorScheme) => [
  { colorScheme, viewport: { width: 1400, height: 1000 } },
  { colorScheme, viewport: { width: 390, height: 844 } },
]);

export interface OpenPage {
  page: Page;
  /** What the page's scripts have thrown, and the browser has complained of, such as what its policy forbids. */
  complaints: string[];
}

/** A test, or whatever else ends: what it is given is done then. */
export interface Ending {
  after(end: () => unknown): void;
}

/** A new page in a browser of its own, which ends with the test. */
export async function openPage(t: Ending, options: BrowserContextOptions = {}): Promise<OpenPage> {
  const browser = await chromium.launch({ executablePath: executablePath!, args: ARGS });
  t.after(() => browser.close());
  const page = await (await browser.newContext(options)).newPage();
  // The pages of /docs take half a minute on a slow machine that does other things, too.
  page.setDefaultTimeout(90_000);
  const complaints: string[] = [];
  page.on('pageerror', ({ message }) => complaints.push(message));
  page.on('console', (said) => {
    if (said.type() === 'error') complaints.push(said.text());
  });
  return { page, complaints };
}

/** Until what moves has come to rest: a colour that is about to become another one is neither. */
const STILL = `Promise.allSettled(document.getAnimations()
  .filter(({ effect }) => Number.isFinite(effect.getComputedTiming().endTime)).map(({ finished }) => finished)).then(() => null)`;

/** Fails where axe finds what keeps people from using the page, or where the page is wider than the window. */
export async function check(page: Page): Promise<void> {
  if (!(await page.evaluate<boolean>("'axe' in window"))) await page.evaluate(axe.source);
  await page.evaluate(STILL);
  // Whatever else it could tell of each element takes as long again.
  const { violations } = await page.evaluate<axe.AxeResults>("axe.run({ resultTypes: ['violations'] })");
  const found = violations.flatMap(({ id, help, nodes }) =>
    nodes.map(({ html, target }) => `${id}: ${help}\n  ${target.join(' ')}\n  ${html}`),
  );
  assert.equal(found.length, 0, `${page.url()}\n${found.slice(0, 20).join('\n')}\n(${found.length} in all)`);
  const beside = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth');
  assert.ok(beside <= 0, `${page.url()} is ${beside} px wider than the window`);
}
