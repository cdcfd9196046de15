import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { TopologyFunction } from '../../../src/machine/topology/functions.ts';
import { parseLspciGroups } from '../../../src/machine/topology/lspci.ts';

const alderLake = readFileSync(new URL('../../fixtures/alder-lake.lspci-by-group.txt', import.meta.url), 'utf8');

function functionsOf(text: string): TopologyFunction[] {
  const topology = parseLspciGroups(text);
  assert.ok('functions' in topology, JSON.stringify(topology));
  return topology.functions;
}

function errorsOf(text: string): { line: number; reason: string }[] {
  const topology = parseLspciGroups(text);
  assert.ok('errors' in topology, 'expected errors');
  return topology.errors;
}

const NVME = '05:00.0 Non-Volatile memory controller [0108]: Micron/Crucial Technology P2 [c0a9:540a] (rev 01)';

test('the groups of a real Alder Lake machine', () => {
  const functions = functionsOf(alderLake);
  const groups = Map.groupBy(functions, ({ group }) => group);
  const shared = [...groups].filter(([, members]) => members.length > 1);
  assert.deepEqual(
    [...groups.keys()].sort((a, b) => a - b),
    [...Array(24).keys()],
  );
  assert.deepEqual(Object.fromEntries(shared.map(([group, members]) => [group, members.map(({ bdf }) => bdf)])), {
    6: ['0000:00:14.0', '0000:00:14.2'],
    8: ['0000:00:15.0', '0000:00:15.1', '0000:00:15.2'],
    16: ['0000:00:1f.0', '0000:00:1f.3', '0000:00:1f.4', '0000:00:1f.5'],
  });
  assert.equal(functions.length, 24 + 1 + 2 + 3);
  assert.deepEqual(
    functions.find(({ bdf }) => bdf === '0000:05:00.0'),
    {
      bdf: '0000:05:00.0',
      group: 22,
      class: '0108',
      vendor: 'c0a9',
      device: '540a',
      name: 'Micron/Crucial Technology P2 NVMe PCIe SSD',
    },
  );
});

test('names have brackets and slashes of their own', () => {
  const gpu = functionsOf(alderLake).find(({ bdf }) => bdf === '0000:03:00.1');
  assert.deepEqual(gpu, {
    bdf: '0000:03:00.1',
    group: 20,
    class: '0403',
    vendor: '1002',
    device: 'ab28',
    name: 'Advanced Micro Devices, Inc. [AMD/ATI] Navi 21 HDMI Audio [Radeon RX 6800/6800 XT / 6900 XT]',
  });
});

test('group and function on one line, with and without a colon and a domain', () => {
  const lines = [
    'IOMMU Group 1 00:01.0 PCI bridge [0604]: Intel Corporation Device [8086:460d] (rev 02)',
    'IOMMU Group 10: 0001:00:17.0 SATA controller [0106]: Intel Corporation Device [8086:7AE2]',
    'IOMMU group 1 00:01.1 PCI bridge [0604]: Intel Corporation Device [8086:462d] (rev 02)',
  ];
  assert.deepEqual(
    functionsOf(lines.join('\r\n')).map(({ bdf, group, device }) => [bdf, group, device]),
    [
      ['0000:00:01.0', 1, '460d'],
      ['0000:00:01.1', 1, '462d'],
      ['0001:00:17.0', 10, '7ae2'],
    ],
  );
});

test('what lspci adds behind the ids and, with -k, below them is passed over', () => {
  const text = `
IOMMU Group 22:
\t${NVME} (prog-if 02 [NVM Express])
\tSubsystem: Micron/Crucial Technology Device [c0a9:540a]
\tKernel driver in use: nvme
\tKernel modules: nvme

IOMMU Group 23:
`;
  assert.deepEqual(
    functionsOf(text).map(({ bdf, group, vendor, device }) => [bdf, group, vendor, device]),
    [['0000:05:00.0', 22, 'c0a9', '540a']],
  );
});

test('a device of which the program knows no name has none', () => {
  assert.equal(functionsOf('IOMMU Group 0:\n01:00.0 Class [ff00]: [abcd:0001]')[0]?.name, null);
});

test('lines that cannot be read are all named, with what is allowed', () => {
  const cases: [string, RegExp][] = [
    ['05:00.0 Non-Volatile memory controller: Micron/Crucial Technology P2', /no class in brackets/],
    ['05:00.0 Non-Volatile memory controller [0108]: Micron/Crucial Technology P2', /no vendor and device in brackets/],
    ['Host bridge [0600]: Intel Corporation Device [8086:4660]', /neither `IOMMU Group <n>:` nor of the form/],
    [NVME.replace('05:00.0', '05:20.0'), /device .* out of range: 0 to 1f/],
    [NVME.replace('05:00.0', '05:00.9'), /function .* out of range: 0 to 7/],
    [NVME.replace('05:00.0', '105:00.0'), /bus .* out of range: 0 to ff/],
    ['IOMMU Group 99999999999:', /group 99999999999 is out of range/],
    ['IOMMU Group :', /neither `IOMMU Group <n>:` nor of the form/],
  ];
  const text = ['IOMMU Group 0:', ...cases.map(([line]) => `\t${line}`)].join('\n');
  const errors = errorsOf(text);
  assert.deepEqual(
    errors.map(({ line }) => line),
    cases.map((_, index) => index + 2),
  );
  for (const [index, [, reason]] of cases.entries()) assert.match(errors[index]!.reason, reason);
});

test('a function before any group, a function twice, and no function at all', () => {
  assert.deepEqual(errorsOf(`${NVME}\nIOMMU Group 0:`), [
    { line: 1, reason: 'a function before the first line `IOMMU Group <n>:`' },
  ]);
  const [twice] = errorsOf(`IOMMU Group 0:\n${NVME}\nIOMMU Group 1:\n${NVME}`);
  assert.equal(twice?.line, 4);
  assert.match(twice.reason, /0000:05:00\.0 is already in line 2/);
  assert.match(errorsOf('IOMMU Group 0:\n')[0]!.reason, /no functions: expected `IOMMU Group <n>:`/);
});
