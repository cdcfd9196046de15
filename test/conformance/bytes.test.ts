/** Golden traces once more, with the structs of all ioctls as the bytes that a C program has. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { asBytes } from './as-bytes.ts';
import { describe as tell } from './report.ts';
import { runTrace } from './run.ts';
import { type Service, startService } from './service.ts';
import { readTraces, skipReason, traceFiles } from './trace.ts';

const SUITES = ['iommufd', 'iommufd-extensions', 'liveupdate', 'vfio', 'vfio-device'];

describe('golden traces, as bytes', () => {
  let service: Service;
  before(async () => {
    service = await startService();
  });
  after(() => service.stop());

  for (const suite of SUITES)
    test(suite, async () => {
      const files = traceFiles([fileURLToPath(new URL(`traces/${suite}`, import.meta.url))]);
      const traces = files.filter((file) => file.endsWith('.jsonl')).flatMap(readTraces);
      for (const trace of traces.filter((each) => skipReason(each) === null)) {
        const outcome = await runTrace(asBytes(service.api), trace);
        if (outcome.outcome === 'failed') assert.fail(tell(trace, outcome.difference));
      }
    });
});
