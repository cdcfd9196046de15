/** Clients that generators make of the OpenAPI document drive a live update, without a cast. */
import { join } from 'node:path';
import { before, test } from 'node:test';
import { startService, temporaryDirectory } from '../support/service.ts';
import { generate, install } from './generate.ts';

before(install, { timeout: 300_000 });

test('generated clients drive a live update from its beginning to its end', { timeout: 120_000 }, async (t) => {
  const stories = await generate(join(temporaryDirectory(t), 'stories'));
  const { url } = await startService(t, temporaryDirectory(t), { env: { HOLDOVER_CHECK: '1' } });
  for (const name of ['fetch', 'hey']) {
    const { story } = (await import(join(stories, `${name}.js`))) as {
      story: (url: string, key: string) => Promise<void>;
    };
    await t.test(name, () => story(url, 'dev-key'));
  }
});
