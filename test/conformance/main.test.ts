/** The command line. Above all: a run on a trace in which one answer is not the kernel's must fail. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));
const TRACES = fileURLToPath(new URL('traces', import.meta.url));
const LONG = join(TRACES, 'iommufd', 'wave2-long-bundle-00.jsonl.gz');
const SOUND = join(TRACES, 'iommufd', 'unmap-cuts-area-enoent.jsonl');

function run(...args: string[]): { status: number | null; lines: string[]; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8' });
  return { status, lines: stdout.trimEnd().split('\n'), stderr };
}

describe('npm run conformance', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'holdover-altered-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  /** A copy of a sound trace in which the answer of one line is another. */
  function altered(name: string, alter: (expect: Record<string, unknown>) => unknown): { file: string; line: number } {
    const lines = readFileSync(SOUND, 'utf8').trimEnd().split('\n');
    const index = lines.findIndex((line) => line.includes('"errno":"ENOENT"'));
    assert.ok(index > 0, 'a call that fails with ENOENT');
    const call = JSON.parse(lines[index]!);
    lines[index] = JSON.stringify({ ...call, expect: alter(call.expect) });
    const file = join(folder, name);
    writeFileSync(file, `${lines.join('\n')}\n`);
    return { file, line: index + 1 };
  }

  test('a sound trace passes', () => {
    const { status, lines } = run(SOUND);
    assert.deepEqual(lines, ['1 passed, 0 failed']);
    assert.equal(status, 0);
  });

  test('a trace passes whose calls are so many that a thread of its own reads them', () => {
    const { status, lines, stderr } = run('--only', '^wave2-long-0000$', LONG);
    assert.deepEqual([status, lines, stderr], [0, ['1 passed, 0 failed'], '']);
  });

  test('a trace with one altered answer fails, and the report says where', () => {
    const { file, line } = altered('errno.jsonl', () => ({ ret: -1, errno: 'EINVAL' }));
    const { status, lines } = run(file, SOUND);
    assert.equal(status, 1);
    assert.match(lines[0]!, /^FAILED unmap-cuts-area-enoent /);
    assert.ok(lines[0]!.includes(`(${file}:${line})`));
    assert.match(lines[1]!, /^ {2}call {6}\{.*"request":"IOMMU_IOAS_UNMAP"/);
    assert.equal(lines[2], '  expected  {"ret":-1,"errno":"EINVAL"}');
    assert.match(lines[3]!, /^ {2}got {7}\{.*"errno":"ENOENT"/);
    assert.equal(lines.at(-1), '1 passed, 1 failed');
  });

  test('success instead of a failure fails, and so does an output that is not there', () => {
    const success = altered('success.jsonl', () => ({ ret: 0 }));
    const output = altered('output.jsonl', (expect) => ({ ...expect, arg: { length: '0x0' } }));
    const { status, lines } = run(success.file, output.file);
    assert.equal(status, 1);
    assert.equal(lines.at(-1), '0 passed, 2 failed');
  });

  test('--stop-at-first stops there, --json says it to programs', () => {
    const { file } = altered('first.jsonl', () => ({ ret: 0 }));
    const { status, lines } = run('--stop-at-first', '--json', file, SOUND);
    assert.equal(status, 1);
    const [trace, figures] = lines.map((line) => JSON.parse(line));
    assert.equal(lines.length, 2);
    assert.equal(trace.outcome, 'failed');
    assert.deepEqual(trace.difference.expected, { ret: 0 });
    assert.equal(trace.difference.got.errno, 'ENOENT');
    assert.deepEqual(figures, { passed: 0, failed: 1, skipped: 0 });
  });

  test('--only picks traces, and what is passed over is said', () => {
    const [header] = readFileSync(SOUND, 'utf8').split('\n', 1);
    const unknown = join(folder, 'unknown-call.jsonl');
    writeFileSync(unknown, `${header}\n{"n":1,"pid":1,"call":"teleport","expect":{"ret":0}}\n`);
    const { status, lines } = run('--only', 'unmap-cuts|unknown-call', TRACES, unknown);
    assert.deepEqual(lines, ['1 skipped (1: no such call: teleport)', '1 passed, 0 failed']);
    assert.equal(status, 0);
  });

  test('wrong arguments and empty runs are refused', () => {
    for (const args of [[], ['--unknown', SOUND], ['no/such/file.jsonl'], ['--only', 'nothing-like-it', SOUND]]) {
      const { status, stderr } = run(...args);
      assert.equal(status, 2, args.join(' '));
      assert.match(stderr, /usage: npm run conformance/);
    }
  });
});
