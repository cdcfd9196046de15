/** When work that makes a host larger is looked at. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TooCostly } from '../../src/lanes/errors.ts';
import type { LoadedHost } from '../../src/lanes/replay.ts';
import type { Residents } from '../../src/lanes/residents.ts';
import { isDue } from '../../src/lanes/snapshots.ts';
import { Weight } from '../../src/lanes/weight.ts';

const MIB = 2 ** 20;

/** A host that takes so many bytes. */
const hostOf = (memory: number): LoadedHost =>
  ({
    engine: {
      // biome-ignore lint/correctness/useYield: it is found in one step
      *footprint() {
        return { memory, objects: 0, mappings: 0, descriptors: 0 };
      },
    },
  }) as unknown as LoadedHost;

test('a host that grows is seen to grow while garbage of others goes', async () => {
  const residents = { heapBytes: 0, hostLimit: 128 * MIB, hasTooManyObjects: () => false, account() {} };
  const weight = new Weight('h', residents as unknown as Residents);
  const pace = weight.watching(hostOf(200 * MIB), { pause: () => undefined, resume() {} });
  for (const mebibytes of [1000, 500]) {
    residents.heapBytes = mebibytes * MIB;
    await pace.pause();
  }
  residents.heapBytes = 520 * MIB;
  await assert.rejects(async () => await pace.pause(), TooCostly);
});

test('no snapshot is due while another one is on its way, however much has come since', () => {
  const host = {
    engine: { pendingBoot: false, snapshot() {} },
    behind: { commands: 1e6, bytes: 2 ** 40, milliseconds: 1e6 },
  } as unknown as LoadedHost;
  assert.equal(isDue(host, { size: 0, took: Number.POSITIVE_INFINITY }), false);
  assert.equal(isDue(host, { size: 0, took: 5 }), true);
});
