/** What sentences call an operation is what it is called: there is such a route, and it performs that call. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OPERATIONS } from '../../src/http/operations.ts';
import { ROUTES } from '../../src/http/routes.ts';
import { FACES } from '../../src/kernel/faces.ts';

for (const [name, { rest, call }] of Object.entries(FACES))
  test(`${name}: ${rest} is ${call}`, () => {
    const [method, path] = rest.split(' …') as [string, string];
    const route = ROUTES.find((one) => one.method === method && one.path.endsWith(path));
    assert.ok(route, 'there is such a route');
    const operation = OPERATIONS.find(({ operationId }) => operationId === route.operationId);
    // Drivers are bound by sysfs, and the switch is ours: no call stands for them.
    if (name === 'bindDriver' || name === 'switchInterrupts') assert.equal(operation, undefined);
    else assert.equal(operation!.request ?? operation!.call, call);
  });
