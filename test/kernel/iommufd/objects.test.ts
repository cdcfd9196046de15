/** Users of an object are counted by those who hold it, and nobody lets go of what he does not hold. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IommufdObject } from '../../../src/kernel/iommufd/objects.ts';

class Plain extends IommufdObject {
  readonly type = 'ioas';
  destroy(): void {}
}

test('what is held is dropped as often, and not once more', () => {
  const object = new Plain();
  object.hold();
  object.hold(2);
  assert.equal(object.users, 3);
  assert.throws(() => object.drop(4), /invariant broken: an object is dropped by those who hold it/);
  assert.equal(object.users, 3);
  object.drop(2);
  object.drop();
  assert.equal(object.users, 0);
  assert.throws(() => object.drop(), /invariant broken/);
});
