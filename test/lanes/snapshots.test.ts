/** Where the replay of a host begins: what is kept, what is not, and what happens when some of it is damaged. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import Database from 'better-sqlite3';
import type { Answer } from '../../src/host/command.ts';
import { HostDamaged, HostFault } from '../../src/lanes/errors.ts';
import { Lane } from '../../src/lanes/lane.ts';
import type { FoundDamage, Store } from '../../src/store/store.ts';
import { temporaryDirectory } from '../support/service.ts';
import { someTenant, temporaryStore } from '../support/store.ts';
import { FakeHost, type FakeView, type Quirks, SPEC } from './fake-host.ts';

const BATCH = { op: 'batch', pid: 1, fd: 3, ioas: 1, format: 'packed' } as const;
const TICK = { op: 'clock.advance', nanoseconds: '1' } as const;
/** Enough for a clean stop to make a snapshot. */
const MANY = 150;

interface Lab {
  store: Store;
  /** Errors of the log. */
  errors: string[];
  damage: FoundDamage[];
  /** How many commands were executed, replays included. */
  executed: number;
  start(quirks?: { made?: Quirks; restored?: Quirks }): Lane;
  /** As one who has a tool for SQLite. */
  tamper(sql: string): void;
}

async function lab(t: TestContext): Promise<Lab> {
  const directory = temporaryDirectory(t);
  const store = temporaryStore(t, directory);
  const tenantId = await someTenant(store);
  const errors: string[] = [];
  const log = { info() {}, warn() {}, error: (_details: object, message: string) => void errors.push(message) };
  const counted = (host: FakeHost): FakeHost => {
    const execute = host.execute.bind(host);
    host.execute = (command) => {
      made.executed += 1;
      return execute(command);
    };
    return host;
  };
  const made: Lab = {
    store,
    errors,
    damage: [],
    executed: 0,
    start: ({ made: ofMade = {}, restored: ofRestored = {} } = {}) =>
      new Lane({
        store,
        log,
        allowServiceDeath: false,
        onDamage: (damage) => void made.damage.push(damage),
        makeHost: () => counted(new FakeHost(ofMade)),
        restoreHost: function* (bytes, engine) {
          const restored = yield* FakeHost.restore(bytes, engine, ofRestored);
          return { ...restored, engine: counted(restored.engine) };
        },
        die: () => Promise.reject(new Error('not here')),
      }),
    tamper(sql) {
      const database = new Database(`${directory}/holdover.db`);
      database.exec(sql);
      database.close();
    },
  };
  await made.start().create({ id: 'h', tenantId, name: 'h', spec: SPEC, created: '2026-01-01T00:00:00.000Z' });
  return made;
}

async function tick(lane: Lane, times: number): Promise<void> {
  await Promise.all(Array.from({ length: times }, () => lane.execute('h', TICK)));
}

async function clock(lane: Lane): Promise<number> {
  const answer = await lane.query('h', { view: 'host' });
  assert.equal(answer.kind, 'ok', JSON.stringify(answer));
  return (answer as { value: FakeView }).value.clock;
}

/** First and last command of the journal. */
async function kept(store: Store): Promise<[number, number]> {
  const sequences = (await store.journal.read('h', 0)).map(({ sequence }) => sequence);
  return [sequences[0]!, sequences.at(-1)!];
}

/** So many stops in order, each after MANY commands, and a few commands more. */
async function history({ start }: Lab, stops: number): Promise<void> {
  for (let stop = 0; stop < stops; stop += 1) {
    const lane = start();
    await tick(lane, MANY);
    await lane.close();
  }
  await tick(start(), 5);
}

/** As a host of an earlier version, whose rows need have no checksums. */
const OLD = 'UPDATE hosts SET checksum = NULL';
const FLIP = `UPDATE snapshots SET data = CAST(substr(data, 1, 20) || x'ff' || substr(data, 22) AS BLOB)`;

/** Why a host is not run, however it is told. */
async function refusal(asked: Promise<Answer>): Promise<string> {
  try {
    const answer = await asked;
    return answer.kind === 'refused' ? answer.why : JSON.stringify(answer);
  } catch (error) {
    assert.ok(error instanceof HostDamaged);
    return error.message;
  }
}

test('a clean stop makes a snapshot, and the next start replays only what came behind it', async (t) => {
  const made = await lab(t);
  await history(made, 1);
  made.executed = 0;
  assert.equal(await clock(made.start()), MANY + 5);
  assert.equal(made.executed, 5);
  // With one snapshot all is still there to begin anew from.
  assert.deepEqual(await kept(made.store), [1, MANY + 5]);
});

test('a stop after a few commands makes none', async (t) => {
  const made = await lab(t);
  const lane = made.start();
  await tick(lane, 5);
  await lane.close();
  assert.equal(await made.store.snapshots.before('h', 1000), undefined);
});

test('two snapshots are kept, and all commands', async (t) => {
  const made = await lab(t);
  await history(made, 4);
  assert.deepEqual(await kept(made.store), [1, 4 * MANY + 5]);
  assert.equal((await made.store.snapshots.before('h', 10_000))?.sequence, 4 * MANY);
  assert.equal((await made.store.snapshots.before('h', 4 * MANY))?.sequence, 3 * MANY);
  assert.equal(await made.store.snapshots.before('h', 3 * MANY), undefined);
});

test('a host in use makes one when much would have to be replayed', async (t) => {
  const { start, store } = await lab(t);
  const lane = start();
  await tick(lane, 10_001);
  await lane.close();
  const made = await store.snapshots.before('h', 20_000);
  assert.ok(made !== undefined && made.sequence >= 10_000);
});

test('a damaged snapshot: the older one is used', async (t) => {
  const made = await lab(t);
  await history(made, 3);
  made.tamper(`${FLIP} WHERE sequence = ${3 * MANY}`);
  made.executed = 0;
  const lane = made.start();
  assert.equal(await clock(lane), 3 * MANY + 5);
  assert.equal(made.executed, MANY + 5);
  assert.deepEqual(made.errors, ['a snapshot cannot be used']);
  await tick(lane, 1);
});

test('no snapshot to be used, but all commands: the host begins anew', async (t) => {
  const made = await lab(t);
  await history(made, 3);
  made.tamper(FLIP);
  assert.equal(await clock(made.start()), 3 * MANY + 5);
});

for (const [what, sql, why] of [
  ['damaged', FLIP, /does not match its checksum/],
  ['not all there', 'UPDATE snapshots SET parts = 2', /of its 2 parts 0 are there/],
  [
    'of another engine',
    `UPDATE snapshots SET engine = '99', checksum = NULL; ${OLD}`,
    /is of engine 99, this is engine fake/,
  ],
  [
    'in another format',
    `UPDATE snapshots SET format = 9, checksum = NULL; ${OLD}`,
    /format 9, which this version does not know/,
  ],
] as const) {
  test(`all snapshots ${what}, and old commands gone: the host cannot be read, says why, and can be deleted`, async (t) => {
    const made = await lab(t);
    await history(made, 2);
    made.tamper(`DELETE FROM journal WHERE sequence <= ${MANY}`);
    made.tamper(sql);
    const lane = made.start();
    assert.match(await refusal(lane.query('h', { view: 'host' })), why);
    assert.match(await refusal(lane.execute('h', TICK)), why);
    assert.ok(made.errors.includes('a host cannot be read'));
    await lane.remove('h');
    assert.equal(await made.store.hosts.get('h'), undefined);
    assert.equal(await made.store.snapshots.before('h', 10_000), undefined);
  });
}

const DMA = { op: 'device.dma', bdf: '0000:01:00.0', accesses: [] } as const;

for (const [what, restored, ask] of [
  ['command', { failsAtDma: true }, async (lane: Lane) => await lane.execute('h', { ...DMA, accesses: [] })],
  ['query', { failsAtQuery: true }, async (lane: Lane) => await lane.query('h', { view: 'host' })],
  ['batch', { failsAtBatch: true }, async (lane: Lane) => await lane.batch('h', BATCH, new Uint8Array())],
] as const) {
  test(`a ${what} that fails inside right behind a snapshot: the host is built without it, and another one is made`, async (t) => {
    const made = await lab(t);
    await history(made, 2);
    made.executed = 0;
    const lane = made.start({ restored });
    const answer = await ask(lane);
    assert.equal(answer.kind, 'ok', JSON.stringify(answer));
    assert.ok(made.executed >= 2 * MANY + 5, 'from the journal');
    await lane.close();
    const newest = (await made.store.snapshots.before('h', 10_000))!;
    assert.ok(newest.sequence >= 2 * MANY + 5);
    assert.ok((await clock(made.start())) >= 2 * MANY + 5);
  });
}

test('what fails without the snapshot, too, is answered with the fault, and not built anew each time', async (t) => {
  const made = await lab(t);
  await history(made, 2);
  const quirks = { failsAtDma: true };
  const lane = made.start({ made: quirks, restored: quirks });
  await assert.rejects(lane.execute('h', { ...DMA, accesses: [] }), HostFault);
  made.executed = 0;
  await assert.rejects(lane.execute('h', { ...DMA, accesses: [] }), HostFault);
  assert.ok(made.executed < MANY, 'from the snapshot');
  assert.equal(await clock(lane), 2 * MANY + 5);
});

test('a replay that differs behind a snapshot is tried without it before the host is diverged', async (t) => {
  const made = await lab(t);
  await history(made, 2);
  const lane = made.start({ restored: { clockSkew: 1 } });
  assert.equal(await clock(lane), 2 * MANY + 5);
  assert.equal((await lane.execute('h', TICK)).kind, 'ok');
  assert.equal((await made.store.hosts.get('h'))!.diverged, null);
  const both = made.start({ made: { clockSkew: 1 }, restored: { clockSkew: 1 } });
  await clock(both);
  assert.equal(
    (await made.store.hosts.get('h'))!.diverged?.sequence,
    2 * MANY + 1,
    'what differs behind every snapshot does differ',
  );
});

for (const [what, sql, left, why] of [
  [
    'a command that is gone',
    'DELETE FROM journal WHERE sequence = 5',
    4,
    /command 5 of the host is damaged: it is gone/,
  ],
  [
    'a letter of a command',
    "UPDATE journal SET command = replace(command, '1', '2') WHERE sequence = 5",
    4,
    /command 5/,
  ],
  [
    'its digest',
    "UPDATE journal SET digest = 'd' WHERE sequence = 9",
    8,
    /command 9 of the host is damaged: its row does/,
  ],
  [
    'another sequence',
    'UPDATE journal SET place = place + 1 WHERE sequence = 9',
    8,
    /command 9 of the host is damaged: it is gone/,
  ],
  [
    'the newest commands',
    'DELETE FROM journal WHERE sequence > 6',
    6,
    /commands 7 to 9 of the host were stored and are gone/,
  ],
] as const)
  test(`damage is told, and the host can be read as it was before it: ${what}`, async (t) => {
    const made = await lab(t);
    await tick(made.start(), 9);
    made.tamper(sql);
    for (const lane of [made.start(), made.start()]) {
      assert.equal(await clock(lane), left);
      assert.match(await refusal(lane.execute('h', TICK)), why);
      await assert.rejects(lane.batch('h', BATCH, new Uint8Array()), HostDamaged);
    }
    assert.equal((await made.store.hosts.get('h'))!.diverged, null);
    assert.deepEqual([...new Set(made.errors)], ['a host is damaged']);
    assert.deepEqual(
      made.damage.map(({ hostId, what }) => [hostId, why.test(what)]),
      made.damage.map(() => ['h', true]),
    );
    await made.start().remove('h');
  });

test('what a snapshot holds may be damaged: the host goes on from it', async (t) => {
  const made = await lab(t);
  await history(made, 1);
  made.tamper("UPDATE journal SET command = replace(command, '1', '2') WHERE sequence = 5");
  const lane = made.start();
  await tick(lane, 1);
  assert.equal(await clock(lane), MANY + 6);
  // Without it there is nothing that could stand in for the command.
  made.tamper(FLIP);
  const later = made.start();
  assert.equal(await clock(later), 4);
  await assert.rejects(later.execute('h', TICK), HostDamaged);
});

test('no snapshot is made of a host between two kernels', async (t) => {
  const made = await lab(t);
  const lane = made.start();
  await tick(lane, MANY);
  const dying = new Lane({
    store: made.store,
    log: { info() {}, warn() {}, error() {} },
    allowServiceDeath: true,
    makeHost: () => new FakeHost(),
    die: () => Promise.reject(new Error('died')),
  });
  await dying.execute('h', { op: 'fault.arm', point: 'service.death' });
  await assert.rejects(dying.execute('h', { op: 'kexec.freeze', mode: 'live-update', image: 'loaded' }));
  await dying.close();
  assert.equal(await made.store.snapshots.before('h', 10_000), undefined);
  const next = made.start();
  await next.recover();
  await next.close();
  assert.equal((await made.store.snapshots.before('h', 10_000))?.sequence, MANY + 3);
});
