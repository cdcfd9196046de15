/** The console in a browser, and what its timeline shows, as a reader of the page finds it. */
import assert from 'node:assert/strict';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import type { BrowserContextOptions, Page } from 'playwright-core';
import { type Ending, type OpenPage, openPage } from './browser.ts';

/** Signs in as who types the key would, and waits for the hosts. */
export async function signIn(page: Page, url: string, key: string): Promise<void> {
  await page.goto(`${url}/console`);
  await page.getByLabel('Key of a tenant').fill(key);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Hosts' }).waitFor();
}

/** A page of the console that is signed in. */
export async function openConsole(
  t: Ending,
  { url, key }: { url: string; key: string },
  options: BrowserContextOptions = {},
): Promise<OpenPage> {
  const opened = await openPage(t, { viewport: { width: 1400, height: 1000 }, ...options });
  await signIn(opened.page, url, key);
  return opened;
}

export const hostUrl = (url: string, host: string, tab = 'timeline'): string => `${url}/console#/hosts/${host}/${tab}`;

/** What the timeline shows of a function, and of the host. */
export interface Shown {
  /** A kernel each: `kernel 1: booted cold`. */
  kernels: string[];
  /** Kernel and letter of each stretch, and what is now: `1N 1N 2L, now L`. */
  states: string;
  hazards: string[];
  faults: number;
  gaps: number;
  sessions: string[];
}

const titles = (page: Page, of: string): Promise<string[]> =>
  page.locator(`.scroller ${of} > title`).allTextContents() as Promise<string[]>;

export async function shownOf(page: Page, bdf: string): Promise<Shown> {
  const [kernels, stretches, hazards, gaps, sessions] = await Promise.all([
    titles(page, 'g:has(> .kernel)'),
    titles(page, 'g:has(> .state)'),
    titles(page, 'a:has(> .hazard)'),
    titles(page, 'g:has(> .gap)'),
    titles(page, 'g:has(> .bracket)'),
  ]);
  const own = stretches.filter((title) => title.startsWith(`${bdf}, `));
  const states = own.map((title) => title.replace(/^.*?, (?:kernel (\d+), from .*? on|now): (.), .*$/, '$1$2'));
  const now = states.pop();
  return {
    kernels,
    states: `${states.join(' ')}, now ${now}`,
    hazards: hazards.map((title) => title.split(':', 1)[0]!),
    faults: await page.locator('.scroller a:has(> .fault)').count(),
    gaps: gaps.length,
    sessions,
  };
}

/** How long a page may take to show what has happened, in milliseconds. */
const PATIENCE = 10_000;

/** Waits, frame by frame, until the page shows it. */
export async function becomes<Value>(page: Page, read: () => Promise<Value>, expected: Value): Promise<void> {
  const end = performance.now() + PATIENCE;
  for (;;) {
    const value = await read();
    if (isDeepStrictEqual(value, expected)) return;
    if (performance.now() > end) assert.deepEqual(value, expected);
    await page.evaluate('new Promise(requestAnimationFrame)');
  }
}

/** A wire between browser and service that can be cut, and mended. */
export class Wire {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isCut = false;
  url = '';

  private constructor(to: string) {
    const { hostname, port } = new URL(to);
    this.#server = createServer((near) => {
      if (this.#isCut) return void near.destroy();
      const far = connect(Number(port), hostname);
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => {
          this.#sockets.delete(socket);
          near.destroy();
          far.destroy();
        });
      }
      near.pipe(far).pipe(near);
    });
  }

  static async to(t: Ending, url: string): Promise<Wire> {
    const wire = new Wire(url);
    await new Promise<void>((listening) => wire.#server.listen(0, '127.0.0.1', listening));
    wire.url = `http://127.0.0.1:${(wire.#server.address() as { port: number }).port}`;
    t.after(() => {
      wire.cut();
      wire.#server.close();
    });
    return wire;
  }

  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#isCut = false;
  }
}
