/** What the fuzz test holds for a fault, and what not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PROBLEM_JSON, Problem } from '../../src/http/problems.ts';
import { faultOf } from './answers.ts';
import type { Answer, Sent } from './wire.ts';

const SENT: Sent = { method: 'POST', target: '/v1/hosts/h-one/crash?x', headers: [] };
const SLOW_MS = 2000;

function answer(problem: Problem, changed: Partial<Answer> = {}, headers: Record<string, string> = {}): Answer {
  const all = { 'content-type': PROBLEM_JSON, ...problem.extras.headers, ...headers };
  const text = JSON.stringify(problem.document('req-1'));
  return { status: problem.status, headers: new Map(Object.entries(all)), text, milliseconds: 1, ...changed };
}

const NOT_FOUND = new Problem('not-found', 'There is no such host.');
const BUSY = new Problem('unavailable', 'Not now.', { headers: { 'retry-after': '1' } });
const REFUSED = new Problem('kernel-conflict', 'No.', { kernel: { errno: 'EIO', where: 'reboot' } });

test('answers that are as documented are none', () => {
  for (const problem of [NOT_FOUND, BUSY, REFUSED]) assert.equal(faultOf(SENT, answer(problem), SLOW_MS), null);
  const text = '{"status":"ok"}';
  const alive = { status: 200, headers: new Map([['content-type', 'application/json']]), text, milliseconds: 1 };
  assert.equal(faultOf({ method: 'GET', target: '/livez', headers: [] }, alive, SLOW_MS), null);
  assert.match(faultOf({ method: 'GET', target: '/v1/presets', headers: [] }, alive, SLOW_MS)!, /not as documented/);
});

test('other answers are faults', () => {
  const cases: [Answer, RegExp][] = [
    [answer(new Problem('host-fault', 'It failed.')), /fault of the service/],
    [answer(new Problem('unavailable', 'Not now.')), /fault of the service/],
    [answer(new Problem('unknown-coding', 'No.')), /fault of the service/],
    [answer(NOT_FOUND, { milliseconds: SLOW_MS + 1 }), /it took 2001 ms/],
    [answer(new Problem('conflict', 'It is there.'), { status: 418 }), /status 418 is not documented/],
    [answer(new Problem('key-reused', 'It is another.'), { status: 423 }), /status 423 is not documented/],
    [answer(NOT_FOUND, {}, { 'content-type': 'application/json' }), /no problem\+json/],
    [answer(NOT_FOUND, { text: 'Not Found' }), /fields are not those of a problem/],
    [answer(NOT_FOUND, { text: answer(NOT_FOUND).text.replace('"status":404', '"status":400') }), /it says 400/],
    [
      answer(NOT_FOUND, { text: answer(NOT_FOUND).text.replace('/not-found', '/lost') }),
      /fields are not those of a problem/,
    ],
    [answer(new Problem('kernel-conflict', 'No.')), /an errno is of what the kernel refuses/],
  ];
  for (const [given, fault] of cases) assert.match(faultOf(SENT, given, SLOW_MS) ?? 'none', fault);
});
