/**
 * Measures memory in a process of its own, which can collect its garbage: the service's own parts, in one thread. Says
 * bytes a host, or bytes a mapping, on standard output.
 */

import { setImmediate } from 'node:timers/promises';
import { buildHostSpec } from '../src/host/host-spec.ts';
import { makeHost, restoreHost } from '../src/lanes/engine.ts';
import { Lane } from '../src/lanes/lane.ts';
import { killProcess } from '../src/lanes/service-death.ts';
import { openStore } from '../src/store/sqlite/store.ts';
import { EngineVmm } from './engine.ts';

const SILENT = { info() {}, warn() {}, error() {} };

/** Resident bytes when all garbage is gone. */
async function resident(): Promise<number> {
  for (let round = 0; round < 4; round++) {
    global.gc!();
    await setImmediate();
  }
  return process.memoryUsage.rss();
}

async function bytesPerHost(directory: string): Promise<number> {
  const HOSTS = 7_500;
  // By then every thread of the store has been started, and the young generation is as large as it becomes.
  const WARM = 2_500;
  const store = openStore({ directory });
  const tenant = await store.tenants.create('memory', 'none');
  const lanes = new Lane({ store, log: SILENT, allowServiceDeath: false, makeHost, restoreHost, die: killProcess });
  const create = async (from: number, to: number): Promise<void> => {
    for (let number = from; number < to; ) {
      const some = Array.from({ length: Math.min(100, to - number) }, () => number++);
      await Promise.all(
        some.map(async (index) => {
          const built = buildHostSpec({ preset: 'vmm-lab' });
          if ('errors' in built) throw new Error('the preset cannot be built');
          const created = new Date().toISOString();
          const id = `h-${index}`;
          await lanes.create({ id, tenantId: tenant.id, name: id, spec: built.spec, created });
        }),
      );
    }
  };
  await create(0, WARM);
  const before = await resident();
  await create(WARM, WARM + HOSTS);
  const after = await resident();
  await lanes.close();
  await store.close();
  return (after - before) / HOSTS;
}

async function bytesPerMapping(): Promise<number> {
  const MAPPINGS = 1_000_000;
  const WARM = 100_000;
  const warm = new EngineVmm({ pages: WARM, attached: true });
  warm.mapPages(WARM, 1);
  const vmm = new EngineVmm({ pages: MAPPINGS, attached: true });
  const before = await resident();
  vmm.mapPages(MAPPINGS, 1);
  const after = await resident();
  // Still there, or it would not have been counted.
  if (vmm.host.state !== 'running' || warm.host.state !== 'running') throw new Error('the host has stopped');
  return (after - before) / MAPPINGS;
}

const [what, directory] = process.argv.slice(2);
const bytes = what === 'hosts' ? await bytesPerHost(directory!) : await bytesPerMapping();
process.stdout.write(`${bytes}\n`);
