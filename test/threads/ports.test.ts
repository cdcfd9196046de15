import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import type { Presence } from '../../src/threads/client.ts';
import { AnswerLost } from '../../src/threads/errors.ts';
import { Caller, serve } from '../../src/threads/ports.ts';

test('an answer that cannot be sent is told as lost, and those of the same message arrive', async (t) => {
  const { port1, port2 } = new MessageChannel();
  const stop = serve<number>(port2, async (request) => (request === 2 ? { bits: 2n } : { request }));
  const caller = new Caller<number>(port1, 'plain', () => undefined);
  t.after(() => {
    caller.fail(new Error('the test is over'));
    stop();
  });
  const answers = await Promise.allSettled([1, 2, 3].map((request) => caller.ask(request)));
  assert.deepEqual(
    answers.map((answer) => (answer.status === 'fulfilled' ? answer.value : answer.reason.constructor)),
    [{ request: 1 }, AnswerLost, { request: 3 }],
  );
});

test('the other end hears of a client that goes before the answer, and nobody listens for one that is answered', async (t) => {
  const { port1, port2 } = new MessageChannel();
  const begun = Promise.withResolvers<Presence>();
  const done = Promise.withResolvers<void>();
  const stop = serve<number>(port2, async (request, client) => {
    if (request === 1) return client.isGone;
    begun.resolve(client);
    await done.promise;
    return client.isGone;
  });
  const caller = new Caller<number>(port1, 'plain', () => undefined);
  t.after(() => {
    caller.fail(new Error('the test is over'));
    stop();
  });
  const listeners = new Set<() => void>();
  const client = {
    isGone: false,
    whenGone(tell: () => void) {
      listeners.add(tell);
      return () => listeners.delete(tell);
    },
  };
  assert.equal(await caller.ask(1, [], client), false);
  assert.equal(listeners.size, 0);
  const asked = caller.ask(2, [], client);
  assert.equal((await begun.promise).isGone, false);
  for (const tell of listeners) tell();
  // It is heard in its turn, before what is asked behind it.
  await caller.ask(1);
  done.resolve();
  assert.equal(await asked, true);
});
