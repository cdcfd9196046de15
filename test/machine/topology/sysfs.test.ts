import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Topology } from '../../../src/machine/topology/functions.ts';
import { parseSysfsGroups } from '../../../src/machine/topology/sysfs.ts';

const ryzen = readFileSync(new URL('../../fixtures/ryzen-2400g.iommu_groups.txt', import.meta.url), 'utf8');
const link = (group: number | string, bdf: string) => `/sys/kernel/iommu_groups/${group}/devices/${bdf}`;

function groupsOf(topology: Topology): Record<number, string[]> {
  assert.ok('functions' in topology, JSON.stringify(topology));
  const groups = Map.groupBy(topology.functions, ({ group }) => group);
  return Object.fromEntries([...groups].map(([group, members]) => [group, members.map(({ bdf }) => bdf)]));
}

function errorsOf(topology: Topology): { line: number; reason: string }[] {
  assert.ok('errors' in topology, 'expected errors');
  return topology.errors;
}

test('the groups of a real Ryzen machine', () => {
  assert.deepEqual(groupsOf(parseSysfsGroups(ryzen)), {
    0: ['0000:00:01.0'],
    1: ['0000:00:01.2'],
    2: ['0000:00:01.6'],
    3: ['0000:00:08.0'],
    4: ['0000:00:08.1'],
    5: ['0000:00:08.2'],
    6: ['0000:00:14.0', '0000:00:14.3'],
    7: [0, 1, 2, 3, 4, 5, 6, 7].map((fn) => `0000:00:18.${fn}`),
    8: [
      '0000:01:00.0',
      '0000:01:00.1',
      '0000:01:00.2',
      '0000:02:00.0',
      '0000:02:01.0',
      '0000:02:04.0',
      '0000:02:06.0',
      '0000:02:07.0',
      '0000:03:00.0',
      '0000:04:00.0',
      '0000:08:00.0',
    ],
    9: ['0000:09:00.0'],
    10: ['0000:0a:00.0'],
    11: ['0000:0a:00.1', '0000:0a:00.2', '0000:0a:00.3', '0000:0a:00.4', '0000:0a:00.6'],
    12: ['0000:0b:00.0'],
  });
});

test('what is around the lines does not matter: blank lines, spaces, CRLF, order, capital digits', () => {
  const text = `\r\n  ${link(1, '0000:0A:00.0')}  \r\n\r\n\t${link(0, '0000:00:1f.3')}`;
  assert.deepEqual(parseSysfsGroups(text), {
    functions: [
      { bdf: '0000:00:1f.3', group: 0, class: null, vendor: null, device: null, name: null },
      { bdf: '0000:0a:00.0', group: 1, class: null, vendor: null, device: null, name: null },
    ],
  });
});

test('a function in two lines is named with the line that had it first', () => {
  const text = [link(1, '0000:01:00.0'), '', link(2, '0000:01:00.0')].join('\n');
  const [error, ...more] = errorsOf(parseSysfsGroups(text));
  assert.deepEqual(more, []);
  assert.equal(error?.line, 3);
  assert.match(error.reason, /0000:01:00\.0 is already in line 1/);
});

test('lines that cannot be read are all named, with what is allowed', () => {
  const cases: [string, RegExp][] = [
    ['total 0', /not of the form \/sys\/kernel\/iommu_groups\/<group>\/devices\/<dddd:bb:dd\.f>/],
    [link(1, '0000:100:00.0'), /bus of 0000:100:00\.0 is out of range: 0 to ff/],
    [link(1, '0000:00:20.0'), /device .* out of range: 0 to 1f/],
    [link(1, '0000:00:1f.8'), /function .* out of range: 0 to 7/],
    [link(1, '10000:e1:00.0'), /domain .* out of range: 0 to ffff/],
    [link('4294967296', '0000:00:01.0'), /group 4294967296 is out of range: 0 to 2147483647/],
    [link(1, 'fd580000.ethernet'), /not a PCI function/],
    [link(-1, '0000:00:01.0'), /not of the form/],
    ['x'.repeat(1001), /longer than 1000 characters/],
  ];
  const errors = errorsOf(parseSysfsGroups([link(0, '0000:00:00.0'), ...cases.map(([line]) => line)].join('\n')));
  assert.deepEqual(
    errors.map(({ line }) => line),
    cases.map((_, index) => index + 2),
  );
  for (const [index, [, reason]] of cases.entries()) assert.match(errors[index]!.reason, reason);
});

test('a text without functions says what was expected', () => {
  for (const text of ['', '\n \r\n'])
    assert.match(errorsOf(parseSysfsGroups(text))[0]!.reason, /no functions: expected lines of the form \/sys/);
});

test('a text that is something else gives a few errors, not thousands', () => {
  assert.equal(errorsOf(parseSysfsGroups('nonsense\n'.repeat(5000))).length, 20);
});
