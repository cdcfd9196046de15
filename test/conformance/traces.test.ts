/** Every golden trace, through the HTTP API: what a real Linux 7.3 answered. */
import assert from 'node:assert/strict';
import { relative } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { describe as tell } from './report.ts';
import { runTrace } from './run.ts';
import { type Service, startService } from './service.ts';
import { readTraces, skipReason, traceFiles } from './trace.ts';

const FOLDER = fileURLToPath(new URL('traces', import.meta.url));

describe('golden traces', () => {
  let service: Service;
  before(async () => {
    service = await startService();
  });
  after(() => service.stop());

  for (const file of traceFiles([FOLDER])) {
    const traces = readTraces(file).filter((trace) => skipReason(trace) === null);
    if (traces.length === 0) continue;
    test(`${relative(FOLDER, file)} (${traces.length})`, async () => {
      for (const trace of traces) {
        const outcome = await runTrace(service.api, trace);
        if (outcome.outcome === 'failed') assert.fail(tell(trace, outcome.difference));
      }
    });
  }
});
