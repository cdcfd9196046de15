/** Connections whose bodies are read in turns. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { drain, drained, noteRead } from '../../../src/http/bodies/reading.ts';

const CHUNK = 64 << 10;

class FakeSocket {
  isPaused = false;
  destroyed = false;
  pause(): void {
    this.isPaused = true;
  }
  resume(): void {
    this.isPaused = false;
  }
}

const sockets = (count: number): FakeSocket[] => Array.from({ length: count }, () => new FakeSocket());
const reading = (all: FakeSocket[]): number => all.filter(({ isPaused }) => !isPaused).length;

test('of many that send at once, a few read on in each turn, and all of them in the end', async () => {
  const all = sockets(100);
  for (const socket of all) noteRead(socket as unknown as Socket, CHUNK);
  assert.equal(reading(all), 8, 'half a MiB is read at once');
  const counts: number[] = [];
  while (reading(all) < all.length) {
    await setImmediate();
    counts.push(reading(all));
  }
  assert.deepEqual(counts.slice(0, 3), [16, 24, 32]);
});

test('what one connection sends is read without a pause, as long as it is not too much at once', async () => {
  const [socket] = sockets(1) as [FakeSocket];
  for (let chunk = 0; chunk < 100; chunk++) {
    noteRead(socket as unknown as Socket, CHUNK);
    assert.equal(socket.isPaused, false);
    await setImmediate();
  }
});

test('what nobody wants is thrown away one connection at a time, until it ends', async () => {
  const all = sockets(5);
  for (const socket of all) drain(socket as unknown as Socket);
  const seen = new Set<number>();
  while (seen.size < all.length) {
    assert.ok(reading(all) <= 1);
    const at = all.findIndex(({ isPaused }) => !isPaused);
    if (at >= 0) seen.add(at);
    await setTimeout(1);
  }
  for (const socket of all) drained(socket as unknown as Socket);
  assert.equal(reading(all), all.length, 'the next requests of them are read');
});
