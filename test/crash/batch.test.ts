/** The death of the service while batches run: of one in JSON all is there or nothing, of lines what was acknowledged. */
import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import type { IoasView, MappingView } from '../../src/host/views.ts';
import { batch, LINES, type Target, urlOf } from '../support/batch.ts';
import { D1 } from '../support/client.ts';
import { MortalApp } from '../support/mortal-app.ts';

const VA = 0x7f00_0000_0000;
const IOVA = 0x1_0000_0000;
const PAGE = 4096;

async function target(app: MortalApp): Promise<Target> {
  const host = await app.host();
  const process = await host.process();
  const iommufd = await process.open('/dev/iommu');
  const cdev = await process.openCdev(D1);
  await process.bind(cdev, iommufd);
  const ioas = await process.allocIoas(iommufd);
  await process.attach(cdev, ioas);
  await process.mmap(VA, 0x1000_0000);
  return { app, process, iommufd, ioas };
}

async function ioasOf({ process: { host, pid }, iommufd, ioas }: Target): Promise<IoasView> {
  return (await host.request('get', `/processes/${pid}/iommufds/${iommufd}/ioases/${ioas}`)) as IoasView;
}

const areas = async (target: Target): Promise<number> => (await ioasOf(target)).areas;

test('of a batch that was cut off by a kill all is there or nothing, and what was answered is there', async (t) => {
  const app = new MortalApp(t);
  await app.start();
  const on = await target(app);
  const count = 40_000;
  const round = { length: PAGE, count, stride: PAGE, userVa: VA, userVaStride: 0 };
  let expected = 0;
  let cut = 0;
  for (let turn = 0; turn < 4; turn++) {
    const iova = IOVA + turn * count * PAGE;
    // Half of them unmapped again, so that a half-done batch would show.
    const runs = [
      { op: 'map', iova, ...round },
      { op: 'unmap', iova, length: PAGE, count: count / 2, stride: 2 * PAGE },
    ];
    const answer = batch(on, { runs }).then(
      () => true,
      () => false,
    );
    await setTimeout(5 + turn * 18);
    await app.service.stop('SIGKILL');
    const answered = await answer;
    await app.start();
    const found = await areas(on);
    assert.ok(found === expected || found === expected + count / 2, `${found} areas, there were ${expected}`);
    if (answered) assert.equal(found, expected + count / 2);
    else cut++;
    expected = found;
  }
  assert.ok(cut > 0, 'some were cut off');
  const { applied } = await batch(on, { operations: [{ op: 'unmap', iova: 0, length: '0xffffffffffffffff' }] });
  assert.deepEqual([applied, await areas(on)], [1, 0]);
});

test('of lines that were cut off by a kill all that was acknowledged is there, and nothing half', async (t) => {
  const app = new MortalApp(t);
  await app.start();
  const on = await target(app);
  const headers = { authorization: `Bearer ${app.key}`, 'content-type': LINES };
  const sending = httpRequest(urlOf(on), { method: 'POST', headers });
  sending.on('error', () => {});
  let text = '';
  const begun = Promise.withResolvers<void>();
  sending.on('response', (answer) => {
    answer.on('error', () => {});
    answer.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      begun.resolve();
    });
  });
  const lines = (from: number): string =>
    Array.from({ length: 10_000 }, (_, index) => {
      const iova = IOVA + (from + index) * PAGE;
      return `{"op":"map","iova":${iova},"length":${PAGE},"userVa":${VA}}\n`;
    }).join('');
  let sent = 0;
  for (let turn = 0; turn < 12; turn++, sent += 10_000) sending.write(lines(sent));
  await begun.promise;
  await app.service.stop('SIGKILL');
  sending.destroy();
  await app.start();

  const acknowledged = text
    .split('\n')
    .slice(0, -1)
    .map((line) => (JSON.parse(line) as { acknowledged: number }).acknowledged);
  const found = await areas(on);
  assert.ok(acknowledged.length > 0 && found >= acknowledged.at(-1)!, `${found} areas, acknowledged ${acknowledged}`);
  assert.ok(found <= sent);
  // Whatever is there is a beginning of what was sent.
  const { host, pid } = on.process;
  const last = IOVA + (found - 2) * PAGE;
  const path = `/processes/${pid}/iommufds/${on.iommufd}/ioases/${on.ioas}/mappings?after=0x${last.toString(16)}`;
  const { items } = (await host.request('get', path)) as { items: MappingView[] };
  assert.deepEqual(
    items.map(({ iova }) => Number(iova)),
    [IOVA + (found - 1) * PAGE],
  );
});
