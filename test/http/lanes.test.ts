import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AnswerLost, LaneBusy, ThreadDied } from '../../src/lanes/errors.ts';
import { OwnerPassed } from '../../src/store/store.ts';
import { fixture, HOST } from './fixture.ts';

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
