/** A data directory with hosts of all kinds: what is hurt in trials. */
import { cpSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { buildHostSpec } from '../../../src/host/host-spec.ts';
import { makeHost, restoreHost } from '../../../src/lanes/engine.ts';
import { Lane } from '../../../src/lanes/lane.ts';
import { openStore } from '../../../src/store/sqlite/store.ts';
import { seedTenants } from '../../../src/tenants.ts';
import { Host, type HostMaker } from '../../support/client.ts';
import { serveDirectory } from '../../support/directory-app.ts';
import { prepare, update } from '../../support/setups.ts';

export const KEY = 'key-of-the-test-tenant';
/** As `serveDirectory` has it. */
const CONFIG = { dev: false, devKey: 'dev-key', adminKey: null, tenants: [{ name: 'test', key: KEY }] };

const TICK = { op: 'clock.advance', nanoseconds: '1' } as const;
/** Enough for a snapshot. */
const MANY = 120;

/** Files that a copy of a data directory needs. */
const FILES = /^holdover\.(db|db-wal|marks)$/;

export function copyData(from: string, to: string): void {
  for (const file of readdirSync(from)) if (FILES.test(file)) cpSync(join(from, file), join(to, file));
}

async function tick(host: Host, times: number): Promise<void> {
  for (let time = 0; time < times; time += 1) await host.advanceClock('1');
}

/** Maps pages one by one, in one command with a payload. */
async function batch(host: Host, pages: number): Promise<void> {
  const process = await host.process({ name: 'batch' });
  const iommufd = await process.open('/dev/iommu');
  const ioas = await process.allocIoas(iommufd);
  const memory = 0x7f00_0000_0000;
  await process.mmap(memory, 0x10_0000);
  const operations = Array.from({ length: pages }, (_, page) => ({
    op: 'map',
    iova: 0x1_0000_0000 + page * 0x2000,
    length: 4096,
    userVa: memory + (page % 256) * 4096,
  }));
  const path = `/processes/${process.pid}/iommufds/${iommufd}/ioases/${ioas}/batch`;
  await host.request('post', path, { operations });
}

const NAMES = ['frozen', 'updated', 'batched', 'long', 'idle', 'fresh'] as const;

type Name = (typeof NAMES)[number] | 'deleted';

/** The same each time, so that a seed finds the same bytes. */
const idOf = (name: Name): string => `h-${name.padEnd(16, name)}`.slice(0, 18);

const SILENT = { info() {}, warn() {}, error() {} };

interface OwnLane {
  lane: Lane;
  make(name: Name): Promise<void>;
  close(): Promise<void>;
}

/** A lane on the directory, which nobody serves meanwhile. */
async function openLane(directory: string): Promise<OwnLane> {
  const store = openStore({ directory });
  await seedTenants(store.tenants, CONFIG, SILENT);
  const { id: tenantId } = (await store.tenants.findByName('test'))!;
  const die = (): Promise<never> => Promise.reject(new Error('died'));
  const lane = new Lane({ store, log: SILENT, allowServiceDeath: true, makeHost, restoreHost, die });
  const built = buildHostSpec({ preset: 'vmm-lab' });
  if (!('spec' in built)) throw new Error('no spec of the preset');
  return {
    lane,
    async make(name) {
      await lane.create({ id: idOf(name), tenantId, name, spec: built.spec, created: '2026-01-31T12:00:00.000Z' });
    },
    close: () => store.close(),
  };
}

/**
 * Makes it in three directories, which are there: one to work in, one as a kill leaves it, where much is in the WAL alone,
 * and one as a clean stop does. Their ids, by what they are.
 */
export async function makePatients(work: string, killed: string, stopped: string): Promise<Map<string, string>> {
  const begun = await openLane(work);
  for (const name of ['frozen', 'updated', 'batched', 'long', 'idle', 'deleted'] as const) await begun.make(name);
  await begun.lane.close();
  await begun.close();

  const first = await serveDirectory(work, KEY);
  /** As one that is to be made. */
  const made = (name: Name): HostMaker => ({ ...first, host: async () => new Host(first, idOf(name)) });
  await prepare(made('frozen'));
  await update(made('updated'));
  await batch(new Host(first, idOf('batched')), 3000);
  await tick(new Host(first, idOf('long')), MANY);
  await first.stop();

  const second = await serveDirectory(work, KEY);
  await tick(new Host(second, idOf('long')), MANY);
  await batch(new Host(second, idOf('batched')), 10);
  await second.stop();

  const { lane, make, close } = await openLane(work);
  for (let time = 0; time < 7; time += 1) await lane.execute(idOf('long'), TICK);
  await lane.remove(idOf('deleted'));
  await make('fresh');
  for (let time = 0; time < 3; time += 1) await lane.execute(idOf('fresh'), TICK);
  // The next kernel is not booted: the service dies there.
  await lane.execute(idOf('frozen'), { op: 'fault.arm', point: 'service.death' });
  await lane.execute(idOf('frozen'), { op: 'kexec.freeze', mode: 'live-update', image: 'loaded' }).catch(() => {});
  copyData(work, killed);
  await lane.close();
  await close();
  copyData(work, stopped);
  return new Map(NAMES.map((name) => [name, idOf(name)]));
}
