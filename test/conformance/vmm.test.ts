/** What a real QEMU asked of iommufd while its guest booted twice, with the answers. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { describe as tell } from './report.ts';
import { runTrace } from './run.ts';
import { type Service, startService } from './service.ts';
import { readTraces } from './trace.ts';

describe('calls of a real VMM', () => {
  let service: Service;
  before(async () => {
    service = await startService();
  });
  after(() => service.stop());

  for (const name of ['vmm-q35-4g', 'vmm-q35-4g-memfd', 'vmm-q35-512g']) {
    test(name, async () => {
      const file = fileURLToPath(new URL(`../fixtures/${name}.calls.jsonl`, import.meta.url));
      const traces = readTraces(file);
      assert.equal(traces.length, 1);
      for (const trace of traces) {
        const outcome = await runTrace(service.api, trace);
        if (outcome.outcome === 'failed') assert.fail(tell(trace, outcome.difference));
        assert.equal(outcome.outcome, 'passed');
      }
    });
  }
});
