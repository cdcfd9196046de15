import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SortedList } from '../../src/machine/sorted-list.ts';

/** Numbers below `most`, the same in every run. */
function numbers(most: number): () => number {
  let seed = 1;
  return () => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return seed % most;
  };
}

test('what is added, taken out and looked for at random is what an array says', () => {
  const next = numbers(5000);
  const list = new SortedList<string>();
  let model: number[] = [];
  const same = (): void => {
    assert.equal(list.length, model.length);
    assert.deepEqual(
      [...list],
      model.map((key) => `item ${key}`),
    );
  };
  for (let round = 0; round < 40; round++) {
    for (let added = 0; added < 300; added++) {
      const key = next();
      if (model.includes(key)) list.replace(key, `item ${key}`);
      else {
        list.add(key, `item ${key}`);
        model.push(key);
        model.sort((a, b) => a - b);
      }
    }
    same();
    for (let asked = 0; asked < 50; asked++) {
      const [key, other] = [next(), next()];
      const [first, last] = [Math.min(key, other), Math.max(key, other)];
      const inside = model.filter((one) => one >= first && one <= last);
      const item = (found: number | undefined): string | undefined =>
        found === undefined ? undefined : `item ${found}`;
      assert.equal(list.exact(key), item(model.find((one) => one === key)));
      assert.equal(list.floor(key), item(model.findLast((one) => one <= key)));
      assert.equal(list.above(key), item(model.find((one) => one > key)));
      assert.equal(list.countWithin(first, last), inside.length);
      assert.deepEqual(list.within(first, last), inside.map(item));
    }
    const [from, width] = [next(), round % 5 === 0 ? 5000 : next() % 700];
    const gone = model.filter((one) => one >= from && one <= from + width);
    assert.deepEqual(
      list.take(from, from + width),
      gone.map((key) => `item ${key}`),
    );
    model = model.filter((one) => !gone.includes(one));
    same();
  }
  list.clear();
  assert.deepEqual([[...list], list.length, list.floor(9999), list.above(-1)], [[], 0, undefined, undefined]);
});

test('the widest gap of a block is that of the items that are there now', () => {
  const list = new SortedList<number>();
  const behind = (item: number): number => item + 1;
  for (const key of [10, 12, 20]) list.add(key, key);
  const [block] = list.blocks;
  assert.equal(block!.widestGap(behind), 7);
  list.add(16, 16);
  assert.equal(block!.widestGap(behind), 3);
  list.take(12, 12);
  assert.equal(block!.widestGap(behind), 5);
});
