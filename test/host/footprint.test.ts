import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineVmm } from '../../bench/engine.ts';
import { footprint, type HostUse } from '../../src/host/footprint.ts';

/** With the number of steps that it took. */
function measure(host: object): HostUse & { steps: number } {
  const measuring = footprint(host);
  for (let steps = 1; ; steps += 1) {
    const { done, value } = measuring.next();
    if (done) return { ...value, steps };
  }
}

test('a host takes some kilobytes, and some tens of bytes a mapping', () => {
  const PAGES = 100_000;
  const vmm = new EngineVmm({ pages: PAGES, attached: true });
  const empty = measure(vmm.host).memory;
  assert.ok(empty > 5_000 && empty < 50_000, `${empty} bytes`);
  vmm.mapPages(PAGES, 1);
  const { memory: bytes, mappings, descriptors } = measure(vmm.host);
  const each = (bytes - empty) / PAGES;
  assert.ok(each > 30 && each < 50, `${each} bytes a mapping`);
  // One is that of the memory of the process; it has the device, and the iommufd.
  assert.deepEqual([mappings, descriptors], [PAGES + 1, 2]);
});

test('what is shared with other hosts is not counted, what is there twice counts once, and much is looked at in steps', () => {
  const shared = Object.freeze({ text: 'x'.repeat(100_000) });
  const own = new Uint8Array(1 << 20);
  const { memory: bytes } = measure({ shared, own, again: own });
  assert.ok(bytes > 1 << 20 && bytes < (1 << 20) + 1000, `${bytes} bytes`);
  const many = measure({ many: Array.from({ length: 10_000 }, (_, index) => ({ index })) });
  assert.ok(many.steps > 2 && many.memory > 10_000 * 40, JSON.stringify(many));
});
