import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
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
