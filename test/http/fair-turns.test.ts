/** Tenants take turns: many requests of one do not keep another one's waiting. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { FairTurns, KnownKeys } from '../../src/http/fair-turns.ts';

function begun(...known: string[]): {
  turns: FairTurns;
  order: string[];
  ask(key: string | undefined, what: string): void;
} {
  const keys = new KnownKeys();
  const turns = new FairTurns(keys, 8);
  for (const key of known) keys.know(key);
  const order: string[] = [];
  return { turns, order, ask: (key, what) => turns.enter(key, () => order.push(what)) };
}

const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await setImmediate();
};

test('who asks once is next, however many requests of another one wait', async () => {
  const { order, ask } = begun('a', 'b');
  for (let count = 0; count < 1000; count++) ask('a', 'a');
  assert.equal(order.length, 8, 'a few are begun at once');
  ask('b', 'b');
  await until(() => order.length === 1001);
  assert.ok(order.indexOf('b') <= 10, `b was number ${order.indexOf('b')}`);
});

test('keys that nobody has, another one each time, have their turns together', async () => {
  const { order, ask } = begun('b');
  for (let count = 0; count < 1000; count++) ask(count % 2 === 0 ? `wrong-${count}` : undefined, 'wrong');
  for (let count = 0; count < 5; count++) ask('b', 'b');
  await until(() => order.length === 1005);
  assert.ok(order.lastIndexOf('b') <= 18, `the last of b was number ${order.lastIndexOf('b')}`);
});

test('those of one key are begun in their order, a few in each turn of the event loop', async () => {
  const { order, ask } = begun('a');
  for (let count = 0; count < 20; count++) ask('a', String(count));
  await setImmediate();
  assert.ok(order.length <= 16);
  await until(() => order.length === 20);
  assert.deepEqual(order.map(Number), [...Array(20).keys()]);
  ask('a', 'later');
  assert.equal(order.at(-1), 'later', 'where nothing waits a request is begun at once');
});
