/** Hosts of a test: in its own thread, or in lanes that are threads. */
import { makeHost, restoreHost } from '../../src/lanes/engine.ts';
import { Lane } from '../../src/lanes/lane.ts';
import type { RunningLanes } from '../../src/lanes/lanes.ts';
import { LanePool } from '../../src/lanes/pool.ts';
import { killProcess } from '../../src/lanes/service-death.ts';
import type { Log } from '../../src/log.ts';
import type { FoundDamage, Store } from '../../src/store/store.ts';

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
