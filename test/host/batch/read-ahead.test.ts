/** Operations far from one another in a large IOAS are looked up together before they are done, and nobody can tell. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineVmm } from '../../../bench/engine.ts';
import { hex, IOVA, MEMORY, PAGE } from '../../../bench/vmm.ts';
import { Batch } from '../../../src/host/batch/batch.ts';
import { AT_ONCE } from '../../../src/host/batch/read-ahead.ts';
import { IoPagetable } from '../../../src/kernel/iommufd/io-pagetable/io-pagetable.ts';
import { digestOf } from '../../../src/lanes/state-digest.ts';

const LARGE = 70_000;
const SMALL = 1000;
const OPERATIONS = 1000;

/** Has so many areas of a page, with a page between them. */
function vmmWith(areas: number): EngineVmm {
  const vmm = new EngineVmm({ pages: areas + OPERATIONS, attached: true });
  vmm.mapPages(areas, 2);
  return vmm;
}

type Operation =
  | { op: 'map'; iova: string; length: string; userVa: string }
  | { op: 'unmap'; iova: string; length: string };

/** Maps of pages between areas, each so many of them behind the one before, and round again; then unmaps of areas. */
function operations(areas: number, step: number): Operation[] {
  return Array.from({ length: OPERATIONS }, (_, index): Operation => {
    const place = (index * step) % areas;
    const length = hex(PAGE);
    if (index % 2 === 1) return { op: 'unmap', iova: hex(IOVA + 2 * place * PAGE), length };
    return {
      op: 'map',
      iova: hex(IOVA + (2 * place + 1) * PAGE),
      length,
      userVa: hex(MEMORY + (areas + index) * PAGE),
    };
  });
}

function perform({ host, pid, fd, ioas }: EngineVmm, all: readonly Operation[]): unknown {
  const payload = new TextEncoder().encode(JSON.stringify({ results: true, operations: all }));
  const batch = new Batch(host, { op: 'batch', pid, fd, ioas, format: 'json' }, payload);
  while (!batch.step(OPERATIONS));
  return batch.outcome!.answer;
}

test('what is looked up before changes nothing', (t) => {
  const all = operations(LARGE, 7919);
  // The last one is refused.
  all.push(all[0]!);
  const [vmm, other] = [vmmWith(LARGE), vmmWith(LARGE)];
  const before = digestOf(vmm.host);
  const prefetch = t.mock.method(IoPagetable.prototype, 'prefetch');
  const answer = perform(vmm, all);
  assert.equal(prefetch.mock.callCount(), Math.ceil(all.length / AT_ONCE));
  prefetch.mock.mockImplementation(() => 0);
  assert.deepEqual(answer, perform(other, all));
  assert.equal((answer as { value: { applied: number } }).value.applied, OPERATIONS);
  assert.notEqual(digestOf(vmm.host), before);
  assert.equal(digestOf(vmm.host), digestOf(other.host));
});

test('nothing is looked up before where it would not pay: among few areas, and in order', (t) => {
  const prefetch = t.mock.method(IoPagetable.prototype, 'prefetch');
  perform(vmmWith(SMALL), operations(SMALL, 79));
  perform(vmmWith(LARGE), operations(LARGE, 1));
  assert.equal(prefetch.mock.callCount(), 0);
});
