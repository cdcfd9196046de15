/** What threads that serve have in common, as two of them see it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BodyBudget } from '../../src/http/bodies/budget.ts';
import { Common, newCommonMemory } from '../../src/http/common.ts';
import { Rates } from '../../src/http/quotas/rate.ts';

const MIB = 1 << 20;

function two(): [Common, Common, () => Common] {
  const memory = newCommonMemory(2);
  return [new Common(memory, 0), new Common(memory, 1), () => new Common(memory, 1)];
}

test('what each has is counted together, and goes with the thread that had it', () => {
  const [one, other, successor] = two();
  assert.equal(one.add('streams', 'acme', 2), 2);
  assert.equal(other.add('streams', 'acme', 3), 5);
  assert.equal(other.add('creating', 'acme', 1), 1);
  assert.deepEqual([one.of('streams', 'acme'), one.of('streams', 'globex'), one.of('bodies', 'acme')], [5, 0, 0]);
  const next = successor();
  assert.deepEqual([next.of('streams', 'acme'), next.of('creating', 'acme')], [2, 0]);
  assert.equal(one.add('streams', 'acme', -2), 0);
});

test('tenants are told apart, in all threads alike, and those beyond what there is room for count together', () => {
  const [one, other] = two();
  const slotsOf = (count: number): number[] => {
    const names = Array.from({ length: count }, (_, index) => `t-${index}`);
    const slots = names.map((name, index) => (index % 2 === 0 ? one : other).slotOf(name));
    for (const common of [one, other])
      assert.deepEqual(
        names.map((name) => common.slotOf(name)),
        slots,
      );
    return slots;
  };
  assert.equal(new Set(slotsOf(8000)).size, 8000);
  const slots = slotsOf(20_000);
  const last = Math.max(...slots);
  const own = slots.filter((slot) => slot !== last);
  assert.equal(new Set(own).size, own.length);
  assert.ok(own.length < 20_000);
});

test('a thread is told by those whose hosts others wait for, and by no others', () => {
  const [one, other, successor] = two();
  assert.equal(other.isWatchedElsewhere('h-one'), false);
  one.watch('h-one', 1);
  assert.deepEqual([other.isWatchedElsewhere('h-one'), other.isWatchedElsewhere('h-two')], [true, false]);
  assert.equal(one.isWatchedElsewhere('h-one'), false);
  one.watch('h-one', -1);
  assert.equal(other.isWatchedElsewhere('h-one'), false);
  other.watch('h-one', 1);
  assert.equal(one.isWatchedElsewhere('h-one'), true);
  successor();
  assert.equal(one.isWatchedElsewhere('h-one'), false);
});

test('requests are taken from one hand, whatever limits it had before', () => {
  const [one, other] = two();
  const [here, there] = [new Rates(one), new Rates(other)];
  const begun = performance.now();
  const taken = Array.from({ length: 60 }, (_, turn) => (turn % 2 === 0 ? here : there).take('acme', 20));
  const most = 20 + (20 * (performance.now() - begun)) / 1000 + 1;
  const got = taken.filter((left) => left !== null).length;
  assert.ok(got >= 20 && got <= most, `${got} of ${most}`);
  assert.deepEqual(taken.slice(0, 3), [19, 18, 17]);
  assert.equal(here.used('acme', 20), there.used('acme', 20));
  assert.equal(there.take('globex', 20), 19);
  // Their clocks have nothing to do with each other.
  for (const limit of [1000, 3, 2 ** 40, 1, 50_000]) {
    const left = here.take('initech', limit);
    assert.ok(left === null || (left >= 0 && left < limit), `${left} of ${limit}`);
  }
  assert.equal(here.take('initech', 0), null);
  assert.ok(here.used('initech', 1) <= 1);
});

test('requests a second are counted by one clock, also of a thread that had to wait when it began', async (t) => {
  const [one, other] = two();
  // Who waits between two looks at clocks does not know how far these are apart.
  const now = performance.now.bind(performance);
  t.mock.method(performance, 'now', () => now() + 1000);
  const late = (await import(`${new URL('../../src/http/quotas/rate.ts?late', import.meta.url)}`)) as {
    Rates: typeof Rates;
  };
  t.mock.restoreAll();
  const begun = process.hrtime.bigint();
  const [here, there] = [new late.Rates(other), new Rates(one)];
  const served = [here, there, here, there].flatMap((rates) =>
    Array.from({ length: 20 }, () => rates.take('acme', 10)).filter((left) => left !== null),
  );
  const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
  assert.ok(served.length >= 10 && served.length <= 10 * (1 + seconds) + 1, `${served.length} in ${seconds} s`);
});

test('bodies have one budget, and what is refused takes nothing of it', () => {
  const [one, other] = two();
  const bounds = { tenantBodies: 4 * MIB, allBodies: 6 * MIB };
  const [here, there] = [new BodyBudget(bounds, one), new BodyBudget(bounds, other)];
  const [first, second, third] = [here.claim('acme'), there.claim('acme'), there.claim('globex')];
  first.raise(3 * MIB);
  assert.throws(() => second.raise(2 * MIB), /have 3145728 bytes, and with this one more than the 4 MiB/);
  assert.deepEqual([here.of('acme'), there.of('acme')], [3 * MIB, 3 * MIB]);
  second.raise(MIB);
  assert.throws(() => third.raise(3 * MIB), /All bodies that are not answered yet have 4194304 bytes/);
  third.hold(3 * MIB);
  first.release();
  first.release();
  assert.deepEqual([here.of('acme'), here.of('globex')], [MIB, 3 * MIB]);
  second.release();
  third.release();
  assert.deepEqual([there.of('acme'), there.of('globex')], [0, 0]);
});

test('what all bodies have is counted apart, however many tenants there are', () => {
  const common = new Common();
  const budget = new BodyBudget({ tenantBodies: 4 * MIB, allBodies: 6 * MIB }, common);
  const names = Array.from({ length: 40_000 }, (_, index) => `t-${index}`);
  const slots = names.map((name) => common.slotOf(name));
  const other = names[slots.indexOf(Math.max(...slots))]!;
  budget.claim(other).raise(4 * MIB);
  assert.equal(budget.of(other), 4 * MIB);
});
