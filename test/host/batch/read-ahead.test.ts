/** Operations far from one another in a large IOAS are looked up together before they are done, and nobody can tell. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineVmm } from '../../../bench/engine.ts';
import { IOVA, MEMORY, PAGE } from '../../../bench/vmm.ts';
import { AT_ONCE } from '../../../src/host/batch/read-ahead.ts';
import { IoPagetable } from '../../../src/kernel/iommufd/io-pagetable/io-pagetable.ts';
import { digestOf } from '../../../src/lanes/state-digest.ts';
import { type Operation, perform } from './performing.ts';

const LARGE = 70_000;
const SMALL = 1000;
const OPERATIONS = 1000;

/** Has so many areas of a page, with a page between them. */
function vmmWith(areas: number): EngineVmm {
  const vmm = new EngineVmm({ pages: areas + OPERATIONS, attached: true });
  vmm.mapPages(areas, 2);
  return vmm;
}

/** Maps of pages between areas, each so many areas behind the one before, and round again; every other one is an unmap of an area. */
function operations(areas: number, step: number): Operation[] {
  return Array.from({ length: OPERATIONS }, (_, index) => {
    const place = (index * step) % areas;
    const isMap = index % 2 === 0;
    const iova = IOVA + (2 * place + Number(isMap)) * PAGE;
    return { op: isMap ? 'map' : 'unmap', iova, length: PAGE, userVa: MEMORY + (areas + index) * PAGE };
  });
}

test('what is looked up before changes nothing', (t) => {
  const all = operations(LARGE, 7919);
  // The last one is refused.
  all.push(all[0]!);
  const [vmm, other] = [vmmWith(LARGE), vmmWith(LARGE)];
  const before = digestOf(vmm.host);
  const prefetch = t.mock.method(IoPagetable.prototype, 'prefetch');
  const { answer } = perform(vmm, all, { results: true });
  assert.equal(prefetch.mock.callCount(), Math.ceil(all.length / AT_ONCE));
  prefetch.mock.mockImplementation(() => 0);
  assert.deepEqual(answer, perform(other, all, { results: true }).answer);
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
