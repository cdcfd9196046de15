import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineVmm } from '../../../bench/engine.ts';
import { IOVA, MEMORY, PAGE } from '../../../bench/vmm.ts';
import type { HostQuery } from '../../../src/host/command.ts';
import { digesting, digestOf } from '../../../src/lanes/state-digest.ts';
import { hostOf, snapshotOf } from '../../support/snapshots.ts';

const D1 = '0000:01:00.0';
const PAGES = 4096;

/** A VMM with pages that are mapped one by one, or at large. */
function vmm({ large = false } = {}): EngineVmm {
  const made = new EngineVmm({ pages: PAGES, attached: true });
  if (large) {
    // Without large pages the tables are full of entries in a row, which are not kept one by one.
    const ioctl = (request: string, arg: Record<string, unknown>): unknown =>
      made.call({ call: 'ioctl', fd: made.fd, request, arg });
    ioctl('IOMMU_OPTION', { option_id: 1, op: 0, object_id: made.ioas, val64: 0 });
    const memory = { user_va: MEMORY, length: PAGES * PAGE };
    ioctl('IOMMU_IOAS_MAP', { flags: 7, ioas_id: made.ioas, iova: IOVA, ...memory });
  } else made.mapPages(PAGES / 2, 2);
  return made;
}

test('one entry of a page table, changed behind everybody’s back, changes it, and changed back it is what it was', () => {
  for (const large of [false, true]) {
    const { host } = vmm({ large });
    const before = digestOf(host);
    const { table } = [...host.kernel!.iommu.domains.values()][0]!;
    const frames = table.tables().flatMap(({ start, count }) => Array.from({ length: count }, (_, at) => start + at));
    assert.ok(frames.length > 4);
    for (const frame of frames) {
      const words = host.machine.memory.words(frame);
      assert.equal(digestOf(host), before, 'reading a table is not seen');
      words[7]! ^= 0x1000;
      assert.notEqual(digestOf(host), before, `frame ${frame}`);
      words[7]! ^= 0x1000;
      assert.equal(digestOf(host), before);
    }
  }
});

test('queries do not change it, nor does what they have found last', () => {
  const { host, pid, fd, ioas } = vmm({ large: true });
  const before = digestOf(host);
  const queries: HostQuery[] = [
    { view: 'host' },
    { view: 'device', bdf: D1 },
    { view: 'translation', bdf: D1, iova: '0x0', length: '0x1000000000' },
    { view: 'translation', bdf: D1, iova: `0x${IOVA.toString(16)}`, length: '0x1000' },
    { view: 'domains' },
    { view: 'memory', pid, address: '0x0', length: '0x7fffffffffff' },
    { view: 'ioas', pid, fd, ioas },
    { view: 'mappings', pid, fd, ioas, limit: 10 },
    { view: 'mappings', pid, fd, ioas, after: `0x${IOVA.toString(16)}`, limit: 10 },
  ];
  for (const query of queries) {
    assert.equal(host.query(query).kind, 'ok', JSON.stringify(query));
    assert.equal(digestOf(host), before, query.view);
  }
  const spec = JSON.parse(JSON.stringify(host.spec));
  Object.assign(host, { spec });
  assert.equal(digestOf(host), before, 'what went through JSON is the same');
});

test('every command changes it, a refused one, too: time goes on', () => {
  const { host } = vmm();
  const digests = [digestOf(host)];
  host.execute({ op: 'group.type', group: 0, type: 'nonsense' });
  digests.push(digestOf(host));
  host.execute({
    op: 'device.dma',
    bdf: D1,
    accesses: [{ op: 'write', iova: `0x${IOVA.toString(16)}`, length: 1, data: 'BA==' }],
  });
  digests.push(digestOf(host));
  assert.equal(new Set(digests).size, 3);
  host.execute({ op: 'process.kill', pid: 99 });
  assert.equal(digestOf(host), digests[2], 'what was not found is not journaled');
});

test('with 1,000,000 mappings it takes no longer than 100 ms, in steps, and survives a snapshot', () => {
  const many = new EngineVmm({ pages: 1_000_000, attached: true });
  many.mapPages(1_000_000, 2);
  const runs = Array.from({ length: 5 }, () => {
    const begun = process.threadCpuUsage();
    let steps = 0;
    for (const running = digesting(many.host); !running.next().done; ) steps++;
    const { user, system } = process.threadCpuUsage(begun);
    return { steps, ms: (user + system) / 1000 };
  });
  assert.ok(runs[0]!.steps > 100);
  // Of this thread: others may want the processor, too.
  const best = Math.min(...runs.map(({ ms }) => ms));
  assert.ok(best <= 100, `it takes ${best} ms`);
  assert.equal(digestOf(hostOf(snapshotOf(many.host))), digestOf(many.host));
});
