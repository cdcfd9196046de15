/** More hosts than there is room for: each answers, and is what it was. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Host } from '../support/client.ts';
import { MortalApp } from '../support/mortal-app.ts';

const HOSTS = 300;
const AT_ONCE = 10;
/** Every so many-th goes through a kexec. */
const KEXEC_EACH = 10;
const IOVA = 0x1_0000_0000;
/** Room for some tens of them. */
const TINY = { HOLDOVER_HOST_MEMORY: '1', HOLDOVER_LANES: '2' };
const VIEWS = ['', '/devices', '/processes'];

async function each<Item, Result>(items: readonly Item[], work: (item: Item) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = [];
  for (let at = 0; at < items.length; at += AT_ONCE) {
    results.push(...(await Promise.all(items.slice(at, at + AT_ONCE).map(work))));
  }
  return results;
}

interface Made {
  host: Host;
  /** Path of what is mapped in it. */
  mappings: string;
}

/** No two of them are alike. */
async function make(app: MortalApp, index: number): Promise<Made> {
  const host = await app.host({ name: `host ${index}` });
  const vmm = await host.process();
  const iommufd = await vmm.open('/dev/iommu');
  const ioas = await vmm.allocIoas(iommufd);
  const memfd = await vmm.sealedMemfd(0x1000 * 64);
  await vmm.mapFile(iommufd, ioas, IOVA + index * 0x1000, memfd, 0x1000 * (1 + (index % 64)));
  return { host, mappings: `/processes/${vmm.pid}/iommufds/${iommufd}/ioases/${ioas}/mappings` };
}

async function stateOf({ host, mappings }: Made): Promise<unknown[]> {
  const views = await Promise.all(VIEWS.map((path) => host.request('get', path)));
  const { items } = views.at(-1) as { items: unknown[] };
  return items.length === 0 ? views : [...views, await host.request('get', mappings)];
}

test(`${HOSTS} hosts, and room for a few: all are what they were, also after a kexec and after kill -9`, async (t) => {
  const app = new MortalApp(t);
  await app.start(TINY);
  const numbers = Array.from({ length: HOSTS }, (_, index) => index);
  const hosts = await each(numbers, (index) => make(app, index));
  const before = await each(hosts, stateOf);
  assert.equal(new Set(before.map((state) => JSON.stringify(state))).size, HOSTS);
  await app.service.printed(/hosts left memory/);
  // In another order than that in which they were used last.
  const after = await each(hosts.toReversed(), stateOf);
  assert.deepEqual(after.toReversed(), before);
  const kexeced = hosts.filter((_, index) => index % KEXEC_EACH === 0);
  await each(kexeced, ({ host }) => host.kexec({ mode: 'plain' }));
  const booted = await each(kexeced, stateOf);
  await app.service.stop('SIGKILL');
  await app.start(TINY);
  const expected = before.map((state, index) => (index % KEXEC_EACH === 0 ? booted[index / KEXEC_EACH] : state));
  assert.deepEqual(await each(hosts, stateOf), expected);
});
