import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test } from 'node:test';
import type { Answer } from '../../src/host/command.ts';
import { digest, digesting } from '../../src/lanes/digest.ts';
import type { Outcome } from '../../src/lanes/jobs.ts';
import { addInPieces, PIECE, PLAIN } from '../../src/lanes/json-pieces.ts';
import { isLarge, packedIn, packLarge } from '../../src/lanes/large.ts';
import { LARGE } from '../../src/limits.ts';
import { isPacked, unpack } from '../../src/threads/packed.ts';

const ok = (value: unknown): Answer => ({ kind: 'ok', value });

/** Characters around a text, such as quotation marks and its name. */
const MARKS = 20;

const NO_PACE = { pause: (): undefined => {}, resume: () => {} };

const pack = (value: Answer): Outcome<Answer> | Promise<Outcome<Answer>> =>
  packLarge({ value, stored: Promise.resolve() }, NO_PACE);

const LARGE_VALUES: readonly unknown[] = [
  { data: 'x'.repeat(LARGE) },
  { text: 'ü€😀\u0000"'.repeat(LARGE / 4) },
  // A pair of halves at each end of a piece, halves that are alone, and both in the other order.
  { text: `a${'😀'.repeat(LARGE)}`, halves: '\ud83d'.repeat(LARGE), turned: `b${'\ude00\ud83d'.repeat(LARGE)}` },
  Array.from({ length: LARGE / 4 }, (_, index) => index),
  Array.from({ length: LARGE / 4 }, (_, index) => (index % 2 === 0 ? undefined : null)),
  { deep: { deeper: Array.from({ length: LARGE / 8 }, () => ({ ret: 0 })) } },
  { b: 'x'.repeat(LARGE), none: undefined, a: { why: 'y'.repeat(LARGE), list: [], 'a "name"': {} }, empty: '' },
  Object.fromEntries(
    Array.from({ length: LARGE / 8 }, (_, index) => [`field ${index}`, index % 3 === 0 ? undefined : 1]),
  ),
  ['z'.repeat(2 * LARGE), [[], {}, ['y'.repeat(LARGE)]]],
];

test('an answer is packed where its value is large, whatever makes it so', async () => {
  for (const value of LARGE_VALUES) {
    assert.ok(isLarge(ok(value)));
    const { value: packed } = (await pack(ok(value))) as { value: { value: Uint8Array } };
    assert.ok(isPacked(packed.value));
    assert.ok(Buffer.from(`${JSON.stringify(value)}\n`).equals(packed.value));
    assert.deepEqual(unpack(packed.value), JSON.parse(JSON.stringify(value)));
    assert.deepEqual(packedIn(packed), [packed.value.buffer]);
    // All of the buffer is given away, and it is nobody else's.
    assert.equal(packed.value.byteLength, packed.value.buffer.byteLength);
  }
});

test('what is small, or no value, is left as it is, at once', () => {
  const answers: Answer[] = [
    ok(null),
    ok(undefined),
    ok({ results: [{ ret: 0 }] }),
    ok('x'.repeat(LARGE / 2)),
    { kind: 'not-found', what: 'x'.repeat(2 * LARGE) },
  ];
  for (const answer of answers) {
    assert.equal((pack(answer) as Outcome<Answer>).value, answer);
    assert.deepEqual(packedIn(answer), []);
  }
  assert.deepEqual(packedIn(undefined), []);
});

test('a digest that is made in steps is that of the whole', () => {
  for (const value of LARGE_VALUES) {
    const steps = digesting(ok(value));
    let end = steps.next();
    while (!end.done) end = steps.next();
    assert.equal(end.value, digest(ok(value)));
  }
});

test('no step makes much more than a piece of a text, whatever is large', () => {
  for (const value of LARGE_VALUES) {
    const texts: string[] = [];
    let steps = 0;
    let before = 0;
    for (const _ of addInPieces(value, PLAIN, (text) => void texts.push(text))) {
      const made = texts.slice(before).reduce((size, { length }) => size + length, 0);
      // Halves that are alone take six times as much.
      assert.ok(made <= 6 * PIECE + MARKS, `${made}`);
      before = texts.length;
      steps += 1;
    }
    const whole = texts.join('');
    assert.equal(hash('sha256', whole, 'hex'), hash('sha256', JSON.stringify(value), 'hex'));
    assert.ok(steps >= whole.length / (6 * PIECE + MARKS));
  }
});
