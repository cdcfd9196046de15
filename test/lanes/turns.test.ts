import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Turns } from '../../src/lanes/turns.ts';

/** Keeps the thread, as a long command does. */
function work(milliseconds: number): void {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}

test('a short turn is given at once', () => {
  const turns = new Turns();
  assert.equal(turns.take(), undefined);
  assert.equal(turns.take(), undefined);
});

test('who has much to do is passed by who has little', async () => {
  const turns = new Turns();
  const order: string[] = [];
  const host = async (name: string, commands: number): Promise<void> => {
    for (let command = 1; command <= commands; command += 1) {
      await turns.take();
      work(2);
      order.push(`${name}${command}`);
    }
  };
  await Promise.all([host('a', 5), host('b', 2), host('c', 1)]);
  assert.deepEqual(order, ['a1', 'b1', 'c1', 'a2', 'b2', 'a3', 'a4', 'a5']);
});

test('the lane hears what arrives while one host keeps it busy', async () => {
  const turns = new Turns();
  const order: string[] = [];
  const busy = (async () => {
    for (let command = 0; command < 5; command += 1) {
      await turns.take();
      work(2);
      order.push('busy');
    }
  })();
  const { promise: arrived, resolve } = Promise.withResolvers<void>();
  setTimeout(resolve, 0);
  const late = arrived.then(async () => {
    await turns.take();
    order.push('late');
  });
  await Promise.all([busy, late]);
  assert.ok(order.indexOf('late') < 4, order.join(' '));
});
