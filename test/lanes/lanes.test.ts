import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Answer, Command } from '../../src/host/command.ts';
import { HostChanged, HostDamaged, HostFault } from '../../src/lanes/errors.ts';
import { Lane } from '../../src/lanes/lane.ts';
import type { Lanes } from '../../src/lanes/lanes.ts';
import {
  HandoverDamaged,
  type JournalEntry,
  OwnerPassed,
  type Store,
  StoreUnavailable,
} from '../../src/store/store.ts';
import { someTenant, temporaryStore } from '../support/store.ts';
import { FakeHost, type FakeView, type Quirks, SPEC } from './fake-host.ts';

const TICK = { op: 'clock.advance', nanoseconds: '1' } as const;
const DMA: Command = { op: 'device.dma', bdf: '0000:01:00.0', accesses: [] };
const KEXEC = { op: 'kexec.freeze', mode: 'live-update', image: 'loaded' } as const;
const ARM_DEATH = { op: 'fault.arm', point: 'service.death' } as const;
const BUG = { op: 'crash' } as const;
/** Its answer cannot be written down. */
const UNTELLABLE = { op: 'device.update', bdf: '0000:01:00.0', interruptsEnabled: true } as const;
const BATCH = { op: 'batch', pid: 1, fd: 3, ioas: 1, format: 'packed' } as const;

class Died extends Error {}

interface Lab {
  store: Store;
  tenantId: string;
  lanes: Lane;
  /** Errors of the log. */
  errors: object[];
  /** Another start on the same store: hosts are built anew. */
  restart(quirks?: Quirks, allowServiceDeath?: boolean, check?: boolean): Lane;
  add(id: string): Promise<Answer>;
  journal(id: string): Promise<{ op: string }[]>;
}

async function lab(t: TestContext, store: Store = temporaryStore(t)): Promise<Lab> {
  const tenantId = await someTenant(store);
  const errors: object[] = [];
  const log = { info() {}, warn() {}, error: (details: object) => void errors.push(details) };
  const start = (quirks: Quirks = {}, allowServiceDeath = true, check = false): Lane =>
    new Lane({
      store,
      log,
      allowServiceDeath,
      check,
      makeHost: () => new FakeHost(quirks),
      die: () => Promise.reject(new Died()),
    });
  const lanes = start();
  return {
    store,
    tenantId,
    lanes,
    errors,
    restart: start,
    add: (id) => lanes.create({ id, tenantId, name: id, spec: SPEC, created: '2026-01-01T00:00:00.000Z' }),
    journal: async (id) => (await store.journal.read(id, 0)).map(({ command }) => JSON.parse(command)),
  };
}

async function view(lanes: Lanes, id: string): Promise<FakeView> {
  const answer = await lanes.query(id, { view: 'host' });
  assert.equal(answer.kind, 'ok');
  return (answer as { value: FakeView }).value;
}

function refusal(answer: Answer): { errno: string; why: string } {
  assert.equal(answer.kind, 'refused');
  return answer as Extract<Answer, { kind: 'refused' }>;
}

interface Gate {
  store: Store;
  commits: number;
  /** What a commit does before it is stored: wait, or fail. */
  before: () => Promise<void>;
}

function gated(store: Store): Gate {
  const gate: Gate = { store, commits: 0, before: async () => {} };
  const append = async (entry: JournalEntry): Promise<void> => {
    gate.commits += 1;
    await gate.before();
    await store.journal.append(entry);
  };
  gate.store = { ...store, journal: { ...store.journal, append } };
  return gate;
}

test('a host is created, used, and there again after a restart', async (t) => {
  const { add, lanes, restart } = await lab(t);
  assert.deepEqual(await add('h'), { kind: 'ok', value: { state: 'running', kernel: 1, clock: 0, dma: 0 } });
  assert.deepEqual(await lanes.execute('h', TICK), { kind: 'ok', value: { now: 1 }, sequence: 1 });
  await lanes.execute('h', DMA);
  assert.deepEqual(await view(restart(), 'h'), { state: 'running', kernel: 1, clock: 1, dma: 1 });
});

test('a host that is not stored is not found', async (t) => {
  const { lanes } = await lab(t);
  assert.equal((await lanes.execute('nowhere', TICK)).kind, 'not-found');
  assert.equal((await lanes.query('nowhere', { view: 'host' })).kind, 'not-found');
});

test('a removed host is gone, with what is stored of it, and commands behind the removal find nothing', async (t) => {
  const { add, lanes, store, journal } = await lab(t);
  await add('h');
  await lanes.execute('h', TICK);
  const [, late] = await Promise.all([lanes.remove('h'), lanes.execute('h', TICK)]);
  assert.equal(late.kind, 'not-found');
  assert.equal(await store.hosts.get('h'), undefined);
  assert.deepEqual(await journal('h'), []);
});

test('commands of a host run in the order in which they were asked', async (t) => {
  const { add, lanes } = await lab(t);
  await add('h');
  const answers = await Promise.all(Array.from({ length: 50 }, () => lanes.execute('h', TICK)));
  assert.deepEqual(
    answers.map((answer) => (answer as { value: { now: number } }).value.now),
    answers.map((_, index) => index + 1),
  );
});

test('what is executed is journaled, refusals too, but not what was not found', async (t) => {
  const { add, lanes, journal } = await lab(t);
  await add('h');
  await lanes.execute('h', { op: 'driver.bind', bdf: '0000:01:00.0', driver: 'vfio-pci' });
  await lanes.execute('h', { op: 'device.flr', bdf: '0000:09:00.0' });
  await lanes.execute('h', TICK);
  assert.deepEqual(
    (await journal('h')).map(({ op }) => op),
    ['driver.bind', 'clock.advance'],
  );
});

test('no answer before its commit, and no host waits for the commit of another', async (t) => {
  const gate = gated(temporaryStore(t));
  const { add, lanes } = await lab(t, gate.store);
  await add('slow');
  await add('idle');
  const { promise, resolve } = Promise.withResolvers<void>();
  gate.before = () => promise;
  let answered = false;
  const slow = lanes.execute('slow', TICK).then(() => {
    answered = true;
  });
  assert.equal((await view(lanes, 'idle')).clock, 0);
  assert.equal(gate.commits, 1);
  assert.equal(answered, false);
  resolve();
  await slow;
});

test('a kexec boots the next kernel from the stored handover, which the journal does not repeat', async (t) => {
  const { add, lanes, journal, restart } = await lab(t);
  await add('h');
  await lanes.execute('h', TICK);
  const answer = await lanes.execute('h', KEXEC);
  assert.deepEqual(answer, { kind: 'ok', value: { state: 'running', kernel: 2, clock: 1, dma: 0 }, sequence: 3 });
  assert.deepEqual((await journal('h')).slice(1), [KEXEC, { op: 'kexec.boot', freeze: 2 }]);
  assert.deepEqual(await view(restart(), 'h'), { state: 'running', kernel: 2, clock: 1, dma: 0 });
});

test('a plain kexec hands nothing over', async (t) => {
  const { add, lanes, restart } = await lab(t);
  await add('h');
  await lanes.execute('h', TICK);
  await lanes.execute('h', { ...KEXEC, mode: 'plain' });
  assert.equal((await view(lanes, 'h')).clock, 0);
  assert.equal((await view(restart(), 'h')).clock, 0);
});

test('between freeze and boot DMA and queries go on, everything else waits for the boot', async (t) => {
  const { add, lanes, journal, restart } = await lab(t);
  await add('h');
  const order: string[] = [];
  const note = (name: string) => (answer: Answer) => {
    order.push(name);
    return answer;
  };
  const [, , between] = await Promise.all([
    lanes.execute('h', KEXEC).then(note('kexec')),
    lanes.execute('h', TICK).then(note('tick')),
    lanes.query('h', { view: 'host' }).then(note('query')),
    lanes.execute('h', DMA).then(note('dma')),
  ]);
  assert.deepEqual(order, ['query', 'dma', 'kexec', 'tick']);
  assert.equal((between as { value: FakeView }).value.state, 'kexec');
  assert.deepEqual(
    (await journal('h')).map(({ op }) => op),
    ['kexec.freeze', 'device.dma', 'kexec.boot', 'clock.advance'],
  );
  assert.deepEqual(await view(restart(), 'h'), { state: 'running', kernel: 2, clock: 1, dma: 1 });
});

test('service.death: the service dies after the freeze is stored, and the next one boots the kernel', async (t) => {
  const { add, lanes, restart, journal } = await lab(t);
  await add('h');
  await add('other');
  await lanes.execute('h', TICK);
  await lanes.execute('h', ARM_DEATH);
  await assert.rejects(lanes.execute('h', KEXEC), Died);
  assert.equal((await journal('h')).at(-1)?.op, 'kexec.freeze');

  const next = restart();
  await next.recover();
  assert.equal((await journal('h')).at(-1)?.op, 'kexec.boot');
  assert.deepEqual(await view(next, 'h'), { state: 'running', kernel: 2, clock: 1, dma: 0 });
  await restart().recover();
  assert.equal((await journal('h')).length, 4);
});

test('without recovery the first command boots the kernel, and hardware does not wait for it', async (t) => {
  const { add, lanes, restart } = await lab(t);
  await add('h');
  await lanes.execute('h', ARM_DEATH);
  await assert.rejects(lanes.execute('h', KEXEC), Died);
  const next = restart();
  assert.equal((await view(next, 'h')).state, 'kexec');
  await next.execute('h', DMA);
  assert.equal((await view(next, 'h')).state, 'kexec');
  await next.execute('h', TICK);
  assert.deepEqual(await view(next, 'h'), { state: 'running', kernel: 2, clock: 1, dma: 1 });
});

test('service.death is refused where the configuration does not allow it, and kills nobody', async (t) => {
  const { add, lanes, restart, journal } = await lab(t);
  await add('armed');
  await lanes.execute('armed', ARM_DEATH);
  await add('h');
  const forbidding = restart({}, false);
  const { errno, why } = refusal(await forbidding.execute('h', ARM_DEATH));
  assert.equal(errno, 'EPERM');
  assert.match(why, /HOLDOVER_ALLOW_SERVICE_DEATH=1/);
  assert.deepEqual(await journal('h'), []);
  assert.equal((await forbidding.execute('armed', KEXEC)).kind, 'ok');
});

test('what expects the host elsewhere is not begun, whatever came to be done before its turn', async (t) => {
  const { add, lanes, journal, restart } = await lab(t);
  await add('h');
  const outcomes = await Promise.allSettled(
    [[0], [0], [7, 1], undefined, [2]].map((expected) => lanes.execute('h', TICK, undefined, { expected })),
  );
  assert.deepEqual(
    outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value.sequence : outcome.reason.message)),
    [1, '1', 2, 3, '3'],
  );
  assert.equal((await journal('h')).length, 3);
  const changed = (at: number) => (error: unknown) => error instanceof HostChanged && error.sequence === at;
  await assert.rejects(lanes.batch('h', BATCH, new Uint8Array(), undefined, { expected: [2] }), changed(3));
  await assert.rejects(lanes.execute('h', KEXEC, undefined, { expected: [] }), changed(3));
  await assert.rejects(lanes.query('h', { view: 'host' }, undefined, { expected: [2] }), changed(3));
  assert.equal((await lanes.query('h', { view: 'host' }, undefined, { expected: [3] })).sequence, 3);
  // It is built anew, to see where it is.
  const again = restart();
  await assert.rejects(again.remove('h', { expected: [2] }), changed(3));
  assert.equal((await journal('h')).length, 3);
  await again.remove('h', { expected: [3] });
  assert.equal((await again.query('h', { view: 'host' })).kind, 'not-found');
});

test('a bug in a host leaves nothing of its command, and no other host notices', async (t) => {
  const { add, lanes, journal, errors } = await lab(t);
  await add('h');
  await add('other');
  await lanes.execute('h', TICK);
  const [fault, other] = await Promise.all([
    lanes.execute('h', BUG).catch((error: unknown) => error),
    lanes.execute('other', TICK),
  ]);
  assert.ok(fault instanceof HostFault);
  assert.equal((errors[0] as { incident: string }).incident, fault.incident);
  assert.equal(other.kind, 'ok');
  assert.equal((await journal('h')).length, 1);
  assert.deepEqual(await lanes.execute('h', TICK), { kind: 'ok', value: { now: 2 }, sequence: 2 });
});

test('a command whose answer cannot be written down leaves nothing, and those behind it are kept', async (t) => {
  const { add, lanes, journal, restart } = await lab(t);
  await add('h');
  await lanes.execute('h', TICK);
  const [fault, tick] = await Promise.all([
    lanes.execute('h', UNTELLABLE).catch((error: unknown) => error),
    lanes.execute('h', TICK),
  ]);
  assert.ok(fault instanceof HostFault);
  assert.deepEqual(tick, { kind: 'ok', value: { now: 2 }, sequence: 2 });
  await assert.rejects(lanes.batch('h', { ...BATCH, results: true }, new Uint8Array()), HostFault);
  await lanes.batch('h', BATCH, new Uint8Array());
  const kept = { state: 'running', kernel: 1, clock: 1002, dma: 0 };
  assert.deepEqual(await view(lanes, 'h'), kept);
  assert.deepEqual(
    (await journal('h')).map(({ op }) => op),
    ['clock.advance', 'clock.advance', 'batch'],
  );
  assert.deepEqual(await view(restart(), 'h'), kept);
});

test('a host that cannot be shown is not made', async (t) => {
  const { restart, store, tenantId } = await lab(t);
  const row = { id: 'h', tenantId, name: 'h', spec: SPEC, created: '2026-01-01T00:00:00.000Z' };
  await assert.rejects(restart({ failsAtQuery: true }).create(row), HostFault);
  assert.equal(await store.hosts.get('h'), undefined);
});

test('a commit that fails leaves nothing of its command', async (t) => {
  const gate = gated(temporaryStore(t));
  const { add, lanes, journal } = await lab(t, gate.store);
  await add('h');
  gate.before = () => Promise.reject(new StoreUnavailable('the disk is full'));
  await assert.rejects(lanes.execute('h', TICK), StoreUnavailable);
  await assert.rejects(lanes.execute('h', KEXEC), StoreUnavailable);
  assert.deepEqual(await view(lanes, 'h'), { state: 'running', kernel: 1, clock: 0, dma: 0 });
  assert.deepEqual(await journal('h'), []);
  gate.before = async () => {};
  assert.deepEqual(await lanes.execute('h', TICK), { kind: 'ok', value: { now: 1 }, sequence: 1 });
});

test('a host that has another owner by now: its command has not happened, and it comes back as it is stored', async (t) => {
  const { add, lanes, restart, journal } = await lab(t);
  await add('h');
  await lanes.execute('h', TICK);
  const other = restart();
  await other.execute('h', TICK);
  const late = await Promise.allSettled([lanes.execute('h', DMA), lanes.query('h', { view: 'host' })]);
  for (const outcome of late) assert.ok(outcome.status === 'rejected' && outcome.reason instanceof OwnerPassed);
  assert.deepEqual(
    (await journal('h')).map(({ op }) => op),
    ['clock.advance', 'clock.advance'],
  );
  assert.deepEqual(await lanes.execute('h', TICK), { kind: 'ok', value: { now: 3 }, sequence: 3 });
  await assert.rejects(other.execute('h', KEXEC), OwnerPassed);
  await lanes.remove('h');
  assert.equal((await other.execute('h', TICK)).kind, 'not-found');
});

test('a host that cannot be stored is not there', async (t) => {
  const { lanes } = await lab(t);
  const row = { id: 'h', tenantId: 'nobody', name: 'h', spec: SPEC, created: '2026-01-01T00:00:00.000Z' };
  await assert.rejects(lanes.create(row), StoreUnavailable);
  assert.equal((await lanes.query('h', { view: 'host' })).kind, 'not-found');
});

for (const [what, quirks, why] of [
  ['answers differently', { clockSkew: 1 }, /command 2 \(clock\.advance\).*not the one given the first time/],
  ['fails', { failsAtDma: true }, /command 3 \(device\.dma\).*no DMA in this version/],
] as const) {
  test(`a host whose replay ${what} is diverged: read as it was before, and refused commands`, async (t) => {
    const { add, lanes, restart, store } = await lab(t);
    await add('h');
    await lanes.execute('h', { op: 'driver.bind', bdf: '0000:01:00.0', driver: 'vfio-pci' });
    await lanes.execute('h', TICK);
    await lanes.execute('h', DMA);
    const later = restart(quirks);
    const answer = refusal(await later.execute('h', TICK));
    assert.equal(answer.errno, 'EIO');
    assert.match(answer.why, why);
    assert.equal((await view(later, 'h')).dma, 0);
    assert.notEqual((await store.hosts.get('h'))?.diverged, null);
    // It stays so, whichever version comes next, until it is deleted.
    const back = restart();
    assert.match(refusal(await back.execute('h', DMA)).why, why);
    await back.remove('h');
    assert.equal(await store.hosts.get('h'), undefined);
  });
}

for (const [what, run] of [
  ['command', (lanes: Lanes) => lanes.execute('h', DMA)],
  ['batch', (lanes: Lanes) => lanes.batch('h', BATCH, new Uint8Array(4))],
] as const)
  test(`where hosts are looked at, a ${what} that leaves one that does not agree has not happened`, async (t) => {
    const { add, restart, journal, errors } = await lab(t);
    await add('h');
    const quirks = { isWhole: ({ dma, clock }: FakeView) => dma === 0 && clock < 1000 };
    const lanes = restart(quirks, true, true);
    await lanes.execute('h', TICK);
    await assert.rejects(run(lanes), HostFault);
    assert.match((errors[0] as { err: Error }).err.message, /^pins of frame 7/);
    assert.deepEqual(await view(lanes, 'h'), { state: 'running', kernel: 1, clock: 1, dma: 0 });
    assert.deepEqual(
      (await journal('h')).map(({ op }) => op),
      ['clock.advance'],
    );
    await lanes.execute('h', TICK);
    // Where nobody looks it happens; what has happened is not looked at when the host is built again.
    await run(restart(quirks));
    assert.equal((await view(restart(quirks, true, true), 'h')).kernel, 1);
    assert.equal(errors.length, 1);
  });

test('a boot that fails is tried again, and the host can be read meanwhile', async (t) => {
  const { add, lanes, restart, errors } = await lab(t);
  await add('h');
  await lanes.execute('h', ARM_DEATH);
  await assert.rejects(lanes.execute('h', KEXEC), Died);
  const broken = restart({ failsAtBoot: true });
  await broken.recover();
  assert.equal(errors.length, 2);
  await assert.rejects(broken.execute('h', TICK), HostFault);
  assert.equal((await view(broken, 'h')).state, 'kexec');
  assert.equal((await restart().execute('h', TICK)).kind, 'ok');
});

test('a damaged handover is not booted from', async (t) => {
  const { add, lanes, restart, store } = await lab(t);
  await add('h');
  await lanes.execute('h', TICK);
  await lanes.execute('h', ARM_DEATH);
  await assert.rejects(lanes.execute('h', KEXEC), Died);
  store.journal.handover = async () => {
    throw new HandoverDamaged('the handover of command 3 does not match its checksum');
  };
  const next = restart();
  await next.recover();
  const why = /the handover of command 3 does not match its checksum.*delete it/;
  for (let time = 0; time < 2; time += 1)
    await assert.rejects(next.execute('h', TICK), (error) => error instanceof HostDamaged && why.test(error.message));
  assert.equal((await view(next, 'h')).state, 'kexec');
  assert.equal((await store.hosts.get('h'))!.diverged, null);
});

test('closing waits for what was asked before', async (t) => {
  const { add, lanes, journal } = await lab(t);
  await add('h');
  void lanes.execute('h', KEXEC);
  await lanes.close();
  assert.equal((await journal('h')).at(-1)?.op, 'kexec.boot');
});
