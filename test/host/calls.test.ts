/** Calls that are done in several steps are the command that they are in one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineVmm } from '../../bench/engine.ts';
import { IOVA, MEMORY, PAGE } from '../../bench/vmm.ts';
import { Calls } from '../../src/host/calls.ts';
import type { CallInput, CallsCommand, Execution } from '../../src/host/command.ts';
import { digestOf } from '../../src/lanes/state-digest.ts';
import { inStepsOf } from '../support/steps.ts';

const PAGES = 64;

/** With calls that are refused, one that emits events, and one that closes what those behind it need. */
function calls({ fd, ioas }: EngineVmm): CallInput[] {
  const range = (page: number) => ({ ioas_id: ioas, iova: IOVA + page * PAGE, length: PAGE });
  const map = (page: number): CallInput => ({
    call: 'ioctl',
    fd,
    request: 'IOMMU_IOAS_MAP',
    arg: { ...range(page), flags: 7, user_va: MEMORY },
  });
  const unmap = (page: number): CallInput => ({ call: 'ioctl', fd, request: 'IOMMU_IOAS_UNMAP', arg: range(page) });
  const pages = Array.from({ length: PAGES }, (_, page) => page);
  return [...pages.map(map), map(0), unmap(1), unmap(1), { call: 'close', fd }, map(2)];
}

/** Step by step, each of so many calls. */
function inSteps({ host }: EngineVmm, command: CallsCommand, size: number): Execution {
  const run = new Calls(host, command);
  const { execution, steps } = inStepsOf(size, run);
  assert.equal(steps, Math.ceil((execution.answer as { value: { results: unknown[] } }).value.results.length / size));
  return execution;
}

for (const stopOnError of [false, true])
  test(`results, events, the clock and the host do not depend on the steps, ${stopOnError ? '' : 'not '}stopping at a refusal`, () => {
    const whole = new EngineVmm({ pages: PAGES, attached: true });
    const command: CallsCommand = { op: 'calls', pid: whole.pid, calls: calls(whole), stopOnError };
    const execution = whole.host.execute(command);
    for (const size of [1, 7, 1000]) {
      const vmm = new EngineVmm({ pages: PAGES, attached: true });
      assert.deepEqual(inSteps(vmm, command, size), execution);
      assert.equal(vmm.host.machine.clock, whole.host.machine.clock);
      assert.equal(digestOf(vmm.host), digestOf(whole.host));
    }
  });

test('calls of a process that is not there take no time, and those of a host without a kernel are refused', () => {
  const { host } = new EngineVmm({ pages: PAGES, attached: false });
  const { clock } = host.machine;
  const command: CallsCommand = { op: 'calls', pid: 99, calls: [] };
  const step = () => new Calls(host, command).step(() => false)!.answer;
  assert.deepEqual(step(), { kind: 'not-found', what: 'process 99' });
  assert.equal(host.machine.clock, clock);
  host.execute({ op: 'kexec.freeze', mode: 'plain', image: 'loaded' });
  assert.deepEqual(step(), host.withoutKernel());
});
