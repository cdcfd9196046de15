/** A part of a picture is drawn as it is in the whole one, at any size. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Columns } from '../../src/timeline/columns.ts';
import { drawing, Rows, type Window } from '../../src/timeline/picture.ts';
import { useApp } from '../support/app.ts';
import { D1 } from '../support/client.ts';
import { adopt, buildSuccessor, IOVA, RAM, setUpVmm } from '../support/setups.ts';
import { timelineOfHost } from './told.ts';

const app = useApp();

/** What the shapes of a picture tell of themselves; names in the margin go along with what is seen. */
const titlesIn = (svg: string): string[] => [...new Set(svg.match(/(?<=<title>)[^<]*/g))].sort();

test('all parts together tell what the whole tells, and a part little else', async () => {
  const q = await adopt(app);
  await q.host.startEngine(D1, IOVA, RAM);
  const { hwpt } = await buildSuccessor(q, 4096);
  await q.vmm.attach(q.cdev, hwpt);
  await q.host.dmaFaults(D1, IOVA + 4096);
  await q.host.kexec();
  const timeline = await timelineOfHost(q.host);
  for (const step of [4, 11, 46, 120]) {
    const columns = new Columns(timeline, { step, most: Infinity });
    const rows = new Rows(timeline, timeline.devices, columns);
    const whole = drawing(columns, rows, { about: '' });
    const size = 150;
    const parts: string[] = [];
    for (let x = 0; x < columns.width; x += size)
      for (let y = 0; y < rows.height; y += size) {
        const window: Window = { left: x, right: x + size, top: y, bottom: y + size, x, y };
        const part = drawing(columns, rows, { about: '', window });
        if (columns.width > 4 * size) assert.ok(part.length < whole.length * 0.8, `${x}, ${y} at ${step}`);
        parts.push(part);
      }
    assert.deepEqual(titlesIn(parts.join('')), titlesIn(whole));
  }
});

test('a place in the picture is that of the step that is drawn there', async () => {
  const { host, vmm } = await setUpVmm(app);
  await host.kexec();
  assert.ok(vmm.pid > 0);
  const timeline = await timelineOfHost(host);
  const columns = new Columns(timeline, { step: 30, most: Infinity });
  for (const index of timeline.steps.keys()) {
    const x = columns.x(index);
    for (const inside of [x, x + 15, x + 29]) assert.equal(columns.stepAt(inside), index);
    assert.deepEqual(
      [...columns.steps(x + 1, x + 2)].map((one) => one.index),
      [index],
    );
  }
  assert.equal(columns.stepAt(-100), 0);
});
