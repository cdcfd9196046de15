/** A data directory with hosts of all kinds: what is hurt in trials. */
import { cpSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { buildHostSpec } from '../../../src/host/host-spec.ts';
import { makeHost, restoreHost } from '../../../src/lanes/engine.ts';
import { Lane } from '../../../src/lanes/lane.ts';
import { openStore } from '../../../src/store/sqlite/store.ts';
import { Host } from '../../support/client.ts';
import { serveDirectory } from '../../support/directory-app.ts';
import { prepare, update } from '../../support/setups.ts';

export const KEY = 'key-of-the-test-tenant';

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

/**
 * Makes it in three directories, which are there: one to work in, one as a kill leaves it, where much is in the WAL alone,
 * and one as a clean stop does. Their ids, by what they are.
 */
export async function makePatients(work: string, killed: string, stopped: string): Promise<Map<string, string>> {
  const ids = new Map<string, string>();
  const first = await serveDirectory(work, KEY);
  const note = (name: string, { id }: Host): Host => {
    ids.set(name, id);
    return new Host(first, id);
  };
  note('frozen', (await prepare(first)).host);
  note('updated', (await update(first)).host);
  await batch(note('batched', await first.host()), 3000);
  await tick(note('long', await first.host()), MANY);
  note('idle', await first.host());
  const deleted = await first.host();
  await first.stop();

  const second = await serveDirectory(work, KEY);
  await tick(new Host(second, ids.get('long')!), MANY);
  await batch(new Host(second, ids.get('batched')!), 10);
  await second.stop();

  const store = openStore({ directory: work });
  const log = { info() {}, warn() {}, error() {} };
  const die = (): Promise<never> => Promise.reject(new Error('died'));
  const lane = new Lane({ store, log, allowServiceDeath: true, makeHost, restoreHost, die });
  for (let time = 0; time < 7; time += 1) await lane.execute(ids.get('long')!, TICK);
  await lane.remove(deleted.id);
  const built = buildHostSpec({ preset: 'vmm-lab' });
  const tenantId = (await store.tenants.findByName('test'))!.id;
  if (!('spec' in built)) throw new Error('no spec of the preset');
  ids.set('fresh', 'h-fresh');
  await lane.create({ id: 'h-fresh', tenantId, name: 'fresh', spec: built.spec, created: new Date().toISOString() });
  for (let time = 0; time < 3; time += 1) await lane.execute('h-fresh', TICK);
  // The next kernel is not booted: the service dies there.
  const frozen = ids.get('frozen')!;
  await lane.execute(frozen, { op: 'fault.arm', point: 'service.death' });
  await lane.execute(frozen, { op: 'kexec.freeze', mode: 'live-update', image: 'loaded' }).catch(() => {});
  copyData(work, killed);
  await lane.close();
  await store.close();
  copyData(work, stopped);
  return ids;
}
