/** Clients that generators make of the OpenAPI document drive a live update, without a cast; Prism holds both sides to it. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { Random } from '../crash/random.ts';
import { startService, temporaryDirectory } from '../support/service.ts';
import { generate, install } from './generate.ts';
import { startPrism, violations } from './prism.ts';

const KEY = 'key-of-the-sdk-tests';
const ADMIN_KEY = 'admin-key-of-the-sdk-tests';
const REQUESTS = 2000;

before(install, { timeout: 300_000 });

test('generated clients drive a live update, and Prism finds nothing that is not as documented', {
  timeout: 600_000,
}, async (t) => {
  const stories = await generate(join(temporaryDirectory(t), 'stories'));
  const { url: service } = await startService(t, temporaryDirectory(t), {
    dev: false,
    env: { HOLDOVER_TENANTS: `sdk:${KEY}`, HOLDOVER_ADMIN_KEY: ADMIN_KEY },
  });
  const prism = await startPrism(t, service);
  for (const name of ['fetch', 'hey']) {
    const { story } = (await import(join(stories, `${name}.js`))) as {
      story: (url: string, key: string) => Promise<void>;
    };
    await t.test(name, () => story(service, KEY));
    await t.test(`${name}, through Prism`, () => story(prism, KEY));
  }
  await t.test(`${REQUESTS} requests through Prism`, async () => {
    const place = { prism, service, key: KEY, adminKey: ADMIN_KEY };
    assert.deepEqual(await violations(new Random(1, 'prism'), REQUESTS, place), []);
  });
});
