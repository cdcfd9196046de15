/** Batches as a client writes them, done by an engine without a service. */
import type { EngineVmm } from '../../../bench/engine.ts';
import { hex } from '../../../bench/vmm.ts';
import { Batch, type BatchOutcome } from '../../../src/host/batch/batch.ts';

/** Operations that are done before others would have their turns. */
export const STEP = 4096;

export interface Operation {
  op: 'map' | 'unmap';
  iova: number;
  length: number;
  userVa: number;
}

export interface Performing {
  onError?: 'stop' | 'continue';
  results?: boolean;
}

export function perform(
  { host, pid, fd, ioas }: EngineVmm,
  operations: readonly Operation[],
  { onError = 'stop', results = false }: Performing = {},
): BatchOutcome {
  const written = operations.map(({ op, iova, length, userVa }) => ({
    op,
    iova: hex(iova),
    length: hex(length),
    ...(op === 'map' && { userVa: hex(userVa) }),
  }));
  const payload = new TextEncoder().encode(JSON.stringify({ onError, results, operations: written }));
  const batch = new Batch(host, { op: 'batch', pid, fd, ioas, format: 'json' }, payload);
  while (!batch.step(STEP));
  return batch.outcome!;
}
