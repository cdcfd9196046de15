import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseTopology, type Topology } from '../../../src/machine/topology/topology.ts';

const ryzen = readFileSync(new URL('../../fixtures/ryzen-2400g.iommu_groups.txt', import.meta.url), 'utf8');
const FORMAT = 'sysfs-iommu-groups';
const link = (group: number | string, bdf: string) => `/sys/kernel/iommu_groups/${group}/devices/${bdf}`;

function read(text: string): Topology {
  const topology = parseTopology(text, FORMAT);
  assert.ok('functions' in topology, JSON.stringify(topology));
  // Whoever leaves the format out gets the same.
  assert.deepEqual(parseTopology(text, undefined), topology);
  return topology;
}

function groupsOf(text: string): Record<number, string[]> {
  const groups = Map.groupBy(read(text).functions, ({ group }) => group);
  return Object.fromEntries([...groups].map(([group, members]) => [group, members.map(({ bdf }) => bdf)]));
}

function errorsOf(text: string): string[] {
  const topology = parseTopology(text, FORMAT);
  assert.ok('errors' in topology, 'expected errors');
  return topology.errors.map(({ line, text: quoted, reason }) => `${line} ${quoted}: ${reason}`);
}

test('the groups of a real Ryzen machine', () => {
  assert.deepEqual(groupsOf(ryzen), {
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
  const text = `\ufeff\r\n  ${link(1, '0000:0A:00.0')}  \r\n\r\n\t${link(0, '0000:00:1f.3')}\r\n> \`${link('007', '0000:02:00.0')}\``;
  const { functions } = read(text);
  assert.deepEqual(
    functions.map(({ line, ...fn }) => [line.number, fn]),
    [
      [4, { bdf: '0000:00:1f.3', group: 0, class: null, vendor: null, device: null, name: null }],
      [5, { bdf: '0000:02:00.0', group: 7, class: null, vendor: null, device: null, name: null }],
      [2, { bdf: '0000:0a:00.0', group: 1, class: null, vendor: null, device: null, name: null }],
    ],
  );
});

const TWO = { 1: ['0000:00:1c.6', '0000:03:00.0'] };
const TARGET = '../../../../devices/pci0000:00/0000:00:1c.6';

test('two functions as find, ls, tree, readlink and the log show them', () => {
  const mode = 'lrwxrwxrwx 1 root root 0 Feb  4 10:29';
  const texts = {
    'find with directories': `/sys/kernel/iommu_groups\n/sys/kernel/iommu_groups/1\n/sys/kernel/iommu_groups/1/reserved_regions\n/sys/kernel/iommu_groups/1/type\n/sys/kernel/iommu_groups/1/devices\n${link(1, '0000:00:1c.6')}\n${link(1, '0000:03:00.0')}`,
    'find from there': `$ cd /sys/kernel/iommu_groups; find . -type l\n./1/devices/0000:00:1c.6\n./1/devices/0000:03:00.0`,
    relative: '1/devices/0000:00:1c.6\n1/devices/0000:03:00.0',
    'find -ls': `12345 0 ${mode} ${link(1, '0000:00:1c.6')} -> ${TARGET}\n12346 0 ${mode} ${link(1, '0000:03:00.0')} -> ${TARGET}/0000:03:00.0`,
    'ls -l of each group': `/sys/kernel/iommu_groups/1/devices:\ntotal 0\n${mode} 0000:00:1c.6 -> ${TARGET}\n${mode} 0000:03:00.0 -> ${TARGET}/0000:03:00.0\n`,
    'ls -ld of the links': `${mode} ${link(1, '0000:00:1c.6')} -> ${TARGET}\n${mode} ${link(1, '0000:03:00.0')} -> ${TARGET}/0000:03:00.0`,
    'ls of each group': '/sys/kernel/iommu_groups/1/devices/:\n0000:00:1c.6  0000:03:00.0@\n',
    'ls -Rl': `/sys/kernel/iommu_groups/1:\ntotal 0\ndrwxr-xr-x 2 root root    0 Feb  4 10:29 devices\n-r--r--r-- 1 root root 4096 Feb  4 10:29 reserved_regions\n-rw-r--r-- 1 root root 4096 Feb  4 10:29 type\n\n/sys/kernel/iommu_groups/1/devices:\n${mode} 0000:00:1c.6 -> ${TARGET}\n${mode} 0000:03:00.0 -> ${TARGET}/0000:03:00.0`,
    'links of the functions': `${mode} /sys/bus/pci/devices/0000:00:1c.6/iommu_group -> ../../../kernel/iommu_groups/1\n${mode} /sys/devices/pci0000:00/0000:00:1c.6/0000:03:00.0/iommu_group -> ../../../../kernel/iommu_groups/1`,
    'functions and their links':
      '0000:00:1c.6 /sys/kernel/iommu_groups/1\n/sys/bus/pci/devices/0000:03:00.0: ../../../../kernel/iommu_groups/1',
    tree: `/sys/kernel/iommu_groups\n├── 1\n│\u00a0\u00a0 ├── devices\n│\u00a0\u00a0 │\u00a0\u00a0 ├── 0000:00:1c.6 -> ${TARGET}\n│\u00a0\u00a0 │\u00a0\u00a0 └── 0000:03:00.0 -> ${TARGET}/0000:03:00.0\n│\u00a0\u00a0 ├── reserved_regions\n│\u00a0\u00a0 └── type\n\n3 directories, 2 files`,
    'tree in ASCII': `/sys/kernel/iommu_groups/\n|-- 1\n|   |-- devices\n|   |   |-- 0000:00:1c.6 -> ${TARGET}\n|   |   \`-- 0000:03:00.0 -> ${TARGET}\n|   \`-- type`,
    dmesg:
      '[    0.647361] pci 0000:00:1c.6: Adding to iommu group 1\n[    0.6] pci 0000:03:00.0: Adding to iommu group 1',
    'dmesg -T':
      '[Sun Feb  4 10:29:33 2024] pci 0000:00:1c.6: Adding to iommu group 1\n[Sun Feb  4 10:29:33 2024] pci 0000:03:00.0: Adding to iommu group 1',
    journalctl:
      'Feb 04 10:29:33 host kernel: pci 0000:00:1c.6: Adding to iommu group 1\n2024-02-04T10:29:33+0100 host kernel: pci 0000:03:00.0: Adding to iommu group 1',
    'an older kernel':
      '[    2.188848] iommu: Adding device 0000:00:1c.6 to group 1\niommu: Adding device 0000:03:00.0 to group 1',
    'no time': 'pci 0000:00:1c.6: Adding to iommu group 1\nvfio-pci 0000:03:00.0: Adding to iommu group 1',
    'gone in between':
      'pci 0000:00:1c.6: Adding to iommu group 1\npci 0000:03:00.0: Adding to iommu group 2\npci 0000:03:00.0: Removing from iommu group 2\npci 0000:03:00.0: Adding to iommu group 1',
    colours: `\u001b[35m${link(1, '0000:00:1c.6')}\u001b[0m\n\u001b[35m\u001b[K/sys/kernel/\u001b[m\u001b[Kiommu_groups/1/devices/0000:03:00.0`,
  };
  for (const [form, text] of Object.entries(texts)) assert.deepEqual(groupsOf(text), TWO, form);
});

test('the log says what functions are, and which IOMMU it is', () => {
  const { functions, notes, platform } = read(`
[    0.000000] Linux version 6.8.0 (builder@host) (gcc 13.2)
[    0.412345] pci 0000:03:00.0: [144d:a808] type 00 class 0x010802 PCIe Endpoint
[    0.412399] pci 0000:03:00.0: BAR 0 [mem 0xfcf00000-0xfcf03fff 64bit]
[    0.512345] AMD-Vi: Using global IVHD EFR:0x58f77ef22294ade
[    0.647361] pci 0000:03:00.0: Adding to iommu group 1
[    0.650000] platform a600000.usb: Adding to iommu group 12`);
  const [{ line, ...fn }] = functions as [Topology['functions'][0]];
  assert.equal(line.number, 6);
  assert.deepEqual(fn, { bdf: '0000:03:00.0', group: 1, vendor: '144d', device: 'a808', class: '0108', name: null });
  assert.deepEqual([platform.kind, platform.from.line], ['amd-vi', 5]);
  assert.deepEqual(
    notes.map(({ line: number, what }) => [number, what]),
    [
      [2, 'a line of the kernel’s log that says nothing of a group: passed over (and 2 more such lines)'],
      [7, '"a600000.usb" is not a PCI function: passed over'],
    ],
  );
});

test('devices that are not PCI functions are passed over, and noted one by one', () => {
  const { functions, notes } = read(
    [link(0, 'APMC0D07:00'), link(1, '0001:00:00.0'), link(2, 'arm-smmu-v3.0.auto')].join('\n'),
  );
  assert.deepEqual(
    functions.map(({ bdf, group }) => [bdf, group]),
    [['0001:00:00.0', 1]],
  );
  assert.deepEqual(notes, [
    { line: 1, text: link(0, 'APMC0D07:00'), what: '"APMC0D07:00" is not a PCI function: passed over' },
    { line: 3, text: link(2, 'arm-smmu-v3.0.auto'), what: '"arm-smmu-v3.0.auto" is not a PCI function: passed over' },
  ]);
});

test('a function in two groups is named with the line that had it first; twice in one it is there once', () => {
  const [error, ...more] = errorsOf([link(1, '0000:01:00.0'), '', link(2, '0000:01:00.0')].join('\n'));
  assert.deepEqual(more, []);
  assert.match(error!, /^3 .*: 0000:01:00\.0 is already in line 1, in another group/);
  assert.deepEqual(groupsOf(`${link(1, '0000:01:00.0')}\n${link(1, '0000:01:00.0')}`), { 1: ['0000:01:00.0'] });
});

test('lines that cannot be read are all quoted, with what is allowed', () => {
  const cases: [string, RegExp][] = [
    ['Gruppe 7:', /expected \/sys\/kernel\/iommu_groups\/<group>\/devices\/<dddd:bb:dd\.f>/],
    [link(1, '0000:100:00.0'), /bus of 0000:100:00\.0 is out of range: 0 to ff/],
    [link(1, '0000:00:20.0'), /device .* out of range: 0 to 1f/],
    [link(1, '0000:00:1f.8'), /function .* out of range: 0 to 7/],
    [link(1, '100000000:e1:00.0'), /domain .* out of range: 0 to ffffffff/],
    [link('4294967296', '0000:00:01.0'), /group 4294967296 is out of range: 0 to 2147483647/],
    [link(-1, '0000:00:01.0'), /expected/],
    ["ls: cannot access '/sys/kernel/iommu_groups/*': No such file or directory", /this machine has no IOMMU/],
    ['x'.repeat(1001), /longer than 1000 characters/],
  ];
  const errors = errorsOf([link(0, '0000:00:00.0'), ...cases.map(([line]) => line)].join('\n'));
  assert.equal(errors.length, cases.length);
  for (const [index, [line, reason]] of cases.entries()) {
    assert.ok(errors[index]!.startsWith(`${index + 2} ${line.slice(0, 120)}`), errors[index]!);
    assert.match(errors[index]!, reason);
  }
  assert.match(errorsOf('0000:01:00.0')[0]!, /^1 0000:01:00\.0: no group is said before it/);
});

test('a text without functions says what was expected', () => {
  for (const text of ['', '\n \r\n', '/sys/kernel/iommu_groups', 'my machine\n[sudo] password for bob:\n(END)'])
    assert.match(errorsOf(text)[0]!, /no functions: expected \/sys.*; a machine without an IOMMU has `iommus: \[\]`/);
});

test('the other form says so', () => {
  const lspci = 'IOMMU Group 1:\n01:00.0 Ethernet controller [0200]: Intel Corporation I210 [8086:1533]';
  for (const text of [lspci, lspci.slice(15), `$ ./script\n${lspci}`]) {
    const errors = errorsOf(text);
    assert.equal(errors.length, 1);
    assert.match(errors[0]!, /this looks like `lspci-by-group`, and `format` is `sysfs-iommu-groups`: give the other/);
  }
});

test('a text that is something else gives a few errors, not thousands', () => {
  assert.equal(errorsOf('0000:01:00.0\n'.repeat(5000)).length, 20);
  const [only, ...more] = errorsOf('nonsense\n'.repeat(5000));
  assert.match(only!, /^1 nonsense: no functions: expected \/sys/);
  assert.deepEqual(more, []);
});

test('an address, and the link to its group', () => {
  for (const line of [
    '0000:01:00.0 -> ../../../kernel/iommu_groups/12',
    '/sys/bus/pci/devices/0000:01:00.0/iommu_group -> ../../../../kernel/iommu_groups/12',
    '0000:01:00.0: /sys/kernel/iommu_groups/12',
  ])
    assert.deepEqual(groupsOf(line), { 12: ['0000:01:00.0'] }, line);
});

test('`ls -l` of one group says which only in the command', () => {
  const listing = `total 0
drwxr-xr-x 2 root root 0 Mar 24 11:22 .
lrwxrwxrwx 1 root root 0 Mar 24 11:22 0000:00:01.0 -> ../../../../devices/pci0000:00/0000:00:01.0
lrwxrwxrwx. 1 root root 0 Mar 24 11:22 0000:01:00.0 -> ../../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0`;
  for (const command of ['', 'root@pve:~# ', '$ '])
    for (const path of ['/sys/kernel/iommu_groups/12/devices/', '/sys/kernel/iommu_groups/12/devices'])
      assert.deepEqual(groupsOf(`${command}ls -lah ${path}\n${listing}`), { 12: ['0000:00:01.0', '0000:01:00.0'] });
});

test('what people write around it, and programs before and behind it, is passed over and noted', () => {
  const { functions, notes } =
    read(`-- Logs begin at Mon 2021-03-01 10:00:00 CET, end at Tue 2021-03-02 12:00:00 CET. --
Mar 02 11:59:01 fedora kernel: pci 0000:00:02.0: Adding to iommu group 1
So what should I pass through?
lines 1-2/2 (END)
logout
Connection to 192.0.2.7 closed.`);
  assert.deepEqual(
    functions.map(({ bdf, group }) => [bdf, group]),
    [['0000:00:02.0', 1]],
  );
  assert.deepEqual(
    notes.map(({ line, what }) => [line, what]),
    [[1, 'says nothing of a group or a function: passed over (and 4 more such lines)']],
  );
});
