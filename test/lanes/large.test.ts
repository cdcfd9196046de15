import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Answer } from '../../src/host/command.ts';
import { packedIn, packLarge } from '../../src/lanes/large.ts';
import { LARGE } from '../../src/limits.ts';
import { isPacked, unpack } from '../../src/threads/packed.ts';

const ok = (value: unknown): Answer => ({ kind: 'ok', value });

test('an answer is packed where its value is large, whatever makes it so', () => {
  const large: unknown[] = [
    { data: 'x'.repeat(LARGE) },
    { text: 'ü€😀\u0000"'.repeat(LARGE / 4) },
    Array.from({ length: LARGE / 4 }, (_, index) => index),
    { deep: { deeper: Array.from({ length: LARGE / 8 }, () => ({ ret: 0 })) } },
  ];
  for (const value of large) {
    const packed = packLarge(ok(value)) as { value: Uint8Array };
    assert.ok(isPacked(packed.value));
    assert.deepEqual(unpack(packed.value), value);
    assert.equal(packed.value.at(-1), '\n'.charCodeAt(0));
    assert.deepEqual(packedIn(packed), [packed.value.buffer]);
    // All of the buffer is given away, and it is nobody else's.
    assert.equal(packed.value.byteLength, packed.value.buffer.byteLength);
  }
});

test('what is small, or no value, is left as it is', () => {
  const answers: Answer[] = [
    ok(null),
    ok(undefined),
    ok({ results: [{ ret: 0 }] }),
    ok('x'.repeat(LARGE / 2)),
    { kind: 'not-found', what: 'x'.repeat(2 * LARGE) },
  ];
  for (const answer of answers) {
    assert.equal(packLarge(answer), answer);
    assert.deepEqual(packedIn(answer), []);
  }
  assert.deepEqual(packedIn(undefined), []);
});
