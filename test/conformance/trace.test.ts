import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { parseTraces, readTraces, skipReason, traceFiles } from './trace.ts';

const HEADER = '{"trace":"a","suite":"iommufd"}';
const BUNDLE = `${HEADER}\n{"n":1,"call":"open"}\n\n{"trace":"b","suite":"vfio"}\n{"n":1,"call":"close"}\n`;

describe('trace files', () => {
  test('a header begins a new trace, and lines keep their numbers', () => {
    const traces = parseTraces('bundle.jsonl', BUNDLE);
    assert.deepEqual(
      traces.map(({ name, header, calls }) => [name, header.suite, calls.map(({ line, call }) => [line, call.call])]),
      [
        ['a', 'iommufd', [[2, 'open']]],
        ['b', 'vfio', [[5, 'close']]],
      ],
    );
  });

  test('what cannot be read is named by its line', () => {
    assert.throws(() => parseTraces('x.jsonl', `${HEADER}\n{`), /^Error: x\.jsonl:2: /);
    assert.throws(() => parseTraces('x.jsonl', '{"n":1}'), /x\.jsonl:1: a call before the first header/);
  });

  test('folders are searched, compressed files are read', (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'holdover-traces-'));
    t.after(() => rmSync(folder, { recursive: true }));
    mkdirSync(join(folder, 'below'));
    writeFileSync(join(folder, 'README.md'), 'no trace');
    writeFileSync(join(folder, 'below', 'a.jsonl'), BUNDLE);
    writeFileSync(join(folder, 'b.jsonl.gz'), gzipSync(BUNDLE));
    const files = traceFiles([folder]);
    assert.deepEqual(files, [join(folder, 'b.jsonl.gz'), join(folder, 'below', 'a.jsonl')]);
    for (const file of files) assert.equal(readTraces(file).length, 2);
  });

  test('traces with a call that nobody knows are passed over', () => {
    const reason = (call: object): string | null =>
      skipReason(parseTraces('x.jsonl', `${HEADER}\n${JSON.stringify({ expect: { ret: 0 }, ...call })}`)[0]!);
    for (const call of ['open', 'ioctl', 'attach', 'pasid_check', 'access_create', 'kexec'])
      assert.equal(reason({ call }), null, call);
    assert.equal(reason({ call: 'teleport' }), 'no such call: teleport');
  });
});
