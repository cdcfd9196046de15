/** Files that cannot be used say so before anything runs: where, what, and what was meant. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { readScenarios } from '../../src/scenarios/reading.ts';
import { Unreadable } from '../../src/scenarios/source.ts';
import { scenarioFiles } from '../support/scenario-files.ts';

/** Each line of the problems, without the directory. */
function refuses(what: string, files: Readonly<Record<string, string>>, ...problems: (string | RegExp)[]): void {
  test(what, async (t) => {
    const directory = await scenarioFiles(t, files);
    const error = await readScenarios(path.join(directory, 'a.yaml')).then(
      () => assert.fail('it can be read'),
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof Unreadable, String(error));
    const told = error.problems.map((problem) => problem.replaceAll(`${directory}/`, ''));
    assert.equal(told.length, problems.length, told.join('\n'));
    for (const [index, problem] of problems.entries())
      if (typeof problem === 'string') assert.equal(told[index], problem);
      else assert.match(told[index]!, problem);
  });
}

refuses(
  'names that there are not, with the nearest one',
  {
    'a.yaml': `name: a
hots: {}
steps:
  - IOMMU_IOAS_ALOC: 3
  - IOMMU_IOAS_MAP_FILE: {on: 3, ioasid: 3}
  - getDevice: {bdf: 0000:01:00.0, flags: 1}
  - {close: 3, expct: EBADF}
  - for: {n: 1..2}
    steps:
      - {opn: /dev/iommu}
---
name: b
host: {presett: vmm-lab}
steps: [kexecHost: live-update]
`,
  },
  'a.yaml:2: `hots` is not known here; did you mean `host`?',
  'a.yaml:4: `IOMMU_IOAS_ALOC` is not known here; did you mean `IOMMU_IOAS_ALLOC`?',
  'a.yaml:5: `ioasid` is not known here; did you mean `ioas_id`?',
  'a.yaml:6: `flags` is not known here',
  'a.yaml:7: `expct` is not known here; did you mean `expect`?',
  'a.yaml:10: `opn` is not known here; did you mean `open`?',
  'a.yaml:13: `presett` is not known here; did you mean `preset`?',
);
refuses(
  'what is missing or of another form',
  {
    'a.yaml': `steps:
  - close: {}
  - {close: 3, states: L}
  - {close: 3, events: [{no: 1}]}
  - VFIO_DEVICE_RESET: [3]
`,
  },
  'a.yaml:1: `name` is missing',
  'a.yaml:2: `fd` is missing',
  /^a\.yaml:3: `states` cannot be so: .*record/,
  /^a\.yaml:4: `no` cannot be so: .*string/,
  'a.yaml:5: `VFIO_DEVICE_RESET` cannot be of this form',
);
refuses(
  'steps that do too much, or nothing, and setups that there are not',
  {
    'a.yaml': `name: a
steps:
  - close: 3
    open: /dev/iommu
  - for: {n: [1]}
  - use: prepared
    expect: EBUSY
  - {as: x}
  - {close: 3, with: {a: 1}}
  - use: prepard
  - use: successor
    with: {lenth: 1Mi}
`,
  },
  'a.yaml:4: a step does one thing, not close and open',
  'a.yaml:5: `for` has no `steps`',
  'a.yaml:7: `expect` does not go with `use`',
  'a.yaml:8: `as` does not go with a step that does nothing',
  'a.yaml:9: `with` does not go with `close`',
);
refuses(
  'setups, and symbols of theirs, that there are not',
  {
    'a.yaml': `name: a
steps:
  - use: prepard
  - use: successor
    with: {lenth: 1Mi}
`,
  },
  /^a\.yaml:3: there is no setup `prepard` \(setups\/prepard\.yaml\)$/,
  'a.yaml:5: setup `successor` has no symbol `lenth`; did you mean `length`?',
);
refuses(
  'a host beside hosts',
  { 'a.yaml': 'name: a\nhost: {}\nhosts: {a: {}}\nsteps:\n  - kexecHost: plain\n' },
  'a.yaml:3: `hosts` is there in place of `host`',
);
refuses('text that is no YAML', { 'a.yaml': 'name: a\nsteps: [\n' }, /^a\.yaml:\d+: /);
refuses('an empty file', { 'a.yaml': '' }, 'a.yaml:1: there is nothing in it');

test('numbers of 64 bits, sizes, and texts that look like them', async (t) => {
  const symbols = "{a: 0xffffffffffffffff, b: 0x100000000, c: 64Mi, d: '64Mi', e: -1, f: 1Ki}";
  const directory = await scenarioFiles(t, { 'a.yaml': `name: a\nsymbols: ${symbols}\nsteps: [kexecHost: plain]\n` });
  const [scenario] = await readScenarios(path.join(directory, 'a.yaml'));
  const expected = { a: '0xffffffffffffffff', b: 2 ** 32, c: 64 * 2 ** 20, d: '64Mi', e: -1, f: 1024 };
  assert.deepEqual(scenario!.input.symbols, expected);
});
