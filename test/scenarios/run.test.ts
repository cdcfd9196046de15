/** What scenarios can say, beyond what the files of the project do, and what a failure tells. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import type { Outcome } from '../../src/scenarios/outcome.ts';
import { runScenarios } from '../../src/scenarios/run.ts';
import { useApp } from '../support/app.ts';
import { scenarioFiles } from '../support/scenario-files.ts';

const app = useApp();

async function run(t: TestContext, text: string): Promise<Outcome[]> {
  const directory = await scenarioFiles(t, { 'a.yaml': text });
  return [...(await runScenarios([path.join(directory, 'a.yaml')], app)).outcomes];
}

/** The line and the sentence of each failure, as there is one in each scenario. */
async function failures(t: TestContext, text: string): Promise<[number, string, unknown][]> {
  return (await run(t, text)).map(({ failure }) => {
    assert.ok(failure !== undefined);
    return [Number(failure.at.split(':').at(-1)), failure.message, failure.differences[0]?.got];
  });
}

test('what a scenario cannot do fails at its line', async (t) => {
  const told = await failures(
    t,
    `name: no process
steps:
  - open: /dev/iommu
---
name: which process
steps:
  - createProcess: a
  - createProcess: b
  - open: /dev/iommu
---
name: another process
steps:
  - createProcess: vmm
  - {by: vm, open: /dev/iommu}
---
name: processes end with their kernel
steps:
  - createProcess: vmm
  - kexecHost: plain
  - open: /dev/iommu
---
name: which host
hosts: {a: {}, b: {}}
steps:
  - kexecHost: plain
---
name: another field
steps:
  - createProcess: vmm
    as: {x: pd}
---
name: no engine
steps:
  - expect: no-gap
---
name: a host that is refused
host: {preset: vmm-lap}
steps:
  - kexecHost: plain
---
name: a request that is not valid
steps:
  - armFault: nowhere
`,
  );
  assert.deepEqual(
    told.map(([line, message]) => [line, message]),
    [
      [3, 'no process runs: begin with `createProcess`'],
      [9, 'several processes run: say `by:`, one of a, b'],
      [14, 'no process `vm` runs; did you mean `vmm`?'],
      [20, 'no process runs: begin with `createProcess`'],
      [25, 'there are several hosts: say `host:`, one of a, b'],
      [30, 'the answer has no `pd`; did you mean `pid`?'],
      [34, 'the DMA had a gap'],
      [37, 'the host was refused'],
      [43, 'the step was refused'],
    ],
  );
  assert.match(JSON.stringify(told[7]![2]), /did you mean `vmm-lab`/);
});

test('a failure in a setup names the setup and who uses it', async (t) => {
  const directory = await scenarioFiles(t, {
    'setups/inner.yaml': 'steps:\n  - close: 77\n',
    'setups/outer.yaml': 'steps:\n  - use: inner\n',
    'setups/circle.yaml': 'steps:\n  - use: circle\n',
    'a.yaml': 'name: a\nsteps:\n  - createProcess: vmm\n  - use: outer\n---\nname: b\nsteps:\n  - use: circle\n',
  });
  const { outcomes } = await runScenarios([directory], app);
  const [inner, circle] = outcomes.map(({ failure }) => failure!);
  assert.equal(inner!.at, path.join(directory, 'setups/inner.yaml:2'));
  const used = `${path.join(directory, 'a.yaml:4')}, ${path.join(directory, 'setups/outer.yaml:2')}`;
  assert.equal(inner!.message, `the step was refused (in a setup, used at ${used})`);
  assert.match(circle!.message, /^setups use each other without an end/);
});

test('a step without `hazards` raises none, and other events than those expected are found', async (t) => {
  const told = await failures(
    t,
    `name: a hazard
steps:
  - use: vmm
  - kexecHost: live-update
---
name: an event that did not happen
steps:
  - kexecHost: plain
    events: [kexec, panic]
---
name: an event that must not
steps:
  - kexecHost: plain
    events: [{no: kexec}]
---
name: one too few
steps:
  - kexecHost: plain
    events: [kexec, {kind: boot, kernel: 2}, {kind: boot, kernel: 3}]
`,
  );
  assert.deepEqual(
    told.map(([line, message]) => [line, message]),
    [
      [4, 'the step raised a hazard'],
      [9, 'other events happened'],
      [14, 'other events happened'],
      [19, 'other events happened'],
    ],
  );
});

test('symbols are made of others, and what a setup names is there behind it', async (t) => {
  const directory = await scenarioFiles(t, {
    'setups/renames.yaml': 'symbols: {b: $a + 1}\nsteps:\n  - open: $x\n    as: x\n  - close: $x\n    expect: 0\n',
    'a.yaml': `name: a
symbols: {a: 1, c: {d: $a + 1}}
steps:
  - createProcess: vmm
  - for: {x: [/dev/null, /dev/null]}
    steps:
      - {use: renames, with: {x: /dev/iommu}}
  - close: $x
    expect: EBADF
  - lseek: {fd: $x + $b + $c.d, offset: 0, whence: 0}
    expect: EBADF
  - open: /dev/null
    expect: 9
`,
  });
  const [outcome] = (await runScenarios([path.join(directory, 'a.yaml')], app)).outcomes;
  const { at, differences } = outcome!.failure!;
  assert.deepEqual([at, differences[0]!.got], [path.join(directory, 'a.yaml:13'), 3]);
});

test('a refusal among several calls, accesses or operations of a batch is one of the step', async (t) => {
  const told = await failures(
    t,
    `name: calls
steps:
  - createProcess: vmm
  - runCalls: {calls: [{call: open, path: /dev/iommu}, {call: close, fd: 77}]}
---
name: accesses
steps:
  - doDma: {bdf: 0000:01:00.0, accesses: [{op: read, iova: 0, length: 1}]}
---
name: a batch
steps:
  - use: vmm
  - runBatch: {on: $iommufd, ioas: $ioas, operations: [{op: unmap, iova: 0x77000, length: 0x1000}]}
---
name: one that is expected, of another errno
steps:
  - createProcess: vmm
  - runCalls: {calls: [{call: close, fd: 77}]}
    expect: {results: [{errno: EINVAL}]}
`,
  );
  assert.deepEqual(
    told.map(([line, message]) => [line, message]),
    [
      [4, 'the step was refused'],
      [8, 'the step was refused'],
      [13, 'the step was refused'],
      [19, 'the answer is another one'],
    ],
  );
});

test('the lines that a failure prints do the same again', async (t) => {
  const [outcome] = await run(
    t,
    `name: "it's a test"
steps:
  - createProcess: "it's"
  - memfd_create: {name: "it's", flags: [], size: 4Ki}
    as: fd
  - unmapProcessMemory: {address: 0x1000, length: 4Ki}
  - pread: {fd: $fd, offset: 0, length: 9000}
    expect: {data: {text: x}}
`,
  );
  const script = outcome!.failure!.reproduce.join('\n');
  const env = { PATH: process.env.PATH, HOLDOVER_URL: app.url, HOLDOVER_KEY: app.key };
  const { stdout } = await promisify(execFile)('bash', ['-c', script], { env });
  const last = stdout.slice(stdout.lastIndexOf('{"results"'));
  assert.deepEqual(JSON.parse(last), outcome!.failure!.answer);
});

test('reports are JUnit XML, JSON and a page, in which nothing of a scenario is markup', async (t) => {
  const name = `<b>&amp; "it's" \u0001`;
  const directory = await scenarioFiles(t, {
    'a.yaml': `name: ${JSON.stringify(name)}\nabout: <script>\nsteps:\n  - createProcess: <i>\n  - open: /<u>\n---\nname: fine\nsteps:\n  - kexecHost: plain\n`,
  });
  const [junit, json, html] = ['j.xml', 'j.json', 'j.html'].map((file) => path.join(directory, file)) as [
    string,
    string,
    string,
  ];
  let written = '';
  const options = {
    ...{ url: app.url, key: app.key },
    junit,
    json,
    html,
    parallel: 1,
    write(text: string) {
      written += text;
    },
  };
  const summary = await runScenarios([path.join(directory, 'a.yaml')], options);
  assert.deepEqual([summary.passed, summary.failed], [1, 1]);
  assert.match(written, /^FAIL {2}.*\nok {4}fine .*\n\nFAILED .*\n.*a\.yaml:5: the step was refused/);
  assert.match(written, /expected success\n +got +\{"errno":"ENOENT"/);
  assert.match(written, /\n1 passed, 1 failed, in [\d.]+ s\n$/);

  const xml = await readFile(junit, 'utf8');
  assert.match(xml, /<testsuites name="holdover" tests="2" failures="1" errors="0"/);
  assert.match(xml, /<testcase name="&lt;b&gt;&amp;amp; &quot;it&apos;s&quot; \ufffd" .*line="1"/);
  assert.match(xml, /<failure type="expectation" message=".*a\.yaml:5: the step was refused">/);
  assert.match(xml, /<testcase name="fine" .*\/>/);
  assert.deepEqual(tagsOf(xml), ['?xml', 'failure', 'testcase', 'testsuite', 'testsuites']);

  const told = JSON.parse(await readFile(json, 'utf8'));
  assert.deepEqual(
    told.outcomes.map((outcome: Outcome) => [outcome.name, outcome.line, outcome.steps, outcome.failure?.message]),
    [
      [name, 1, 2, 'the step was refused'],
      ['fine', 7, 1, undefined],
    ],
  );

  const page = await readFile(html, 'utf8');
  assert.match(page, /<span class="bad">1 failed<\/span>, 1 passed/);
  assert.ok(!tagsOf(page).some((tag) => ['b', 'i', 'u', 'script', 'link', 'img'].includes(tag)), tagsOf(page).join());
});

const tagsOf = (text: string): string[] => [...new Set([...text.matchAll(/<([?\w]+)/g)].map(([, tag]) => tag!))].sort();

test('without a service, and without files, it says so', async (t) => {
  const directory = await scenarioFiles(t, { 'a.yaml': 'name: a\nsteps:\n  - kexecHost: plain\n' });
  const { outcomes } = await runScenarios([directory], { url: 'http://127.0.0.1:1', key: 'k' });
  assert.match(
    outcomes[0]!.failure!.message,
    /^the scenario could not be run: fetch failed: .*(ECONNREFUSED|bad port)/,
  );
  await assert.rejects(runScenarios([await scenarioFiles(t, {})], app), /there are no scenarios in/);
});
