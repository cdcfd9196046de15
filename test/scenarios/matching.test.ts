/** What counts as expected, and what symbols stand for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { differences, NOTHING } from '../../src/scenarios/matching.ts';
import { resolve, type ValueError } from '../../src/scenarios/values.ts';

const differ = (expected: unknown, got: unknown): unknown[] =>
  differences(expected, got).map(({ path, got: came }) => [path.join('.'), came]);

test('only fields that are named count, and lists have to be as long', () => {
  assert.deepEqual(differ({ a: 1 }, { a: 1, b: 2 }), []);
  assert.deepEqual(differ({ a: { b: 1, c: 2 } }, { a: { b: 2 } }), [
    ['a.b', 2],
    ['a.c', NOTHING],
  ]);
  assert.deepEqual(differ([{ a: 1 }], [{ a: 1, b: 2 }]), []);
  assert.deepEqual(differ([1], [1, 2]), [['', [1, 2]]]);
  assert.deepEqual(differ({ a: null }, {}), [['a', NOTHING]]);
  assert.deepEqual(differ('1', 'a'), [['', 'a']]);
});

test('numbers are equal however they are written, texts only if they are the same', () => {
  assert.deepEqual(differ({ a: 4096, b: 0 }, { a: '0x1000', b: '0x0' }), []);
  assert.deepEqual(differ({ a: 4096 }, { a: '0x1001' }), [['a', '0x1001']]);
  assert.deepEqual(differ({ a: '0x10' }, { a: '16' }), [['a', '16']]);
});

test('conditions', () => {
  const holds: [unknown, unknown][] = [
    [{ not: 1 }, 2],
    [{ not: { a: 1 } }, { a: 2 }],
    [{ atLeast: 16 }, '0x10'],
    [{ atMost: 16 }, '0x10'],
    [{ includes: { a: 1 } }, [{ a: 2 }, { a: 1, b: 1 }]],
    [{ excludes: { a: 1 } }, [{ a: 2 }]],
    [{ includes: 'b' }, 'abc'],
    [{ excludes: 'd' }, 'abc'],
    [{ exactly: { a: 1 } }, { a: 1 }],
  ];
  for (const [expected, got] of holds) assert.deepEqual(differ(expected, got), [], JSON.stringify(expected));
  const fails: [unknown, unknown][] = [
    [{ not: 1 }, 1],
    [{ atLeast: 17 }, '0x10'],
    [{ atLeast: 0 }, undefined],
    [{ atMost: 15 }, '0x10'],
    [{ includes: 1 }, []],
    [{ excludes: 1 }, [1]],
    [{ excludes: 1 }, undefined],
    [{ exactly: { a: 1 } }, { a: 1, b: 2 }],
  ];
  for (const [expected, got] of fails) assert.equal(differ(expected, got).length, 1, JSON.stringify(expected));
});

test('symbols, sums and texts', () => {
  const scopes = [
    new Map<string, unknown>([['n', 5]]),
    new Map<string, unknown>([
      ['n', 6],
      ['big', '0xfffffffffffffff0'],
      ['a', { b: [1, { c: 'x' }] }],
    ]),
  ];
  const value = (given: unknown): unknown => resolve(given, scopes);
  assert.equal(value('$n'), 5, 'the nearest scope');
  assert.equal(value('$a.b.1.c'), 'x');
  assert.equal(value('$n + 0x10 - $n'), 16);
  assert.equal(value('$big + 1'), '0xfffffffffffffff1');
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is what scenarios write.
  assert.equal(value('/proc/self/fd/$n and ${a.b.0}$$'), '/proc/self/fd/5 and 1$');
  assert.deepEqual(value({ $n: [{ text: 'x$n' }] }), { 5: [Buffer.from('x5').toString('base64')] });
  assert.throws(
    () => value({ a: ['$m'] }),
    (error: ValueError) => error.path.join() === 'a,0' && /no symbol `m`/.test(error.message),
  );
  assert.throws(() => value('$a.c'), /`\$a\.c` has no|has no `c`/);
  assert.throws(() => value('$a + 1'), /is no number/);
});
