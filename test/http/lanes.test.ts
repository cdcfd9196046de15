import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AnswerLost, HostDamaged, HostSetAside, LaneBusy, ThreadDied } from '../../src/lanes/errors.ts';
import { OwnerPassed } from '../../src/store/store.ts';
import { SPEC } from '../lanes/fake-host.ts';
import { fixture, HOST, OTHER_HOST } from './fixture.ts';

test('a lane that has too much to do, and one that died, answer 503 with Retry-After, and say what has happened', async (t) => {
  const { ask, lanes } = await fixture(t);
  for (const [error, detail] of [
    [new LaneBusy('4096 requests wait already, 4000 of them of this host'), /4096 requests wait.*Nothing has changed/],
    [new OwnerPassed('host h is at epoch 3, not 2'), /Another part of the service.*Nothing has changed/],
    [new ThreadDied('lane 1 ended'), /has happened or has not, but never half/],
  ] as const) {
    lanes.onCommand = () => {
      throw error;
    };
    const { status, headers, body } = await ask('post', `/v1/hosts/${HOST}/crash`);
    assert.equal(status, 503);
    assert.equal(headers['retry-after'], '1');
    assert.equal(body.type, '/problems/unavailable');
    assert.match(body.detail, detail);
  }
});

test('an answer that is lost on its way says that what was asked is done', async (t) => {
  const { ask, lanes } = await fixture(t);
  lanes.onCommand = () => {
    throw new AnswerLost('Invalid string length');
  };
  const { status, body } = await ask('post', `/v1/hosts/${HOST}/crash`);
  assert.equal(status, 500);
  assert.match(body.detail, /is done.*Invalid string length/);
});

test('a host that is set aside says so, shows what it was made as, takes nothing, and is tried again when that is asked', async (t) => {
  const { ask, lanes } = await fixture(t);
  const view = { state: 'running', digest: 'd' };
  const setAside = { reason: 'the host has ended the thread that ran it', since: '2026-01-31T12:00:00.000Z' };
  const refuse = (): never => {
    throw new HostSetAside(setAside.reason);
  };
  lanes.onQuery = () => (lanes.aside.has(HOST) ? refuse() : { kind: 'ok', value: view });
  lanes.onCommand = () => (lanes.aside.has(HOST) ? refuse() : { kind: 'ok', value: {} });
  lanes.aside.set(HOST, setAside);
  const known = { id: HOST, name: 'one', created: '2026-01-31T12:00:00.000Z', labels: {}, expiresAt: null };
  const identity = { ...known, diverged: null, damage: null };
  assert.deepEqual((await ask('get', `/v1/hosts/${HOST}`)).body, { ...identity, setAside, spec: SPEC });
  assert.deepEqual((await ask('get', '/v1/hosts')).body.items, [
    { ...identity, setAside, state: null, kernel: null, hazards: 0 },
  ]);
  for (const answer of [await ask('post', `/v1/hosts/${HOST}/crash`), await ask('get', `/v1/hosts/${HOST}/devices`)]) {
    assert.deepEqual([answer.status, answer.body.type], [409, '/problems/set-aside']);
    assert.equal(answer.body.detail, 'The host has ended the thread that ran it.');
  }
  assert.equal((await ask('get', `/v1/hosts/${HOST}/events`)).status, 200);

  lanes.pause = 61_500;
  const early = await ask('post', `/v1/hosts/${HOST}/retry`);
  assert.deepEqual([early.status, early.headers['retry-after']], [409, '62']);
  assert.match(early.body.detail, /may be tried again in 62 s/);
  lanes.pause = 0;
  const retried = await ask('post', `/v1/hosts/${HOST}/retry`);
  assert.deepEqual([retried.status, retried.body], [200, { ...identity, setAside: null, ...view }]);
  assert.equal((await ask('post', `/v1/hosts/${OTHER_HOST}/retry`)).status, 404);
});

test('a host of which too much is damaged is shown as what is left of it, until it is deleted', async (t) => {
  const { ask, lanes, store } = await fixture(t);
  lanes.onQuery = () => Promise.reject(new HostDamaged('the host cannot be run: all is lost'));
  store.damage.add({ hostId: HOST, kind: 'description', what: 'all is lost' });
  const { body } = await ask('get', `/v1/hosts/${HOST}`);
  assert.deepEqual([body.damage.length, body.damage[0].what, 'state' in body], [1, 'all is lost', false]);
  const { status, body: problem } = await ask('get', `/v1/hosts/${HOST}/devices`);
  assert.deepEqual([status, problem.type], [500, '/problems/damaged']);
  assert.equal((await ask('delete', `/v1/hosts/${HOST}`)).status, 204);
  assert.deepEqual(store.damage.all, []);
  assert.equal((await ask('get', `/v1/hosts/${HOST}`)).status, 404);
});

test('a host that the database has lost is not answered as one that never was', async (t) => {
  const { ask, store } = await fixture(t);
  store.damage.add({ hostId: 'h-lost', kind: 'host', what: 'host h-lost was stored and is gone' });
  const { status, body } = await ask('get', '/v1/hosts/h-lost/devices');
  assert.deepEqual([status, body.type, body.detail], [500, '/problems/damaged', 'Host h-lost was stored and is gone.']);
  assert.equal((await ask('get', '/v1/hosts/h-never')).status, 404);
});
