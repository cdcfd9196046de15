/** A thread does not sleep for a moment behind an answer, where it pays. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Linger } from '../../src/http/linger.ts';

/** A clock, in milliseconds, and the event loop: `awake` is for how long there is something to be done at once. */
function loop(t: TestContext) {
  let now = 1000;
  let next: (() => void) | undefined;
  t.mock.method(performance, 'now', () => now);
  t.mock.method(globalThis, 'setImmediate', (callback: () => void) => {
    assert.equal(next, undefined);
    next = callback;
  });
  return {
    pass(milliseconds: number) {
      now += milliseconds;
    },
    awake(): number {
      const begun = now;
      while (next !== undefined) {
        const callback = next;
        next = undefined;
        now += 0.01;
        callback();
      }
      return Math.round((now - begun) * 100) / 100;
    },
  };
}

/** For how long the thread is awake behind each of three answers to requests that come so long after the answer before. */
function awakeBehind(t: TestContext, linger: Linger, pause: number): number[] {
  const { pass, awake } = loop(t);
  return [1, 2, 3].map(() => {
    linger.busy();
    pass(1);
    linger.idle();
    const awoken = awake();
    pass(Math.max(0, pause - awoken));
    return awoken;
  });
}

test('who makes one call after another is looked out for, from the second one on', (t) => {
  const [first, second, third] = awakeBehind(t, new Linger(1, 2), 0.12);
  assert.equal(first, 0);
  for (const awake of [second!, third!]) assert.ok(awake >= 0.1 && awake < 0.15, `${awake} ms`);
});

test('who asks now and then is not', (t) => {
  assert.deepEqual(awakeBehind(t, new Linger(1, 2), 5), [0, 0, 0]);
});

test('nobody is where no processor would be left for who calls', (t) => {
  assert.deepEqual(awakeBehind(t, new Linger(2, 2), 0.12), [0, 0, 0]);
});

test('what comes meanwhile is looked out for once, and longer', (t) => {
  const linger = new Linger(1, 2);
  const { pass, awake } = loop(t);
  linger.idle();
  for (let request = 0; request < 3; request++) {
    linger.busy();
    pass(0.05);
    linger.idle();
  }
  const awoken = awake();
  assert.ok(awoken >= 0.1 && awoken < 0.15, `${awoken} ms`);
});
