/** Hosts of a test: in its own thread, or in lanes that are threads. */

import type { Config } from '../../src/config.ts';
import { newCommonMemory } from '../../src/http/common.ts';
import { makeHost, restoreHost } from '../../src/lanes/engine.ts';
import { Lane } from '../../src/lanes/lane.ts';
import { startLaneWorker } from '../../src/lanes/lane-worker.ts';
import type { RunningLanes } from '../../src/lanes/lanes.ts';
import type { PoolOptions } from '../../src/lanes/pool.ts';
import { LanePool } from '../../src/lanes/pool.ts';
import { killProcess } from '../../src/lanes/service-death.ts';
import type { Log } from '../../src/log.ts';
import type { FoundDamage, Store } from '../../src/store/store.ts';
import { seedTenants } from '../../src/tenants.ts';

interface LanesOptions {
  store: Store;
  log?: Log;
  /** Threads; 0 (the default): hosts run in this thread. */
  lanes?: number;
  /** Whether a host is looked at after each command. Default: no. */
  check?: boolean;
}

const SILENT: Log = { info() {}, warn() {}, error() {} };

export function createLanes({ store, log = SILENT, lanes = 0, check = false }: LanesOptions): RunningLanes {
  if (lanes > 0) return new LanePool({ store, log, lanes, allowServiceDeath: false, check });
  const onDamage = (damage: FoundDamage): void => void store.damage.add(damage);
  return new Lane({ store, log, allowServiceDeath: false, check, makeHost, restoreHost, die: killProcess, onDamage });
}

const SERVER = new URL('../../src/server-thread.ts', import.meta.url);

/** Lanes of which the first one serves HTTP on any port, as in the service, and where it does. */
export async function serveLanes(
  config: Config,
  store: Store,
  options: Pick<PoolOptions, 'log' | 'lanes' | 'check' | 'memory' | 'mostObjects'>,
): Promise<{ pool: LanePool; address: string }> {
  await seedTenants(store.tenants, config, SILENT);
  const server = {
    start: () => startLaneWorker(SERVER, { name: 'lane 0' }),
    settings: { config, fileKey: 'key-of-files', common: newCommonMemory(options.lanes) },
  };
  const pool = new LanePool({ ...options, store, allowServiceDeath: false, server });
  await pool.recover();
  const listening = await pool.listen('127.0.0.1', 0);
  if (!('address' in listening)) throw new Error(listening.message);
  return { pool, address: listening.address };
}
