/** The table of errnos has what a real Linux has answered. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ERRNO, type Errno } from '../../../src/kernel/errno.ts';
import { ERRNOS } from '../../../src/kernel/uapi/errnos.ts';
import { readTraces, skipReason, traceFiles } from '../../conformance/trace.ts';

const TRACES = fileURLToPath(new URL('../../conformance/traces', import.meta.url));
const TABLE: Readonly<Record<string, readonly Errno[]>> = ERRNOS;

test('errnos stand in the order of their numbers, each once', () => {
  for (const [name, errnos] of Object.entries(TABLE)) {
    const numbers = errnos.map((errno) => ERRNO[errno]);
    assert.deepEqual(
      numbers,
      [...new Set(numbers)].sort((a, b) => a - b),
      name,
    );
  }
});

test('each errno of the golden traces is in the row of its call', () => {
  const missing = new Set<string>();
  let seen = 0;
  for (const file of traceFiles([TRACES]))
    for (const trace of readTraces(file)) {
      if (skipReason(trace) !== null) continue;
      for (const { call } of trace.calls) {
        const { errno } = call.expect;
        const row = TABLE[String(call.call === 'ioctl' ? call.request : call.call)];
        if (errno === undefined || row === undefined) continue;
        seen += 1;
        if (!row.some((one) => one === errno)) missing.add(`${call.call} ${call.request ?? ''}: ${errno}`);
      }
    }
  assert.deepEqual([...missing], []);
  assert.ok(seen > 1000, `${seen}`);
});
