/** Accesses of a DMA that are done in several steps are the command that they are in one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineVmm } from '../../bench/engine.ts';
import { IOVA, PAGE } from '../../bench/vmm.ts';
import { Accesses } from '../../src/host/accesses.ts';
import type { DmaAccess, DmaCommand, DmaResult, Execution } from '../../src/host/command.ts';
import { makeHost } from '../../src/lanes/engine.ts';
import { digestOf } from '../../src/lanes/state-digest.ts';
import { inStepsOf } from '../support/steps.ts';

const PAGES = 16;

/** Writes, and reads of what was written, of nothing and of what is not mapped, which emits an event. */
const ACCESSES: DmaAccess[] = Array.from({ length: 4 * PAGES }, (_, index) => ({
  op: index % 3 === 0 ? 'write' : 'read',
  iova: `0x${(IOVA + (index >> 1) * PAGE).toString(16)}`,
  length: 100,
  ...(index % 3 === 0 && { data: Buffer.alloc(100, index + 1).toString('base64') }),
}));

/** With each of its pages mapped. */
function vmm(): EngineVmm {
  const made = new EngineVmm({ pages: PAGES, attached: true });
  made.mapPages(PAGES, 1);
  return made;
}

/** The function whose device file is vfio0. */
const bdfOf = ({ host }: EngineVmm): string => {
  for (const [bdf, { path }] of host.kernel!.vfio.devices) if (path === '/dev/vfio/devices/vfio0') return bdf;
  throw new Error('there is no vfio0');
};

/** Step by step, each of so many accesses. */
function inSteps({ host }: EngineVmm, command: DmaCommand, size: number): Execution {
  const run = new Accesses(host, command);
  const { execution, steps } = inStepsOf(size, run);
  assert.equal(steps, Math.ceil(command.accesses.length / size));
  assert.ok(run.answerSize > command.accesses.length * 100);
  return execution;
}

test('results, events, the clock and the host do not depend on the steps', () => {
  const whole = vmm();
  const command: DmaCommand = { op: 'device.dma', bdf: bdfOf(whole), accesses: ACCESSES };
  const execution = whole.host.execute(command);
  const { results } = (execution.answer as { value: { results: DmaResult[] } }).value;
  assert.ok(results.some(({ ok }) => ok) && results.some(({ ok }) => !ok));
  assert.equal(execution.events.length, results.filter(({ ok }) => !ok).length);
  for (const size of [1, 7, 1000]) {
    const other = vmm();
    assert.deepEqual(inSteps(other, command, size), execution);
    assert.equal(other.host.machine.clock, whole.host.machine.clock);
    assert.equal(digestOf(other.host), digestOf(whole.host));
  }
});

test('accesses of a device that is not there take no time, and hardware needs no kernel', () => {
  const made = vmm();
  const { host } = made;
  const { clock } = host.machine;
  const step = (bdf: string) => new Accesses(host, { op: 'device.dma', bdf, accesses: ACCESSES }).step(() => false)!;
  assert.deepEqual(step('0000:77:00.0').answer, { kind: 'not-found', what: 'device 0000:77:00.0' });
  assert.equal(host.machine.clock, clock);
  const bdf = bdfOf(made);
  host.execute({ op: 'kexec.freeze', mode: 'plain', image: 'loaded' });
  assert.equal(step(bdf).answer.kind, 'ok');
});

test('lanes work off several accesses in steps', () => {
  const made = vmm();
  const engine = makeHost(made.host.spec);
  const command: DmaCommand = { op: 'device.dma', bdf: bdfOf(made), accesses: ACCESSES };
  let steps = 1;
  for (const run = engine.begin!(command)!; run.step(() => true) === null; ) steps += 1;
  assert.equal(steps, ACCESSES.length);
});
