/** The log of a host by HTTP: pages, filters, waits, streams, and what is told to those who come too late. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { EmittedEvent } from '../../src/host/command.ts';
import type { HostEvent } from '../../src/host/views.ts';
import { EVENTS } from '../../src/kernel/events.ts';
import { ThreadDied } from '../../src/lanes/errors.ts';
import { DEFAULTS } from '../../src/quotas.ts';
import { connectForWriting } from '../../src/store/sqlite/database.ts';
import { GroupWriter } from '../../src/store/sqlite/writer.ts';
import { openStream, take } from '../support/event-stream.ts';
import { ADMIN_KEY, type Fixture, fixture, HOST, KEY, OTHER_HOST, OTHER_KEY, pointers } from './fixture.ts';

const LOG = `/v1/hosts/${HOST}/events`;
const CLOCK = `/v1/hosts/${HOST}/clock`;
const D1 = '0000:01:00.0';
const D2 = '0000:02:00.0';

const fault = (bdf: string, time = '1000', kernel = 1): EmittedEvent => ({
  time,
  kernel,
  kind: 'dma.fault',
  message: `${bdf}: read of 0x1000 is refused: not-mapped`,
  data: { bdf, reason: 'not-mapped', op: 'read', iova: '0x1000' },
});

const reset = (bdf: string, time: string): EmittedEvent => ({
  time,
  kernel: 2,
  kind: 'pci.reset',
  message: `${bdf} is reset (sysfs)`,
  data: { bdf, why: 'sysfs' },
});

const crash = (time: string): EmittedEvent => ({ time, kernel: 2, kind: 'crash', message: 'it crashes', data: {} });

const hazard = (time: string, data: EmittedEvent['data']): EmittedEvent => ({
  time,
  kernel: 2,
  kind: 'hazard',
  message: 'something that no errno tells',
  data,
});

interface Lab extends Fixture {
  url: string;
  /** Stores the next command, with what it has emitted. */
  emit(...events: EmittedEvent[]): Promise<void>;
  ids(query?: string): Promise<string[]>;
}

async function lab(t: TestContext): Promise<Lab> {
  const made = await fixture(t);
  const url = await made.app.listen({ host: '127.0.0.1', port: 0 });
  let sequence = 0;
  return {
    ...made,
    url,
    emit: (...events) =>
      made.store.journal.append({ hostId: HOST, epoch: 1, sequence: ++sequence, command: '{}', digest: '', events }),
    async ids(query = '') {
      const { status, body, text } = await made.ask('get', `${LOG}?${query}`);
      assert.equal(status, 200, text);
      return (body.items as HostEvent[]).map(({ id }) => id);
    },
  };
}

/** So many, of one command: what it can emit at most is less. */
const many = (count: number): EmittedEvent[] => Array.from({ length: count }, () => fault(D2));

test('events have ids that last, and are read page by page from wherever one has been', async (t) => {
  const { ask, emit, ids } = await lab(t);
  await emit(fault(D1), fault(D2));
  await emit();
  await emit(fault(D1));
  const first = await ask('get', `${LOG}?limit=2`);
  assert.deepEqual(first.body, {
    items: [D1, D2].map((bdf, index) => ({ id: `1-${index}`, sequence: 1, index, severity: 'warning', ...fault(bdf) })),
    nextPageToken: '1-1',
  });
  assert.deepEqual((await ask('get', `${LOG}?limit=2&after=1-1`)).body.nextPageToken, null);
  const cases = { '': 3, 'after=0': 3, 'after=0-7': 3, 'after=1-0': 2, 'after=1': 1, 'after=2': 1, 'after=3': 0 };
  for (const [query, count] of Object.entries(cases)) assert.equal((await ids(query)).length, count, query);
  assert.deepEqual(await ids('after=1-0'), ['1-1', '3-0']);
});

test('events are filtered by kind, device, kernel, severity and simulated time, and by all of these together', async (t) => {
  const { emit, ids } = await lab(t);
  const LATE = '20000000000000000000';
  await emit(fault(D1, '999'), fault(D2, '1000'));
  await emit(reset(D1, '1001'));
  await emit(crash(LATE));
  const cases: Record<string, string[]> = {
    'kind=dma.fault': ['1-0', '1-1'],
    'kind=dma.fault&kind=crash': ['1-0', '1-1', '3-0'],
    'bdf=01:00.0': ['1-0', '2-0'],
    'kernel=2': ['2-0', '3-0'],
    'severity=info': ['1-0', '1-1', '2-0', '3-0'],
    'severity=warning': ['1-0', '1-1', '3-0'],
    'severity=error&kind=dma.fault': [],
    'from=1000': ['1-1', '2-0', '3-0'],
    'to=1000': ['1-0', '1-1'],
    'from=0001000&to=1001': ['1-1', '2-0'],
    [`from=${LATE}`]: ['3-0'],
    'bdf=0000:01:00.0&kind=pci.reset&kernel=2&severity=notice&from=1&to=9999': ['2-0'],
    'kind=dma.fault&after=1-0': ['1-1'],
    'kind=dma.fault&limit=1': ['1-0'],
  };
  for (const [query, expected] of Object.entries(cases)) assert.deepEqual(await ids(query), expected, query);
});

test('hazards are filtered by their names, and by the severity that each has', async (t) => {
  const { ask, emit, ids } = await lab(t);
  await emit(hazard('1', { hazard: 'replace-window', group: 3 }));
  await emit(fault(D1), hazard('2', { hazard: 'stray-write', bdf: D1, frame: 7 }));
  await emit(hazard('3', { hazard: 'session-lost', session: 'vm1' }));
  const cases: Record<string, string[]> = {
    'kind=hazard': ['1-0', '2-1', '3-0'],
    'hazard=stray-write': ['2-1'],
    'hazard=stray-write&hazard=replace-window': ['1-0', '2-1'],
    'hazard=replace-window&severity=error': [],
    'hazard=stray-write&kind=dma.fault': [],
    'hazard=never-adopted': [],
    'severity=error': ['2-1', '3-0'],
    'severity=warning': ['1-0', '2-0', '2-1', '3-0'],
    'severity=error&bdf=01:00.0': ['2-1'],
  };
  for (const [query, expected] of Object.entries(cases)) assert.deepEqual(await ids(query), expected, query);
  const { items } = (await ask('get', `${LOG}?kind=hazard`)).body as { items: HostEvent[] };
  assert.deepEqual(
    items.map(({ severity }) => severity),
    ['warning', 'error', 'error'],
  );
});

test('what cannot be asked for is named, and of kinds also the one that may have been meant', async (t) => {
  const { ask } = await lab(t);
  const cases: [string, string, RegExp][] = [
    ['kind=dma.fualt', '/kind/0', /one of boot, .*; did you mean `dma\.fault`\?/],
    ['kind=boot&kind=hasard', '/kind/1', /did you mean `hazard`/],
    ['hazard=session-lots', '/hazard/0', /did you mean `session-lost`/],
    ['severity=bad', '/severity', /info, notice, warning, error/],
    ['bdf=eth0', '/bdf', /not a PCI address/],
    ['kernel=0', '/kernel', /from 1 to/],
    ['from=soon', '/from', /nanoseconds/],
    ['to=-1', '/to', /nanoseconds/],
    ['after=here', '/after', /the id of an event such as 12-0/],
    ['after=1-2-3', '/after', /the id of an event/],
    ['wait=10', '/wait', /such as 10s/],
    ['wait=61s', '/wait', /0s to 60s/],
    ['colour=red', '/colour', /unknown field/],
  ];
  for (const [query, pointer, reason] of cases) {
    const { status, body } = await ask('get', `${LOG}?${query}`);
    assert.equal(status, 400, query);
    assert.deepEqual(pointers(body), [pointer], query);
    assert.match(body.errors[0].reason, reason);
  }
  const answer = await ask('get', LOG).set('accept', 'text/event-stream').set('last-event-id', 'here');
  assert.deepEqual([answer.status, answer.headers['content-type']], [400, 'application/problem+json']);
  assert.match(answer.body.detail, /Last-Event-ID.*12-0/);
});

test('a wait ends with the first event that fits, and otherwise empty when its time is over', async (t) => {
  const { ask, emit, lanes } = await lab(t);
  await emit(fault(D1));
  const there = await ask('get', `${LOG}?wait=60s`);
  assert.equal(there.body.items.length, 1);
  const begun = performance.now();
  assert.deepEqual((await ask('get', `${LOG}?after=1&wait=50ms`)).body, { items: [], nextPageToken: null });
  assert.ok(performance.now() - begun >= 49);
  lanes.onCommand = async () => {
    await emit(lanes.commands.length === 1 ? fault(D2) : fault(D1));
    return { kind: 'ok', value: { now: '1' } };
  };
  const waiting = ask('get', `${LOG}?after=1&bdf=${D1}&wait=60s`).then(({ body }) => body.items[0].id);
  await ask('post', CLOCK, { advance: 1 });
  await ask('post', CLOCK, { advance: 1 });
  assert.equal(await waiting, '3-0');
});

test('what a lane has stored before it died wakes those who wait, too', async (t) => {
  const { ask, emit, lanes } = await lab(t);
  lanes.onCommand = () => Promise.reject(new ThreadDied('lane 0 ended'));
  lanes.onQuery = async () => {
    await emit(fault(D1));
    return { kind: 'ok', value: [] };
  };
  const waiting = ask('get', `${LOG}?wait=60s`).then(({ body }) => body.items[0].id);
  assert.equal((await ask('post', CLOCK, { advance: 1 })).status, 503);
  assert.equal(await waiting, '1-0');
});

test('whoever waits for a host that is deleted hears that it is gone', async (t) => {
  const { ask } = await lab(t);
  const waiting = ask('get', `${LOG}?wait=60s`).then(({ status }) => status);
  await ask('delete', `/v1/hosts/${HOST}`);
  assert.equal(await waiting, 404);
});

test('a stream tells what is there and then what happens, and goes on where it was cut off', async (t) => {
  const { ask, emit, lanes, url } = await lab(t);
  lanes.onCommand = async () => {
    await emit(fault(D1), fault(D2));
    return { kind: 'ok', value: { now: '1' } };
  };
  await emit(fault(D1), fault(D2));
  const stream = await openStream(`${url}${LOG}`, KEY, { query: `bdf=${D2}` });
  assert.equal(stream.headers.get('content-type'), 'text/event-stream');
  const messages = take(stream, 2);
  await ask('post', CLOCK, { advance: 1 });
  const seen = await messages;
  assert.deepEqual(
    seen.map(({ id }) => id),
    ['1-1', '2-1'],
  );
  assert.deepEqual(seen[0]!.data, (await ask('get', `${LOG}?after=1-0&limit=1`)).body.items[0]);
  stream.cut();
  await ask('post', CLOCK, { advance: 1 });
  // An EventSource comes back with the parameters that it began with.
  const again = await openStream(`${url}${LOG}`, KEY, { query: `bdf=${D2}&after=0`, lastEventId: '2-1' });
  const [next] = await take(again, 1);
  assert.equal(next?.id, '3-1');
  again.cut();
  const head = await ask('head', LOG).set('accept', 'text/event-stream');
  assert.equal(head.status, 200);
});

test('streams come to their end when the host is deleted, and when the service stops', async (t) => {
  const { app, ask, emit, url } = await lab(t);
  await emit(fault(D1));
  const one = await openStream(`${url}${LOG}`, KEY);
  const other = await openStream(`${url}/v1/hosts/${OTHER_HOST}/events`, OTHER_KEY);
  const all = take(one, 100);
  const none = take(other, 100);
  await ask('delete', `/v1/hosts/${HOST}`);
  assert.equal((await all).length <= 1, true);
  const waiting = ask('get', `/v1/hosts/${OTHER_HOST}/events?wait=60s`, undefined, OTHER_KEY).then(({ body }) => body);
  // It has been begun when another request is answered.
  await ask('get', `/v1/hosts/${OTHER_HOST}/events`, undefined, OTHER_KEY);
  const begun = performance.now();
  await app.close();
  assert.ok(performance.now() - begun < 4000, 'nobody was waited for');
  assert.deepEqual(await none, []);
  assert.deepEqual(await waiting, { items: [], nextPageToken: null });
});

test('a person can read it: a line an event under its kernel, and nothing that a terminal would obey', async (t) => {
  const { ask, emit } = await lab(t);
  await emit(fault(D1, '1000'));
  await emit({ ...crash('61000002999'), message: 'session "\u001b[2J\u009b" is gone' });
  const { text, headers } = await ask('get', LOG).set('accept', 'text/plain, */*;q=0.1');
  assert.equal(headers['content-type'], 'text/plain; charset=utf-8');
  assert.equal(
    text,
    `kernel 1
     0.000001  1-0  warning  dma.fault         0000:01:00.0: read of 0x1000 is refused: not-mapped

kernel 2
    61.000002  2-0  error    crash             session "\\x1b[2J\\x9b" is gone
`,
  );
  assert.match((await ask('get', `${LOG}?limit=1`).set('accept', 'text/plain')).text, /\n\(more: after=1-0\)\n$/);
  for (const accept of ['application/json, text/plain, */*', '*/*', 'text/plain;q=0, */*'])
    assert.equal((await ask('get', LOG).set('accept', accept)).type, 'application/json', accept);
});

test('whoever comes too late for what is kept is told so, and where to go on', async (t) => {
  const { ask, emit, ids, store, url } = await lab(t);
  await emit(fault(D1));
  await emit(...many(2500));
  assert.deepEqual(await ids('limit=1'), ['1-0']);
  // As the writer does it where there are too many.
  const database = connectForWriting(store.directory, 'process');
  await new GroupWriter(database).write({ kind: 'events.prune', owner: { hostId: HOST, epoch: 1 } });
  database.close();
  assert.deepEqual(await ids('limit=1'), ['2-999']);
  assert.deepEqual(await ids('limit=1&after=0'), ['2-999']);
  assert.deepEqual(await ids('limit=1&after=2-998'), ['2-999'], 'nothing is missing behind this one');
  for (const place of ['1-0', '1', '2-997', '2-0']) {
    const { status, body } = await ask('get', `${LOG}?after=${place}&wait=10s`);
    assert.deepEqual([status, body.type, body.oldest], [410, '/problems/gone', '2-999'], place);
    assert.match(body.detail, /2-999/);
  }
  const late = await openStream(`${url}${LOG}`, KEY, { lastEventId: '1-0' });
  const [gap, next] = await take(late, 2);
  assert.deepEqual([gap?.event, gap?.id, gap?.data], ['gap', undefined, { oldest: '2-999' }]);
  assert.equal(next?.id, '2-999');
  late.cut();
  assert.match(
    (await ask('get', LOG).set('accept', 'text/plain')).text,
    /^\(what came before 2-999 is no longer kept\)/,
  );
});

test('a tenant has so many requests waiting and no more, and may have others when these have ended', async (t) => {
  const { ask, url } = await lab(t);
  const open = () => openStream(`${url}${LOG}`, KEY);
  const streams = await Promise.all(Array.from({ length: DEFAULTS.streams }, open));
  assert.deepEqual(new Set(streams.map(({ status }) => status)), new Set([200]));
  const refused = await ask('get', `${LOG}?wait=1s`);
  assert.deepEqual([refused.status, refused.body.type], [429, '/problems/too-many-waiting']);
  assert.equal(refused.headers['retry-after'], '1');
  assert.equal((await open()).status, 429);
  assert.equal((await ask('get', LOG)).status, 200);
  const other = await ask('get', `/v1/hosts/${OTHER_HOST}/events?wait=1ms`, undefined, OTHER_KEY);
  assert.equal(other.status, 200);
  for (const stream of streams) stream.cut();
  // The service hears of it when the connections are closed.
  while ((await ask('get', `${LOG}?wait=1ms`)).status === 429) await setImmediate();
});

test('a client that does not read makes nothing grow, and its place is free when it goes', async (t) => {
  const { app, ask, emit, store, url } = await lab(t);
  const EVENTS_THERE = 10_000;
  // Twice of what the system holds for a connection.
  const message = 'x'.repeat(2000);
  await emit(...many(EVENTS_THERE).map((event) => ({ ...event, message })));
  let read = 0;
  const { read: readEvents } = store.events;
  store.events.read = async (...rest) => {
    const page = await readEvents(...rest);
    read += page.events.length;
    return page;
  };
  const { port } = app.server.address() as AddressInfo;
  const socket = connect({ port, host: '127.0.0.1' });
  t.after(() => socket.destroy());
  await once(socket, 'connect');
  socket.pause();
  socket.write(`GET ${LOG} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${KEY}\r\naccept: text/event-stream\r\n\r\n`);
  // What the system holds for it is full when another one has been told everything.
  const other = await openStream(`${url}${LOG}`, KEY);
  assert.equal((await take(other, EVENTS_THERE)).length, EVENTS_THERE);
  assert.ok(read < 1.9 * EVENTS_THERE, `${read} events were read, most of the second half for nobody`);
  const others = await Promise.all(
    Array.from({ length: DEFAULTS.streams - 1 }, () => openStream(`${url}${LOG}`, KEY, { query: 'after=99' })),
  );
  assert.equal((await ask('get', `${LOG}?wait=1ms&after=99`)).status, 429);
  socket.destroy();
  while ((await ask('get', `${LOG}?wait=1ms&after=99`)).status === 429) await setImmediate();
  for (const stream of others) stream.cut();
});

test('others have their turns while very many events are looked through for one that fits', async (t) => {
  const { ask, emit, ids } = await lab(t);
  await emit(...many(30_000));
  await emit(fault(D1));
  let turns = 0;
  let looking = true;
  const others = (async () => {
    for (; looking; turns++) await setImmediate();
  })();
  assert.deepEqual(await ids(`bdf=${D1}`), ['2-0']);
  looking = false;
  await others;
  assert.ok(turns > 15, `${turns} turns`);
  assert.equal((await ask('get', `${LOG}?bdf=${D1}&limit=1`)).body.nextPageToken, null);
});

test('a log is for its tenant alone', async (t) => {
  const { ask } = await lab(t);
  for (const key of [OTHER_KEY, ADMIN_KEY, null]) {
    const { status } = await ask('get', LOG, undefined, key).set('accept', 'text/event-stream');
    assert.ok([401, 403, 404].includes(status), `${key}: ${status}`);
  }
});

test('every kind says what it is', () => {
  for (const [kind, { about }] of Object.entries(EVENTS)) assert.match(about, /\.$/, kind);
});
