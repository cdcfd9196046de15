/** The page of a report: it needs nothing but itself, tells what the picture shows in words, and shows text as text. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { page, type ReportOn } from '../../src/timeline/page.ts';
import { useApp } from '../support/app.ts';
import { D1, type Host } from '../support/client.ts';
import { adopt, IOVA, RAM, setUpVmm } from '../support/setups.ts';
import { toldOf } from './told.ts';

const app = useApp();

async function reportOn(host: Host): Promise<ReportOn> {
  const { items } = (await app.agent.get('/v1/hazards').set('authorization', `Bearer ${app.key}`)).body;
  const view = (await host.view()) as ReportOn['host'];
  return { ...(await toldOf(host)), host: view, hazards: items, version: '1.2.3' };
}

/** The names of all elements, each of which is ended where it has to be. */
function elementsOf(html: string): Set<string> {
  const open: string[] = [];
  const names = new Set<string>();
  for (const [, end, name, empty] of html.matchAll(/<(\/?)([a-zA-Z][\w-]*)(?:"[^"]*"|[^>"])*?(\/?)>/g)) {
    names.add(name!);
    if (end === '/') assert.equal(open.pop(), name);
    else if (empty !== '/' && name !== 'meta') open.push(name!);
  }
  assert.deepEqual(open, []);
  return names;
}

const textOf = (html: string): string => html.replaceAll(/<[^>]*>/g, ' ').replaceAll(/\s+/g, ' ');

test('a page tells of hazards with what to do, of engines, of kernels and of all events, and needs nothing else', async () => {
  const { host } = await setUpVmm(app);
  await host.startEngine(D1, IOVA, RAM);
  await host.kexec();
  const report = await reportOn(host);
  const html = page(report);
  const names = elementsOf(html);
  for (const forbidden of ['script', 'link', 'img', 'iframe']) assert.ok(!names.has(forbidden), forbidden);
  assert.doesNotMatch(html, /https?:|url\((?!#)/, 'nothing is loaded');
  const text = textOf(html);
  const advice = report.hazards.find(({ hazard }) => hazard === 'device-left-behind')!.advice;
  assert.ok(text.includes(advice.slice(0, 60)));
  assert.match(text, /1 hazard · 1 of 1 engine with broken DMA/);
  assert.match(text, /0 of 16384 pages without a break/);
  for (const { id } of report.events) assert.ok(html.includes(`id="event-${id}"`), id);
  const ids = new Set([...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id));
  for (const [, to] of html.matchAll(/href="#([^"]+)"/g)) assert.ok(ids.has(to!), `a link leads to ${to}`);
});

test('the picture has a text instead of it, its marks tell themselves, and a table says the same in words', async () => {
  const { host } = await adopt(app);
  const html = page(await reportOn(host));
  assert.match(
    html,
    /<svg class="timeline" [^>]*role="group" aria-label="Timeline of [^"]*: 2 kernels, 5 devices, 1 session\./,
  );
  assert.match(
    html,
    /<title>0000:01:00\.0, kernel 2, from 1\.0\d+ s on: L, luo mode: on the domain of the kernel before<\/title>/,
  );
  assert.match(html, /<text class="strong on-A"[^>]*>A<\/text>/);
  const words = textOf(html.slice(html.indexOf('<caption>'), html.indexOf('</details>')));
  assert.match(words, /0000:01:00\.0 .*N, a program has it .*L, luo mode.* A, adopted/);
  assert.match(words, /session vm1 \d+ µs: it is made/);
});

test('names that hold markup are text', async () => {
  const host = await app.host({ name: '<img src=x onerror=alert(1)>"\'&' });
  const report = await reportOn(host);
  const names = report.devices.map((device) => ({ ...device, name: '"><script>alert(1)</script>' }));
  const html = page({ ...report, devices: names });
  const elements = elementsOf(html);
  assert.ok(!elements.has('img') && !elements.has('script'));
  assert.ok(html.includes('<h1>&lt;img src=x onerror=alert(1)&gt;&quot;&apos;&amp;</h1>'));
});

test('of very many events the newest are shown, and the page says so', async () => {
  const host = await app.host();
  const report = await reportOn(host);
  const first = report.events[0]!;
  const more = Array.from({ length: 10_000 }, (_, index) => {
    const sequence = index + 1;
    const data = { bdf: D1, reason: 'not-mapped', op: 'read', iova: '0x1000' };
    return {
      ...first,
      id: `${sequence}-0`,
      sequence,
      time: `${sequence}000`,
      kind: 'dma.fault',
      severity: 'warning',
      data,
    } as const;
  });
  const html = page({ ...report, events: [...report.events, ...more] });
  assert.match(html, /The picture shows the newest 400 of 10001 steps\./);
  assert.match(html, /The newest 2000 of 10006 events/);
  assert.ok(html.length < 2_000_000, `${html.length} bytes`);
  elementsOf(html);
});
