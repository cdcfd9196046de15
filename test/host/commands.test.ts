/** Every command and every query has a row, and what its row says it needs is what it is refused without. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Answer, Command, Query } from '../../src/host/command.ts';
import { COMMANDS } from '../../src/host/commands/index.ts';
import type { Op, Rows } from '../../src/host/commands/row.ts';
import { Host } from '../../src/host/host.ts';
import { buildHostSpec } from '../../src/host/host-spec.ts';
import { QUERIES } from '../../src/host/queries/index.ts';
import type { Rows as QueryRows, View } from '../../src/host/queries/row.ts';

const BDF = '0000:99:00.0';
const PID = 99;

/** One command of each kind, about things that are not there. */
const EXAMPLES: { [One in Op]: Extract<Command, { op: One }> } = {
  calls: { op: 'calls', pid: PID, calls: [] },
  'process.create': { op: 'process.create' },
  'process.kill': { op: 'process.kill', pid: PID },
  'device.add': {
    op: 'device.add',
    device: buildSpec().machine.functions.map((fn) => ({ ...fn, bdf: BDF, group: 99, driver: null }))[0]!,
  },
  'device.remove': { op: 'device.remove', bdf: BDF },
  'device.update': { op: 'device.update', bdf: BDF, interruptsEnabled: false },
  'device.dma': { op: 'device.dma', bdf: BDF, accesses: [] },
  'device.flr': { op: 'device.flr', bdf: BDF },
  'device.bar': { op: 'device.bar', bdf: BDF, bar: 0, offset: '0x0', data: '' },
  'engine.start': {
    op: 'engine.start',
    bdf: BDF,
    access: 'both',
    ranges: [{ iova: '0x0', length: '0x1000' }],
    bytesPerSecond: '4096',
  },
  'engine.stop': { op: 'engine.stop', bdf: BDF, id: 1 },
  'device.interrupt': { op: 'device.interrupt', bdf: BDF, type: 'intx', vector: 0 },
  'driver.bind': { op: 'driver.bind', bdf: BDF, driver: 'vfio-pci' },
  'driver.unbind': { op: 'driver.unbind', bdf: BDF },
  'group.type': { op: 'group.type', group: 999, type: 'identity' },
  'ioas.reserve': { op: 'ioas.reserve', pid: PID, fd: 0, ioas: 1, start: '0x0', length: '0x1000' },
  'kexec.freeze': { op: 'kexec.freeze', mode: 'plain', image: 'none' },
  'kexec.boot': { op: 'kexec.boot', handover: null },
  crash: { op: 'crash' },
  reset: { op: 'reset' },
  'clock.advance': { op: 'clock.advance', nanoseconds: '1' },
  'fault.arm': { op: 'fault.arm', point: 'allocation' },
  'fault.disarm': { op: 'fault.disarm', id: 99 },
  'snapshot.put': { op: 'snapshot.put', name: 'ready', sequence: 1 },
  'snapshot.delete': { op: 'snapshot.delete', name: 'nothing' },
};

/** Likewise. */
const QUESTIONS: { [One in View]: Extract<Query, { view: One }> } = {
  host: { view: 'host' },
  devices: { view: 'devices' },
  device: { view: 'device', bdf: BDF },
  config: { view: 'config', bdf: BDF },
  translation: { view: 'translation', bdf: BDF, iova: '0x0', length: '0x1000' },
  'host-engines': { view: 'host-engines' },
  engines: { view: 'engines', bdf: BDF },
  engine: { view: 'engine', bdf: BDF, id: 1 },
  bar: { view: 'bar', bdf: BDF, bar: 0, offset: '0x0', length: 16 },
  groups: { view: 'groups' },
  group: { view: 'group', group: 999 },
  domains: { view: 'domains' },
  sessions: { view: 'sessions' },
  processes: { view: 'processes' },
  process: { view: 'process', pid: PID },
  descriptors: { view: 'descriptors', pid: PID },
  areas: { view: 'areas', pid: PID },
  memory: { view: 'memory', pid: PID, address: '0x0', length: '0x1000' },
  iommufd: { view: 'iommufd', pid: PID, fd: 3 },
  objects: { view: 'objects', pid: PID, fd: 3 },
  ioas: { view: 'ioas', pid: PID, fd: 3, ioas: 1 },
  mappings: { view: 'mappings', pid: PID, fd: 3, ioas: 1, limit: 1 },
  hwpt: { view: 'hwpt', pid: PID, fd: 3, hwpt: 1 },
  faults: { view: 'faults' },
  snapshots: { view: 'snapshots' },
};

function buildSpec() {
  const built = buildHostSpec({ preset: 'vmm-lab' });
  assert.ok('spec' in built);
  return built.spec;
}

const summary = (answer: Answer): string =>
  answer.kind === 'refused' ? answer.errno : answer.kind === 'not-found' ? answer.what : answer.kind;

/** Checked by tsc: what follows a @ts-expect-error has to be an error. */
test('a table that lacks a command or a query does not compile', () => {
  const commands = {} as Omit<Rows<Op>, 'device.flr'>;
  const queries = {} as Omit<QueryRows<View>, 'sessions'>;
  // @ts-expect-error: device.flr has no row
  commands satisfies Rows<Op>;
  // @ts-expect-error: sessions has no row
  queries satisfies QueryRows<View>;
  const families: Rows<'crash'> = {
    // @ts-expect-error: a crash names no process
    crash: { needs: 'process', run: () => ({ kind: 'ok', value: {} }) },
  };
  assert.ok(families);
});

test('every command has a row, and without a kernel only what needs none goes on', () => {
  assert.deepEqual(Object.keys(COMMANDS).sort(), Object.keys(EXAMPLES).sort());
  for (const [op, command] of Object.entries(EXAMPLES)) {
    const host = new Host(buildSpec());
    const { answer } = host.execute({ op: 'kexec.freeze', mode: 'plain', image: 'loaded' });
    assert.equal(answer.kind, 'ok');
    const needsKernel = !['machine', 'function'].includes(COMMANDS[op as Op].needs);
    assert.equal(summary(host.execute(command).answer) === 'EIO', needsKernel, op);
  }
});

test('what a command names is not found where it is not there, and nothing happens', () => {
  for (const [op, command] of Object.entries(EXAMPLES)) {
    const host = new Host(buildSpec());
    const before = JSON.stringify(host.query({ view: 'host' }));
    const answer = summary(host.execute(command).answer);
    const { needs } = COMMANDS[op as Op];
    if (needs.endsWith('function')) assert.equal(answer, `device ${BDF}`, op);
    else if (needs === 'process') assert.equal(answer, `process ${PID}`, op);
    else continue;
    assert.equal(JSON.stringify(host.query({ view: 'host' })), before, op);
  }
});

test('every query has a row, and what it names is not found where it is not there', () => {
  assert.deepEqual(Object.keys(QUERIES).sort(), Object.keys(QUESTIONS).sort());
  const host = new Host(buildSpec());
  for (const [view, query] of Object.entries(QUESTIONS)) {
    const { needs } = QUERIES[view as View];
    const expected = { function: `device ${BDF}`, process: `process ${PID}`, iommufd: `process ${PID}`, host: 'ok' };
    const named: Record<string, string> = { group: 'group 999', engine: `engine 1 of ${BDF}` };
    assert.equal(summary(host.query(query)), named[view] ?? expected[needs], view);
  }
});
