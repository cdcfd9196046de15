/** Replays traces one after another on a service that is started for them. */
import type { Api } from './api.ts';
import { asBytes } from './as-bytes.ts';
import { replay } from './replay.ts';
import type { Outcome } from './report.ts';
import { startService } from './service.ts';
import { skipReason, type Trace } from './trace.ts';

export async function runTraces(
  traces: Iterable<Trace>,
  { stopAtFirst, bytes = false }: { stopAtFirst: boolean; bytes?: boolean },
  tell: (outcome: Outcome) => void,
): Promise<void> {
  const service = await startService();
  try {
    for (const trace of traces) {
      const outcome = await runTrace(bytes ? asBytes(service.api) : service.api, trace);
      tell(outcome);
      if (stopAtFirst && outcome.outcome === 'failed') break;
    }
  } finally {
    await service.stop();
  }
}

export async function runTrace(api: Api, trace: Trace): Promise<Outcome> {
  const reason = skipReason(trace);
  if (reason !== null) return { trace, outcome: 'skipped', reason };
  const difference = await replay(api, trace);
  return difference ? { trace, outcome: 'failed', difference } : { trace, outcome: 'passed' };
}
