/** What every store has to do: src/store/store.ts, sentence by sentence. A store that passes can run hosts. */
import assert from 'node:assert/strict';
import { randomFillSync } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import type { EmittedEvent } from '../../src/host/command.ts';
import {
  type EventFilter,
  HandoverDamaged,
  type HostCursor,
  type HostRow,
  type HostStore,
  hashKey,
  type JournalEntry,
  KeyExists,
  KeyTaken,
  newKey,
  OwnerPassed,
  type Store,
  StoreDamaged,
  type StoredCommand,
  StoreUnavailable,
  TenantExists,
} from '../../src/store/store.ts';
import { SPEC } from '../lanes/fake-host.ts';

type Contract = Omit<Store, 'share'>;

export interface Subject {
  store: Contract;
  /** The same store by another way: in another thread, or at the next start. */
  other: HostStore;
  /**
   * Spoils what is stored of a host: the newest of its handovers, payloads, snapshots, commands or events, or its spec, a
   * little, so that it looks as before. `end`: its newest command is gone.
   */
  damage(what: Damaged, hostId: string): void;
}

export type Damaged = 'handover' | 'payload' | 'snapshot' | 'spec' | 'command' | 'event' | 'end';

const bdfOf = (number: number): string => `0000:00:0${number}.0`;

const event = (number: number): EmittedEvent => ({
  time: String(number),
  kernel: 1,
  kind: 'pci.remove',
  message: 'it is gone',
  data: { bdf: bdfOf(number) },
});

/** Larger than any store keeps in one piece. */
const LARGE = new Uint8Array(randomFillSync(Buffer.alloc((2 << 20) + 1)));
const DAMAGE = { sequence: 3, op: 'crash', why: 'it fails inside' };

export function testContract(name: string, open: (t: TestContext) => Promise<Subject>): void {
  const says = (what: string, run: (subject: Subject) => Promise<void>): void => {
    test(`${name}: ${what}`, async (t) => run(await open(t)));
  };

  says('tenants are found by the hash of their key, and their names and keys are their own', async ({ store }) => {
    const { tenants } = store;
    const key = newKey();
    const acme = await tenants.create('acme', hashKey(key));
    assert.deepEqual((await tenants.findByKeyHash(hashKey(key)))?.tenant, acme);
    assert.deepEqual(await tenants.findByName('acme'), acme);
    assert.equal(await tenants.findByKeyHash(hashKey('other')), undefined);
    await assert.rejects(tenants.create('acme', hashKey('other')), TenantExists);
    await assert.rejects(tenants.create('zeta', hashKey(key)), TenantExists);
    const zeta = await tenants.create('zeta', hashKey('other'));
    assert.deepEqual(await tenants.list(10), [acme, zeta]);
    assert.deepEqual(await tenants.list(1), [acme]);
    assert.deepEqual(await tenants.list(1, 'acme'), [zeta]);
    assert.deepEqual(await tenants.get(zeta.id), zeta);
    assert.equal(await tenants.get('t-none'), undefined);
    await assert.rejects(tenants.setKeyHash(zeta.id, hashKey(key)), TenantExists);
    assert.equal(await tenants.setKeyHash(zeta.id, hashKey('third')), true);
    assert.equal(await tenants.setKeyHash(zeta.id, hashKey('third')), false);
    assert.deepEqual((await tenants.findByKeyHash(hashKey('third')))?.tenant, zeta);
    assert.equal(await tenants.findByKeyHash(hashKey('other')), undefined);
  });

  says('a tenant has several keys, each with a name of its own', async ({ store }) => {
    const { tenants } = store;
    const { id } = await tenants.create('acme', hashKey('one'));
    const { id: other } = await tenants.create('zeta', hashKey('other'));
    const key = {
      name: 'ci',
      role: 'read-only',
      created: '2026-02-01T00:00:00.000Z',
      expires: '2026-03-01T00:00:00.000Z',
    } as const;
    assert.equal(await tenants.findByKeyHash(hashKey('two')), undefined);
    await tenants.addKey(id, key, hashKey('two'));
    await tenants.addKey(other, key, hashKey('three'));
    await assert.rejects(tenants.addKey(id, key, hashKey('four')), KeyExists);
    const found = await tenants.findByKeyHash(hashKey('two'));
    assert.deepEqual([found?.tenant.id, found?.key], [id, key]);
    assert.deepEqual(
      (await tenants.keys(id)).map(({ name, role }) => [name, role]),
      [
        ['ci', 'read-only'],
        ['first', 'full'],
      ],
    );
    assert.equal(await tenants.setKeyHash(id, hashKey('five')), true);
    assert.equal((await tenants.findByKeyHash(hashKey('two')))?.key.name, 'ci');
    assert.equal(await tenants.removeKey(id, 'ci'), true);
    assert.equal(await tenants.removeKey(id, 'ci'), false);
    assert.equal(await tenants.findByKeyHash(hashKey('two')), undefined);
    assert.equal((await tenants.findByKeyHash(hashKey('three')))?.tenant.id, other);
  });

  says('a tenant keeps the quotas that it is given', async ({ store }) => {
    const { tenants } = store;
    const { id } = await tenants.create('acme', hashKey('key'));
    assert.deepEqual((await tenants.findByKeyHash(hashKey('key')))?.tenant.quotas, {});
    await tenants.setQuotas(id, { hosts: 3, requests: 'unlimited' });
    assert.deepEqual((await tenants.findByKeyHash(hashKey('key')))?.tenant.quotas, { hosts: 3, requests: 'unlimited' });
    await tenants.setQuotas(id, {});
    assert.deepEqual((await tenants.findByKeyHash(hashKey('key')))?.tenant.quotas, {});
  });

  says(
    'throw-away tenants share the quotas of their parent, are bounded, and go when they have no hosts',
    async (subject) => {
      const { store } = subject;
      const { tenants } = store;
      const parent = await tenants.create('acme', hashKey('key'));
      const [expiresAt, most] = ['2026-01-02T00:00:00.000Z', 2];
      const first = (await tenants.createChild(parent, { name: 'one', expiresAt, most }, hashKey('one')))!;
      assert.deepEqual([first.name, first.parentId, first.expiresAt], ['acme/one', parent.id, expiresAt]);
      await assert.rejects(tenants.createChild(parent, { name: 'one', expiresAt, most }, hashKey('two')), TenantExists);
      const late = '2026-01-03T00:00:00.000Z';
      const second = (await tenants.createChild(parent, { expiresAt: late, most }, hashKey('two')))!;
      assert.equal(await tenants.createChild(parent, { name: 'three', expiresAt, most }, hashKey('three')), undefined);
      assert.deepEqual((await tenants.children(parent.id)).map(({ id }) => id).sort(), [first.id, second.id].sort());
      await tenants.setQuotas(parent.id, { hosts: 3 });
      assert.deepEqual((await tenants.findByKeyHash(hashKey('one')))?.tenant, { ...first, quotas: { hosts: 3 } });
      await store.hosts.insert(row(parent.id, 'p'));
      await store.hosts.insert(row(first.id, 'a'));
      assert.equal((await store.hosts.stored(parent.id)).hosts, 2);
      assert.equal((await store.hosts.stored(first.id)).hosts, 1);
      assert.deepEqual(
        (await store.hosts.list(parent.id, 9)).map(({ id }) => id),
        ['p'],
      );
      assert.deepEqual(
        (await tenants.expired(expiresAt, 9)).map(({ id }) => id),
        [first.id],
      );
      assert.deepEqual(await tenants.expired('2026-01-01T23:59:59.999Z', 9), []);
      await tenants.end(first.id);
      assert.equal(await tenants.findByKeyHash(hashKey('one')), undefined);
      assert.equal(await tenants.delete(first.id), false);
      await store.hosts.delete({ hostId: 'a', epoch: 1 });
      assert.equal(await tenants.delete(first.id), true);
      assert.equal(await tenants.delete(first.id), true);
      assert.equal(await tenants.get(first.id), undefined);
      // What was stored and has been deleted is not missed.
      await store.inspect((damage) => assert.fail(JSON.stringify(damage)));
    },
  );

  says('hosts are listed by tenant in pages, the oldest first', async ({ store }) => {
    const [acme, other] = [await tenant(store), await tenant(store, 'other')];
    for (const id of ['c', 'a', 'b']) await store.hosts.insert(row(acme, id));
    await store.hosts.insert(row(acme, 'first', '2025-01-01T00:00:00.000Z'));
    await store.hosts.insert(row(other, 'foreign'));
    const ids = async (...page: Parameters<typeof store.hosts.list>) =>
      (await store.hosts.list(...page)).map(({ id }) => id);
    const page = await store.hosts.list(acme, 2);
    assert.deepEqual(
      page.map(({ id }) => id),
      ['first', 'a'],
    );
    // The host that the cursor names may be deleted between two pages.
    await store.hosts.delete({ hostId: 'a', epoch: 1 });
    assert.deepEqual(await ids(acme, 10, page[1]), ['b', 'c']);
    assert.deepEqual(await ids(acme, 0), []);
  });

  says('hosts are found by their name and by labels, all of which must hold', async ({ store, other }) => {
    const [acme, foreign] = [await tenant(store), await tenant(store, 'other')];
    const odd = { 'a.b/c-d': `quotes ' " and $ %` };
    const all = { a: { suite: 'x', job: '1' }, b: { suite: 'x', job: '2' }, c: { suite: '' }, d: {}, e: odd };
    for (const [id, labels] of Object.entries(all))
      await store.hosts.insert({ ...row(acme, id), name: `n-${id}`, labels });
    await store.hosts.insert({ ...row(foreign, 'f'), labels: all.a });
    const ids = async (labels: [string, string | null][], name?: string, after?: HostCursor) => {
      const asked = { name, labels: labels.map(([key, value]) => ({ key, value })) };
      return (await other.hosts.list(acme, 10, after, asked)).map(({ id }) => id).join('');
    };
    assert.equal(await ids([['suite', 'x']]), 'ab');
    assert.equal(await ids([['suite', null]]), 'abc');
    assert.equal(await ids([['suite', '']]), 'c');
    assert.equal(
      await ids([
        ['suite', 'x'],
        ['job', '2'],
      ]),
      'b',
    );
    assert.equal(
      await ids([
        ['suite', 'y'],
        ['job', '2'],
      ]),
      '',
    );
    assert.equal(await ids([['Suite', null]]), '');
    assert.equal(await ids([['a.b/c-d', odd['a.b/c-d']]]), 'e');
    assert.equal(await ids([], 'n-d'), 'd');
    assert.equal(await ids([['suite', null]], 'n-d'), '');
    assert.equal(await ids([['suite', null]], undefined, row(acme, 'a')), 'bc');
    // From memory from now on.
    for (const id of ['a', 'b']) assert.notDeepEqual((await other.hosts.get(id))?.labels, {});
    await store.hosts.setLabels('a', { suite: 'z' });
    await store.hosts.setLabels('b', {});
    assert.equal(await ids([['suite', 'z']]), 'a');
    assert.equal(await ids([['suite', null]]), 'ac');
    assert.deepEqual((await other.hosts.get('a'))?.labels, { suite: 'z' });
    assert.deepEqual((await other.hosts.get('b'))?.labels, {});
  });

  says('hosts that have come to their end are found, the earliest first', async ({ store, other }) => {
    const acme = await tenant(store);
    const ends = {
      a: '2026-01-03T00:00:00.000Z',
      b: '2026-01-02T00:00:00.000Z',
      c: null,
      d: '2026-01-04T00:00:00.000Z',
    };
    for (const [id, expiresAt] of Object.entries(ends)) await store.hosts.insert({ ...row(acme, id), expiresAt });
    const ids = async (by: string, limit = 10) => (await other.hosts.expired(by, limit)).map(({ id }) => id).join('');
    assert.equal(await ids('2026-01-01T23:59:59.999Z'), '');
    assert.equal(await ids(ends.a), 'ba');
    assert.equal(await ids(ends.d, 2), 'ba');
    assert.equal((await other.hosts.get('b'))?.expiresAt, ends.b);
    await store.hosts.delete({ hostId: 'b', epoch: 1 });
    assert.equal(await ids(ends.d), 'ad');
  });

  says('a list tells what the events of each host say of its state', async ({ store, other }) => {
    const acme = await tenant(store);
    const told = (kind: string, kernel: number, data = {}) => ({ ...event(1), kind: kind as never, kernel, data });
    await store.hosts.insert(row(acme, 'h'), [told('boot', 1)]);
    const listed = async () => {
      const [host] = await other.hosts.list(acme, 1);
      return [host?.state, host?.kernel, host?.hazards];
    };
    assert.deepEqual(await listed(), ['running', 1, 0]);
    let sequence = 0;
    for (const [events, ...expected] of [
      [[told('dma.fault', 1), told('hazard', 1)], 'running', 1, 1],
      [[told('kexec', 1)], 'kexec', 1, 1],
      [[told('hazard', 2), told('boot', 2), told('hazard', 2)], 'running', 2, 3],
      [[told('crash', 2), told('boot', 3)], 'kdump', 3, 3],
      [[told('reset', 3), told('boot', 4)], 'running', 4, 3],
      [[told('panic', 5)], 'panic', 5, 3],
      [[told('restored', 3, { state: 'kdump' })], 'kdump', 3, 3],
      [[told('restored', 2)], null, 2, 3],
    ] as const) {
      sequence += 1;
      await store.journal.append({ ...entry(sequence), events });
      assert.deepEqual(await listed(), expected);
    }
  });

  says('how many hosts a tenant has, and about how much is stored of them, is known', async ({ store }) => {
    const [acme, other] = [await tenant(store), await tenant(store, 'other')];
    assert.deepEqual(await store.hosts.stored(acme), { hosts: 0, bytes: 0 });
    for (const id of ['a', 'b']) await store.hosts.insert(row(acme, id));
    await store.hosts.insert(row(other, 'foreign'));
    const begun = await store.hosts.stored(acme);
    assert.equal(begun.hosts, 2);
    const command = JSON.stringify('x'.repeat(1 << 20));
    await store.journal.append({ ...entry(1), hostId: 'a', command });
    const { bytes } = await store.hosts.stored(acme);
    assert.ok(bytes >= begun.bytes + (1 << 20) && bytes < begun.bytes + (2 << 20), `${bytes} after ${begun.bytes}`);
    assert.ok((await store.hosts.stored(other)).bytes < 1 << 16);
    await store.hosts.delete({ hostId: 'a', epoch: 1 });
    assert.deepEqual(await store.hosts.stored(acme), { hosts: 1, bytes: begun.bytes / 2 });
  });

  says('a host is what it was made as, whoever asks', async ({ store, other }) => {
    const { spec, ...identity } = row(await tenant(store), 'h');
    await store.hosts.insert({ ...identity, spec });
    const summary = { ...identity, diverged: null, labels: {}, expiresAt: null };
    for (const { hosts } of [store, other]) {
      assert.deepEqual(await hosts.get('h'), summary);
      assert.deepEqual(await hosts.origin('h'), { spec, diverged: null });
      assert.deepEqual([await hosts.get('x'), await hosts.origin('x')], [undefined, undefined]);
    }
    await assert.rejects(store.hosts.insert({ ...identity, spec }), StoreUnavailable);
    await assert.rejects(store.hosts.insert(row('nobody', 'orphan')), StoreUnavailable);
    assert.equal(await store.hosts.get('orphan'), undefined);
  });

  says('commands are read in the order of their sequence, a part at a time', async (subject) => {
    const { store, other } = await withHost(subject);
    const long = { ...entry(1), command: JSON.stringify('x'.repeat(2 << 20)) };
    // None waits for the one before.
    await Promise.all([long, entry(2), entry(3)].map((one) => store.journal.append(one)));
    assert.deepEqual(sequences(await readAll(other)), [1, 2, 3]);
    assert.deepEqual(sequences(await store.journal.read('h', 0)), [1]);
    assert.deepEqual(await store.journal.read('h', 3), []);
    const [second] = await store.journal.read('h', 1);
    assert.deepEqual(second, { sequence: 2, command: entry(2).command, digest: 'd2' });
    assert.deepEqual(await store.journal.read('nowhere', 0), []);
  });

  says(
    'a command that does not follow is refused, with those behind it and all that comes with it',
    async (subject) => {
      const { store } = await withHost(subject);
      const handover = { text: 'of a command that is none' };
      const asked = [entry(1), { ...entry(3), handover }, entry(4), entry(2), { ...entry(2), handover }];
      const outcomes = await Promise.allSettled(asked.map((one) => store.journal.append(one)));
      assert.deepEqual(
        outcomes.map((outcome) => (outcome.status === 'fulfilled' ? 'stored' : outcome.reason.constructor)),
        ['stored', StoreUnavailable, StoreUnavailable, 'stored', StoreUnavailable],
      );
      assert.deepEqual(sequences(await readAll(store)), [1, 2]);
      for (const sequence of [2, 3]) await assert.rejects(store.journal.handover('h', sequence), HandoverDamaged);
    },
  );

  says(
    'a request is known by its key, from when on it has led to something and as long as that is there',
    async (subject) => {
      const { store, other } = await withHost(subject);
      const [own, foreign] = [await tenant(store, 'own'), await tenant(store, 'foreign')];
      const asked = (key: string, tenantId = own) => ({ tenantId, key, fingerprint: `of ${key}` });
      await store.hosts.insert({ ...row(own, 'made'), request: asked('make') }, [], {
        sequence: 7,
        engine: 'engine',
        bytes: LARGE,
      });
      await store.journal.append({ ...entry(1), request: asked('command') });
      for (const { hosts } of [store, other]) {
        const found = { hostId: 'made', sequence: 7, fingerprint: 'of make' };
        assert.deepEqual(await hosts.requested(asked('make')), found);
        assert.deepEqual(await hosts.requested({ ...asked('command'), fingerprint: 'of another' } as never), {
          hostId: 'h',
          sequence: 1,
          fingerprint: 'of command',
        });
        assert.equal(await hosts.requested(asked('make', foreign)), undefined);
        assert.equal(await hosts.requested(asked('unknown')), undefined);
      }
      // Nothing of what comes with a key that is taken is stored, nor what was asked for behind it.
      for (const key of ['make', 'command']) {
        await assert.rejects(store.hosts.insert({ ...row(own, 'again'), request: asked(key) }), KeyTaken);
        const behind = [{ ...entry(2), request: asked(key) }, entry(3)].map((one) => store.journal.append(one));
        const [taken, next] = await Promise.allSettled(behind);
        assert.ok(taken?.status === 'rejected' && taken.reason instanceof KeyTaken);
        assert.equal(next?.status, 'rejected');
      }
      assert.equal(await store.hosts.get('again'), undefined);
      assert.deepEqual(sequences(await readAll(other)), [1]);
      await store.journal.append({ ...entry(2), request: asked('command', foreign) });
      await store.hosts.delete({ hostId: 'made', epoch: 1 });
      assert.equal(await other.hosts.requested(asked('make')), undefined);
      await store.hosts.insert({ ...row(own, 'again'), request: asked('make') });
      assert.equal((await other.hosts.requested(asked('make')))?.hostId, 'again');
    },
  );

  says('events come with what has caused them, in order, and are found by what they are', async (subject) => {
    const { store, other } = subject;
    await store.hosts.insert(row(await tenant(store), 'h'), [event(0), event(1)]);
    const late = { ...event(2), time: '20000000000000000000', kernel: 2 };
    await Promise.all([
      store.journal.append(entry(1)),
      store.journal.append({ ...entry(2), events: [event(2), late] }),
      store.journal.append({ ...entry(4), events: [event(9)] }).catch(() => {}),
    ]);
    const all = [
      { sequence: 0, index: 0, ...event(0) },
      { sequence: 0, index: 1, ...event(1) },
      { sequence: 2, index: 0, ...event(2) },
      { sequence: 2, index: 1, ...late },
    ];
    for (const { events } of [store, other]) {
      const { read } = events;
      assert.equal(await events.areStored('h'), true);
      const page = await read('h', {}, null, 10);
      assert.deepEqual(page, { events: all, reached: { sequence: 2, index: 1 }, oldest: null, missed: false });
      assert.deepEqual((await read('h', {}, { sequence: 0, index: 0 }, 2)).events, all.slice(1, 3));
      const found = async (filter: EventFilter) =>
        (await read('h', filter, null, 10)).events.map(({ data }) => data.bdf);
      assert.deepEqual(await found({ bdf: bdfOf(2) }), [bdfOf(2), bdfOf(2)]);
      assert.deepEqual(await found({ kernel: 2 }), [bdfOf(2)]);
      assert.deepEqual(await found({ kinds: ['pci.remove'], from: '1', to: '9' }), [bdfOf(1), bdfOf(2)]);
      assert.deepEqual(await found({ from: '10000000000000000000' }), [bdfOf(2)]);
      assert.deepEqual(await found({ kinds: ['boot'] }), []);
      assert.equal((await found({ hazards: [] })).length, all.length, 'no event is a hazard');
      assert.deepEqual(await read('h', { kernel: 3 }, null, 10), { ...page, events: [] });
      assert.deepEqual((await read('nowhere', {}, null, 10)).events, []);
    }
    const owner = { hostId: 'h', epoch: 1 };
    await store.events.begin(owner);
    await Promise.all([store.events.add(owner, 0, [event(3)]), store.events.add(owner, 1, [event(4)])]);
    await store.events.end(owner);
    assert.deepEqual(
      (await other.events.read('h', {}, null, 10)).events.map(({ sequence, data }) => [sequence, data.bdf]),
      [
        [0, bdfOf(3)],
        [1, bdfOf(4)],
      ],
    );
    await store.hosts.delete(owner);
    assert.deepEqual((await other.events.read('h', {}, null, 10)).events, []);
  });

  says('an owner whose epoch has passed changes nothing, in whatever way it writes', async (subject) => {
    const { store, other } = await withHost(subject);
    await store.journal.append(entry(1));
    await store.snapshots.put({ ...snapshot(1), bytes: LARGE });
    assert.equal(await other.hosts.own('h'), 2);
    assert.deepEqual(sequences(await readAll(other)), [1]);
    // The owner's, before and after the other one tries.
    await other.journal.append({ ...entry(2), epoch: 2, payload: LARGE });
    const owner = { hostId: 'h', epoch: 1 };
    for (const late of [
      () => store.journal.append(entry(2)),
      () => store.journal.append(entry(3)),
      () => store.journal.append({ ...entry(2), payload: new Uint8Array(LARGE.byteLength) }),
      () => store.journal.append({ ...entry(3), payload: new Uint8Array(LARGE.byteLength) }),
      () => store.snapshots.put({ ...snapshot(2), bytes: new Uint8Array(LARGE.byteLength) }),
      () => store.events.begin(owner),
      () => store.events.add(owner, 1, [event(1)]),
      () => store.events.end(owner),
      () => store.hosts.markDiverged(owner, DAMAGE),
      () => store.hosts.delete(owner),
    ]) {
      await assert.rejects(late, OwnerPassed);
    }
    await other.journal.append({ ...entry(3), epoch: 2 });
    const read = await readAll(store);
    assert.deepEqual(sequences(read), [1, 2, 3]);
    assert.deepEqual(Buffer.from(read[1]!.payload!), Buffer.from(LARGE));
    assert.deepEqual(await snapshots(store), [1]);
    assert.equal((await store.hosts.get('h'))?.diverged, null);
    // It may become the owner again.
    assert.equal(await store.hosts.own('h'), 3);
    await assert.rejects(other.journal.append({ ...entry(4), epoch: 2 }), OwnerPassed);
    await store.journal.append({ ...entry(4), epoch: 3 });
    assert.equal(await store.hosts.own('nowhere'), undefined);
  });

  says('what an owner has on its way when another one comes is stored before, or never', async (subject) => {
    const { store, other } = await withHost(subject);
    const asked = Array.from({ length: 20 }, (_, index) => store.journal.append(entry(index + 1)));
    const outcomes = Promise.allSettled(asked);
    const epoch = await other.hosts.own('h');
    const found = sequences(await readAll(other));
    const stored = (await outcomes).filter(({ status }) => status === 'fulfilled').length;
    assert.ok(found.length >= stored, `${stored} acknowledged, ${found.length} found`);
    await other.journal.append({ ...entry(found.length + 1), epoch: epoch! });
    assert.deepEqual(
      sequences(await readAll(store)),
      Array.from({ length: found.length + 1 }, (_, index) => index + 1),
    );
  });

  says(
    'a host that is made of another one begins with what it is, and goes on behind that',
    async ({ store, other }) => {
      const owner = await tenant(store);
      for (const [id, bytes] of [
        ['small', new Uint8Array([1, 2, 3])],
        ['large', LARGE],
      ] as const) {
        await store.hosts.insert(row(owner, id), [event(0)], { sequence: 7, engine: 'e', bytes });
        const found = await other.snapshots.before(id, 8);
        assert.ok(found !== undefined && 'bytes' in found);
        assert.deepEqual([found.sequence, found.engine], [7, 'e']);
        assert.deepEqual(Buffer.from(found.bytes), Buffer.from(bytes));
        assert.equal(await other.hosts.end(id), 7);
        const { events } = await other.events.read(id, {}, null, 10);
        assert.deepEqual(
          events.map(({ sequence, index }) => [sequence, index]),
          [[7, 0]],
        );
        await assert.rejects(store.journal.append({ ...entry(1), hostId: id }), StoreUnavailable);
        await store.journal.append({ ...entry(8), hostId: id });
        assert.deepEqual(sequences(await other.journal.read(id, 7)), [8]);
      }
      await assert.rejects(
        store.hosts.insert(row('nobody', 'orphan'), [], { sequence: 7, engine: 'e', bytes: LARGE }),
        StoreUnavailable,
      );
      assert.equal(await other.hosts.get('orphan'), undefined);
    },
  );

  says('handovers come with their command, as they were', async (subject) => {
    const { store, other } = await withHost(subject);
    const texts = ['{"sessions":[]}', '', null, 'x'.repeat(100_000)];
    for (const [index, text] of texts.entries()) {
      await store.journal.append({ ...entry(index + 1, 'kexec.freeze'), handover: { text } });
      assert.deepEqual(await other.journal.handover('h', index + 1), { text });
    }
    await assert.rejects(store.journal.handover('h', 9), HandoverDamaged);
    await assert.rejects(store.journal.handover('nowhere', 1), HandoverDamaged);
  });

  says('hosts whose last freeze was not followed by a boot are found', async ({ store }) => {
    const owner = await tenant(store);
    const ops = {
      fresh: [],
      booted: ['kexec.freeze', 'device.dma', 'kexec.boot'],
      frozen: ['clock.advance', 'kexec.freeze'],
      'frozen-dma': ['kexec.freeze', 'kexec.boot', 'kexec.freeze', 'device.dma'],
    };
    for (const [hostId, commands] of Object.entries(ops)) {
      await store.hosts.insert(row(owner, hostId));
      for (const [index, op] of commands.entries()) {
        const handover = op === 'kexec.freeze' ? { handover: { text: null } } : {};
        await store.journal.append({ ...entry(index + 1, op), hostId, ...handover });
      }
    }
    assert.deepEqual((await store.journal.unbooted()).sort(), ['frozen', 'frozen-dma']);
  });

  says('payloads come back as they were, small and large', async (subject) => {
    const { store, other } = await withHost(subject);
    const payloads = [new Uint8Array(), new Uint8Array([1, 2, 3]), LARGE, undefined];
    for (const [index, payload] of payloads.entries()) {
      await store.journal.append({ ...entry(index + 1), ...(payload && { payload }) });
    }
    const read = await readAll(other);
    for (const [index, payload] of payloads.entries()) {
      const found = read[index]!.payload;
      assert.deepEqual(found && Buffer.from(found), payload && Buffer.from(payload));
    }
  });

  says('two snapshots are kept, the newest ones, small and large', async (subject) => {
    const { store, other } = await withHost(subject);
    assert.equal(await store.snapshots.before('h', 99), undefined);
    for (const sequence of [1, 2, 3]) {
      await store.journal.append(entry(sequence));
      await store.snapshots.put({ ...snapshot(sequence), bytes: sequence === 2 ? LARGE : new Uint8Array([sequence]) });
    }
    assert.deepEqual(await snapshots(other), [3, 2]);
    const [newest, older] = [await other.snapshots.before('h', 99), await other.snapshots.before('h', 3)];
    assert.ok(newest !== undefined && 'bytes' in newest && older !== undefined && 'bytes' in older);
    assert.deepEqual([newest.engine, Buffer.from(newest.bytes)], ['engine', Buffer.from([3])]);
    assert.deepEqual(Buffer.from(older.bytes), Buffer.from(LARGE));
    await store.journal.append(entry(4));
    assert.deepEqual(sequences(await readAll(store)).slice(-1), [4]);
  });

  says('a mark of divergence stays', async (subject) => {
    const { store, other } = await withHost(subject);
    assert.equal((await other.hosts.get('h'))?.diverged, null);
    await store.hosts.markDiverged({ hostId: 'h', epoch: 1 }, DAMAGE);
    const origin = await other.hosts.origin('h');
    assert.deepEqual([(await other.hosts.get('h'))?.diverged, origin?.diverged], [DAMAGE, DAMAGE]);
  });

  says(
    'a host that is deleted is gone with all that was stored of it, and another one may have its id',
    async (subject) => {
      const { store, other } = await withHost(subject);
      await store.journal.append({ ...entry(1, 'kexec.freeze'), handover: { text: 'old' }, payload: LARGE });
      await store.snapshots.put({ ...snapshot(1), bytes: LARGE });
      assert.equal((await other.hosts.get('h'))?.id, 'h');
      await store.hosts.delete({ hostId: 'h', epoch: 1 });
      const gone = async (): Promise<void> => {
        assert.deepEqual(await readAll(other), []);
        assert.deepEqual([await snapshots(other), await other.journal.unbooted()], [[], []]);
        await assert.rejects(other.journal.handover('h', 1), HandoverDamaged);
      };
      await gone();
      assert.deepEqual([await store.hosts.get('h'), await other.hosts.get('h')], [undefined, undefined]);
      assert.equal(await other.hosts.own('h'), undefined);
      for (const late of [
        () => store.journal.append(entry(2)),
        () => store.snapshots.put({ ...snapshot(1), bytes: LARGE }),
        () => store.hosts.markDiverged({ hostId: 'h', epoch: 1 }, DAMAGE),
        () => store.hosts.delete({ hostId: 'h', epoch: 1 }),
      ]) {
        await assert.rejects(late, OwnerPassed);
      }
      await store.hosts.insert(row((await store.tenants.findByName('acme'))!.id, 'h'));
      await gone();
      await store.journal.append(entry(1));
      assert.deepEqual(sequences(await readAll(other)), [1]);
    },
  );

  says('damage of what is read is told, and harms nothing else', async (subject) => {
    const { store, other, damage } = await withHost(subject);
    await store.journal.append({ ...entry(1, 'kexec.freeze'), handover: { text: '{"sessions":[1,2,3]}' } });
    await store.journal.append({ ...entry(2, 'kexec.freeze'), handover: { text: '{"sessions":[1,2,3]}' } });
    await store.journal.append({ ...entry(3), payload: LARGE });
    await store.journal.append({ ...entry(4), payload: LARGE });
    await store.snapshots.put({ ...snapshot(3), bytes: LARGE });
    await store.snapshots.put({ ...snapshot(4), bytes: LARGE });
    for (const what of ['handover', 'payload', 'snapshot', 'spec'] as const) damage(what, 'h');
    await assert.rejects(other.journal.handover('h', 2), HandoverDamaged);
    assert.deepEqual(await other.journal.handover('h', 1), { text: '{"sessions":[1,2,3]}' });
    const [, , third, fourth] = await readAll(other);
    assert.deepEqual([third?.damaged, third?.payload?.byteLength], [undefined, LARGE.byteLength]);
    assert.deepEqual([typeof fourth?.damaged, fourth?.payload], ['string', undefined]);
    const [newest, older] = [await other.snapshots.before('h', 99), await other.snapshots.before('h', 4)];
    assert.ok(newest !== undefined && 'damaged' in newest && older !== undefined && 'bytes' in older);
    assert.deepEqual([newest.sequence, newest.engine], [4, 'engine']);
    const origin = await other.hosts.origin('h');
    assert.ok(origin !== undefined && 'damaged' in origin);
    assert.equal((await other.hosts.get('h'))?.name, 'host h');
    assert.equal(await other.hosts.own('h'), 2);
    await other.hosts.delete({ hostId: 'h', epoch: 2 });
  });

  says('a command or an event that is another one by now is told, and what is before it is read', async (subject) => {
    const { store, other, damage } = await withHost(subject);
    await store.journal.append({ ...entry(1), events: [event(1), event(2)] });
    await store.journal.append({ ...entry(2), events: [event(3)] });
    damage('command', 'h');
    damage('event', 'h');
    const [first, second] = await readAll(other);
    assert.deepEqual(first, { sequence: 1, command: entry(1).command, digest: 'd1' });
    assert.equal(typeof second?.damaged, 'string');
    for (const filter of [{}, { kernel: 1 }]) {
      const page = await other.events.read('h', filter, null, 10);
      assert.deepEqual([page.events.length, page.reached], [2, { sequence: 1, index: 1 }]);
      await assert.rejects(other.events.read('h', filter, page.reached, 10), StoreDamaged);
      assert.deepEqual((await other.events.read('h', filter, { sequence: 2, index: 0 }, 10)).events, []);
    }
  });

  says('how far a host was stored is known, whatever becomes of its commands', async (subject) => {
    const { store, other, damage } = await withHost(subject);
    assert.deepEqual([await store.hosts.end('h'), await store.hosts.end('nowhere')], [0, 0]);
    for (const sequence of [1, 2, 3]) await store.journal.append(entry(sequence));
    damage('end', 'h');
    assert.deepEqual([sequences(await readAll(other)), await other.hosts.end('h')], [[1, 2], 3]);
    await other.hosts.delete({ hostId: 'h', epoch: 1 });
    assert.equal(await other.hosts.end('h'), 0);
  });

  says('an inspection tells what is hurt, of which host, and nothing else', async (subject) => {
    const { store, damage } = subject;
    const hurt = {
      spec: 'description',
      command: 'journal',
      payload: 'journal',
      end: 'end',
      handover: 'handover',
      snapshot: 'snapshot',
      event: 'events',
    } as const;
    const owner = await tenant(store);
    const ids = [...Object.keys(hurt), 'whole', 'gone'];
    for (const hostId of ids) {
      await store.hosts.insert(row(owner, hostId), [event(0)]);
      const freeze = { ...entry(1, 'kexec.freeze'), handover: { text: '{"sessions":[1,2,3]}' } };
      for (const one of [freeze, { ...entry(2), payload: LARGE }, entry(3)])
        await store.journal.append({ ...one, hostId, events: [event(one.sequence)] });
      await store.snapshots.put({ ...snapshot(1), hostId, bytes: LARGE });
    }
    await store.hosts.delete({ hostId: 'gone', epoch: 1 });
    const inspect = async (): Promise<string[]> => {
      const found: string[] = [];
      await store.inspect(({ hostId, kind, what }) => {
        assert.match(what, /[a-z]/);
        found.push(`${hostId} ${kind}`);
      });
      return found.sort();
    };
    assert.equal(store.damage.inspected, false);
    assert.deepEqual(await inspect(), []);
    assert.equal(store.damage.inspected, true);
    for (const what of Object.keys(hurt) as (keyof typeof hurt)[]) damage(what, what);
    assert.deepEqual(
      await inspect(),
      Object.entries(hurt)
        .map((one) => one.join(' '))
        .sort(),
    );
  });

  says('a store that can be used says so, and one that is gone does at every door', async ({ store }) => {
    const owner = await tenant(store);
    await store.check();
    await store.close();
    for (const ask of [
      () => store.check(),
      () => store.tenants.list(10),
      () => store.tenants.get('t'),
      () => store.tenants.setQuotas('t', {}),
      () => store.hosts.stored('t'),
      () => store.tenants.findByName('acme'),
      () => store.tenants.create('a', 'b'),
      () => store.hosts.get('h'),
      () => store.hosts.origin('h'),
      () => store.hosts.list(owner, 10),
      () => store.hosts.own('h'),
      () => store.hosts.insert(row(owner, 'h')),
      () => store.journal.read('h', 0),
      () => store.journal.handover('h', 1),
      () => store.journal.unbooted(),
      () => store.journal.append(entry(1)),
      () => store.snapshots.before('h', 1),
      () => store.snapshots.put({ ...snapshot(1), bytes: LARGE }),
    ]) {
      await assert.rejects(ask, StoreUnavailable, String(ask));
    }
  });
}

async function tenant({ tenants }: Contract, name = 'acme'): Promise<string> {
  return (await tenants.create(name, hashKey(`key of ${name}`))).id;
}

function row(tenantId: string, id: string, created = '2026-01-01T00:00:00.000Z'): HostRow {
  return { id, tenantId, name: `host ${id}`, spec: SPEC, created };
}

async function withHost(subject: Subject): Promise<Subject> {
  await subject.store.hosts.insert(row(await tenant(subject.store), 'h'));
  return subject;
}

function entry(sequence: number, op = 'clock.advance'): JournalEntry {
  return { hostId: 'h', epoch: 1, sequence, command: JSON.stringify({ op }), digest: `d${sequence}` };
}

const snapshot = (sequence: number) => ({ hostId: 'h', epoch: 1, sequence, engine: 'engine' });

async function readAll({ journal }: HostStore): Promise<StoredCommand[]> {
  const commands: StoredCommand[] = [];
  for (;;) {
    const more = await journal.read('h', commands.at(-1)?.sequence ?? 0);
    if (more.length === 0) return commands;
    commands.push(...more);
  }
}

const sequences = (commands: readonly StoredCommand[]): number[] => commands.map(({ sequence }) => sequence);

/** Sequences of those that are kept, the newest first. */
async function snapshots(store: HostStore): Promise<number[]> {
  const found: number[] = [];
  for (let before = 1000; ; ) {
    const next = await store.snapshots.before('h', before);
    if (next === undefined) return found;
    found.push(next.sequence);
    before = next.sequence;
  }
}
