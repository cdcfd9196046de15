/** The console in a browser, with a host of 300 functions and 10,000 events: how soon it shows, and whether it stays fluid. */
import type { Page } from 'playwright-core';
import { noBrowser, openPage } from '../test/browser/browser.ts';
import { signIn } from '../test/browser/console.ts';
import { type Client, Connection, encodeRequest } from './client.ts';
import { type Benchmark, median, progress, quantile, repeat, round } from './harness.ts';
import { KEY, type Service, withService } from './service.ts';

const FUNCTIONS = 300;
const EVENTS = 10_000;
const RUNS = 5;
/** How long frames are counted, in milliseconds. */
const WATCHED = 5000;

const bdfOf = (index: number): string => `0000:${(1 + (index >> 3)).toString(16).padStart(2, '0')}:00.${index & 7}`;

/** A command with an event: a read that is refused. */
const fault = (host: string, index: number): Buffer =>
  encodeRequest(
    'POST',
    `/v1/hosts/${host}/devices/${bdfOf(index % FUNCTIONS)}/dma`,
    KEY,
    Buffer.from(JSON.stringify({ accesses: [{ op: 'read', iova: '0x1000', length: 4 }] })),
  );

async function hostOf(client: Client, port: number): Promise<string> {
  const devices = Array.from({ length: FUNCTIONS }, (_, index) => ({ bdf: bdfOf(index), name: `function ${index}` }));
  const { id } = await client.request<{ id: string }>('POST', '/v1/hosts', { devices });
  const connection = await Connection.open(port);
  for (let told = 0; told < EVENTS; told++) await connection.send(fault(id, told * 7));
  connection.close();
  return id;
}

/** Between frames, in milliseconds, for as long as they are counted. */
const framesOf = (page: Page): Promise<number[]> =>
  page.evaluate(`new Promise((done) => {
    const begin = performance.now();
    const gaps = [];
    let last = begin;
    const next = (now) => {
      gaps.push(now - last);
      last = now;
      if (now - begin < ${WATCHED}) requestAnimationFrame(next);
      else done(gaps);
    };
    requestAnimationFrame(next);
  })`);

const paintOf = (page: Page): Promise<number> =>
  page.evaluate(`new Promise((done) => {
    const seen = (entries) => entries.find(({ name }) => name === 'first-contentful-paint');
    new PerformanceObserver((list) => seen(list.getEntries()) && done(seen(list.getEntries()).startTime)).observe({ type: 'paint', buffered: true });
  })`);

const perSecond = (gaps: readonly number[]): number => gaps.length / (gaps.reduce((sum, gap) => sum + gap, 0) / 1000);

async function measure(service: Service, client: Client) {
  const ends: (() => unknown)[] = [];
  const { page } = await openPage({ after: (end) => ends.push(end) });
  const base = `http://127.0.0.1:${service.port}`;
  const id = await hostOf(client, service.port);
  try {
    await signIn(page, base, KEY);
    const floors = await repeat(RUNS, 1, async () => {
      await page.goto(`${base}/livez`);
      return await paintOf(page);
    });
    await page.goto(`${base}/console#/hosts/${id}/timeline`);
    const first = await repeat(RUNS, 1, async () => {
      await page.reload();
      const paint = await paintOf(page);
      await page.getByText('live', { exact: true }).waitFor();
      return { paint, whole: (await page.evaluate('performance.now()')) as number };
    });
    const idle = perSecond(await framesOf(page));
    const until = { stop: false };
    let sent = 0;
    const sending = (async () => {
      const connection = await Connection.open(service.port);
      // As fast as an agent that waits for each answer, and thinks for some milliseconds.
      while (!until.stop) {
        await connection.send(fault(id, sent++));
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      connection.close();
    })();
    const gaps = await framesOf(page);
    until.stop = true;
    await sending;
    return { floor: median(floors), first, idle, gaps, sent };
  } finally {
    for (const end of ends) await end();
  }
}

async function run() {
  if (noBrowser !== false) {
    progress(`  not measured: ${noBrowser}`);
    return [];
  }
  return withService({}, async (service, client) => {
    const { floor, first, idle, gaps, sent } = await measure(service, client);
    const paint = median(first.map((one) => one.paint)) / 1000;
    const frames = perSecond(gaps);
    const whole = median(first.map((one) => one.whole)) / 1000;
    return [
      {
        figure: 'first paint',
        value: paint,
        unit: 's',
        floor: floor / 1000,
        ratio: paint / (floor / 1000),
        goal: '≤ 1 s',
        met: paint <= 1,
        note: `floor: /livez in the same browser; ${FUNCTIONS} functions, ${EVENTS} events, all of which are read and drawn after ${round(whole)} s`,
      },
      {
        figure: 'while events come in',
        value: frames,
        unit: 'frames/s',
        floor: idle,
        ratio: frames / idle,
        goal: '≥ 30 frames/s',
        met: frames >= 30,
        note: `floor: nothing happens; ${round(sent / (WATCHED / 1000))} events/s; between two frames p95 ${round(quantile(gaps, 0.95))} ms, at the most ${round(Math.max(...gaps))} ms`,
      },
    ];
  });
}

export const CONSOLE: readonly Benchmark[] = [
  { name: 'console', about: 'a host of very many events in a browser', run },
];
