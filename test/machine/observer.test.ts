/** What the observer of a machine is told: all of it, once, in order, and nothing else. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Command, HostSpec } from '../../src/host/command.ts';
import { Host } from '../../src/host/host.ts';
import { buildHostSpec } from '../../src/host/host-spec.ts';
import type { CallInput, CallResult } from '../../src/kernel/uapi/calls.ts';
import { Machine } from '../../src/machine/machine.ts';
import { PageTable, READ, WRITE } from '../../src/machine/page-table.ts';
import { Shadow } from '../support/shadow.ts';

const LIVE_UPDATE = new URL('../fixtures/live-update-of-0.1.journal.jsonl', import.meta.url);

function machine(): Machine {
  const built = buildHostSpec({ preset: 'vmm-lab' });
  assert.ok('spec' in built);
  return new Machine(built.spec.machine);
}

/** A table that a function is on, and whoever watches it. */
function watched(): { table: PageTable; shadow: Shadow; memory: Machine['memory'] } {
  const made = machine();
  const [unit] = made.units.values();
  const [fn] = made.functions.values();
  unit!.reset();
  const shadow = new Shadow(made);
  const table = PageTable.make(made.memory, unit!.formats[0])!;
  const { root } = table;
  unit!.setContext(fn!.sourceId, { kind: 'table', domainId: 1, root, tableType: 0, dirtyEnabled: false });
  return { table, shadow, memory: made.memory };
}

test('a map is told once, however many leaves and tables it takes, and so is an unmap', () => {
  const { table, shadow } = watched();
  const gibibyte = 2 ** 18;
  for (const shift of [12, 21, 63]) {
    assert.ok(table.map(5, 2 ** 40, gibibyte, READ | WRITE, shift));
    assert.ok(table.mapSmall(2 * gibibyte, 2 ** 41, 1000, READ));
    shadow.compare();
    table.unmap(0, 3 * gibibyte);
    shadow.compare();
  }
  assert.deepEqual([shadow.told.set, shadow.told.cleared], [6, 3]);
  assert.ok(table.mapOne(7, 2 ** 40, READ));
  assert.equal(table.unmapOne(8), -1, 'nothing was there, and nothing is told');
  assert.equal(table.unmapOne(7), 2 ** 40);
  assert.equal(table.unmapSmall(7, 2), -1);
  assert.deepEqual([shadow.told.set, shadow.told.cleared], [7, 4]);
  shadow.compare();
});

test('a map without memory for all of its tables is told as far as it has come', () => {
  const { table, shadow, memory } = watched();
  const units = 2 ** 18;
  memory.allocate(memory.freeFrames - 100, { owner: 'other' });
  assert.equal(table.map(1, 2 ** 40, units, READ, 12), false);
  shadow.compare();
  assert.equal(shadow.told.set, 1);
  table.unmap(1, units);
  assert.equal(table.mapSmall(1, 2 ** 40, units, READ), false);
  shadow.compare();
  assert.equal(shadow.told.set, 2);
});

test('dirty bits, entries that are written out, and a context entry that is written again are no changes', () => {
  const made = machine();
  const [unit] = made.units.values();
  unit!.reset();
  const table = PageTable.make(made.memory, unit!.formats[0])!;
  assert.ok(table.map(0, 2 ** 30, 2 ** 18, READ | WRITE, 12));
  const entry = { kind: 'table', domainId: 1, root: table.root, tableType: 0, dirtyEnabled: true } as const;
  unit!.setContext(8, entry);
  const shadow = new Shadow(made);
  const before = { ...shadow.told };
  unit!.markDirty(8, 0x1234n);
  table.eachDirty(0, 2 ** 18, true, () => {});
  for (const { start, count } of table.tables()) for (let at = start; at < start + count; at++) made.memory.words(at);
  unit!.setContext(8, { ...entry });
  assert.deepEqual(shadow.told, before);
  unit!.setContext(8, { ...entry, dirtyEnabled: false });
  assert.equal(shadow.told.context, 1);
  unit!.disable();
  assert.equal(shadow.told.context, 2);
  shadow.compare();
});

test('through a live update and a crash a machine is what has been told of it, and its answers are the same', () => {
  const [first, ...rest] = readFileSync(LIVE_UPDATE, 'utf8').trim().split('\n');
  const { spec } = JSON.parse(first!) as { spec: HostSpec };
  const [seen, unseen] = [new Host(spec), new Host(spec)];
  const shadow = new Shadow(seen.machine);
  let handover: string | null = null;
  for (const line of rest) {
    const { command } = JSON.parse(line) as { command: Command };
    const wanted: Command = command.op === 'kexec.boot' ? { ...command, handover } : command;
    const execution = seen.execute(wanted);
    assert.deepEqual(execution.answer, unseen.execute(wanted).answer);
    for (const record of execution.records) if (record.kind === 'handover') handover = record.text;
    shadow.compare();
  }
  assert.ok(handover !== null);
  for (const what of ['context', 'set', 'given', 'freed'] as const) assert.ok(shadow.told[what] > 0, what);
});

test('memory that nobody holds any more is freed once no device reaches it', () => {
  const built = buildHostSpec({ preset: 'vmm-lab' });
  assert.ok('spec' in built);
  const host = new Host(built.spec);
  const shadow = new Shadow(host.machine);
  const call = (call: CallInput): CallResult => {
    const { answer } = host.execute({ op: 'calls', pid: 1, calls: [call] });
    const [result] = (answer as { value: { results: CallResult[] } }).value.results;
    assert.equal(result?.errno, undefined, JSON.stringify([call, result]));
    return result!;
  };
  const ioctl = (fd: number, request: string, arg: Record<string, unknown> = {}): Record<string, number> =>
    call({ call: 'ioctl', fd, request, arg }).arg as Record<string, number>;
  host.execute({ op: 'process.create' });
  const iommufd = call({ call: 'open', path: '/dev/iommu' }).ret as number;
  const cdev = call({ call: 'open', path: '/dev/vfio/devices/vfio0' }).ret as number;
  ioctl(cdev, 'VFIO_DEVICE_BIND_IOMMUFD', { iommufd });
  const ioas_id = ioctl(iommufd, 'IOMMU_IOAS_ALLOC').out_ioas_id!;
  ioctl(cdev, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { pt_id: ioas_id });
  // One page, a few, and so many that tables are filled as a whole.
  for (const [index, pages] of [1, 20, 5000].entries()) {
    const [addr, length] = [2 ** 40 + index * 2 ** 30, pages * 4096];
    call({ call: 'mmap', addr: `0x${addr.toString(16)}`, length });
    ioctl(iommufd, 'IOMMU_IOAS_MAP', { flags: 7, ioas_id, user_va: addr, length, iova: addr });
    call({ call: 'munmap', addr: `0x${addr.toString(16)}`, length });
    const before = { ...shadow.told };
    ioctl(iommufd, 'IOMMU_IOAS_UNMAP', { ioas_id, iova: addr, length });
    assert.equal(shadow.told.cleared, before.cleared + 1);
    assert.ok(shadow.told.freed > before.freed);
    shadow.compare();
  }
});
