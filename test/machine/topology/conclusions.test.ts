import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTopology, type Topology } from '../../../src/machine/topology/topology.ts';

function read(...lines: string[]): Topology {
  const topology = parseTopology(lines.join('\n'), undefined);
  assert.ok('functions' in topology, JSON.stringify(topology));
  return topology;
}

let group = 0;
const nic = (bdf: string, name: string, ids = '8086:1572') =>
  `IOMMU Group ${group++} ${bdf} Ethernet controller [0200]: ${name} [${ids}] (rev 01)`;
const physical = (bdf: string, name = 'Intel Corporation Ethernet Controller X710') => nic(bdf, name);
const virtual = (bdf: string, name = 'Intel Corporation Ethernet Virtual Function 700 Series') =>
  nic(bdf, name, '8086:154c');

/** The physical function of each virtual one; those without `sriov` are left out. */
const owners = ({ functions }: Topology) =>
  Object.fromEntries(
    functions.filter(({ sriov }) => sriov !== undefined).map(({ bdf, physicalFunction }) => [bdf, physicalFunction]),
  );

test('virtual functions belong to the one function before them that fits', () => {
  const topology = read(
    physical('3a:00.0'),
    physical('3b:00.0'),
    nic('3b:01.0', 'NVIDIA Something', '10de:1234'),
    virtual('3b:02.0'),
    virtual('3b:02.1'),
    virtual('3c:00.0'),
    virtual('44:00.0'),
  );
  assert.deepEqual(owners(topology), {
    '0000:3b:02.0': '0000:3b:00.0',
    '0000:3b:02.1': '0000:3b:00.0',
    '0000:3c:00.0': '0000:3b:00.0',
    '0000:44:00.0': undefined,
  });
  assert.deepEqual(
    topology.notes.map(({ line, what }) => [line, what]),
    [
      [4, 'virtual functions by their names, taken for those of 0000:3b:00.0 (and 2 more such lines)'],
      [7, 'a virtual function by its name, whose physical one is not in the text'],
    ],
  );
});

test('of several ports the first has the first run of addresses, and so on', () => {
  const ports = [physical('3b:00.0'), physical('3b:00.1')];
  assert.deepEqual(
    owners(read(...ports, virtual('3b:02.0'), virtual('3b:02.1'), virtual('3b:0a.0'), virtual('3b:0a.1'))),
    {
      '0000:3b:02.0': '0000:3b:00.0',
      '0000:3b:02.1': '0000:3b:00.0',
      '0000:3b:0a.0': '0000:3b:00.1',
      '0000:3b:0a.1': '0000:3b:00.1',
    },
  );
  const { notes } = read(...ports, virtual('3b:02.0'));
  assert.match(notes[0]!.what, /taken for those of 0000:3b:00\.0, the likeliest of 2/);
});

test('a port on vfio-pci has no virtual functions', () => {
  const driven = `${physical('3b:00.0')}\n\tKernel driver in use: vfio-pci`;
  assert.deepEqual(owners(read(driven, physical('3b:00.1'), virtual('3b:02.0'))), { '0000:3b:02.0': '0000:3b:00.1' });
  for (const driver of ['vfio-pci', 'nvgrace_gpu_vfio_pci']) {
    const alone = read(driven.replace('vfio-pci', driver), virtual('3b:02.0'));
    assert.deepEqual(owners(alone), { '0000:3b:02.0': undefined });
    assert.ok(
      alone.notes[0]!.what.startsWith(
        `virtual functions by their names, of no physical one: 0000:3b:00.0 is on ${driver}`,
      ),
    );
  }
});

test('ports whose virtual functions take turns', () => {
  const name = 'Intel Corporation I350 Ethernet Controller Virtual Function';
  const ports = [0, 1, 2, 3].map((fn) => nic(`02:00.${fn}`, 'Intel Corporation I350 Gigabit', '8086:1521'));
  assert.deepEqual(
    owners(read(...ports, virtual('02:10.0', name), virtual('02:10.5', name), virtual('02:11.3', name))),
    {
      '0000:02:10.0': '0000:02:00.0',
      '0000:02:10.5': '0000:02:00.1',
      '0000:02:11.3': '0000:02:00.3',
    },
  );
});

test('names of virtual functions of other makes', () => {
  for (const name of [
    'Mellanox MT27800 Family [ConnectX-5 Virtual Function]',
    'QLogic FastLinQ (SR-IOV VF)',
    'Intel 4xxx QAT VF',
  ])
    assert.deepEqual(
      owners(read(nic('01:00.0', 'PF'), nic('01:00.1', name))),
      { '0000:01:00.1': '0000:01:00.0' },
      name,
    );
  assert.deepEqual(owners(read(nic('01:00.0', 'PF'), nic('01:00.1', 'xVFx and VFIO'))), {});
});

test('functions behind a VMD carry its requester id', () => {
  const link = (bdf: string, number = 5) => `/sys/kernel/iommu_groups/${number}/devices/${bdf}`;
  const { functions, notes, platform } = read(
    link('0000:00:06.0'),
    link('10000:e1:00.0'),
    link('0000:00:0e.0'),
    link('10000:e0:1c.0'),
    link('20000:01:00.0', 6),
  );
  assert.deepEqual(
    functions.map(({ bdf, realDmaDevice }) => [bdf, realDmaDevice]),
    [
      ['0000:00:06.0', undefined],
      ['0000:00:0e.0', undefined],
      ['10000:e0:1c.0', '0000:00:0e.0'],
      ['10000:e1:00.0', '0000:00:0e.0'],
      ['20000:01:00.0', undefined],
    ],
  );
  assert.equal(platform.kind, 'intel-vtd');
  assert.match(
    notes[0]!.what,
    /^functions behind the VMD 0000:00:0e\.0: their DMA carries its requester id \(and 1 more/,
  );
  const [, , behind] = read(
    'IOMMU Group 9:',
    '00:01.0 PCI bridge [0604]: Intel Corporation Device [8086:460d]',
    '00:0f.0 RAID bus controller [0104]: Intel Corporation Volume Management Device [8086:467f]',
    '10000:01:00.0 Non-Volatile memory controller [0108]: Samsung [144d:a808]',
  ).functions;
  assert.equal(behind!.realDmaDevice, '0000:00:0f.0');
});

test('the IOMMU is that of the machine’s bridges', () => {
  const pci = (bdf: string, kind: string, ids: string, name = 'Device') =>
    `IOMMU Group 0 ${bdf} ${kind}: ${name} [${ids}]`;
  const host = 'Host bridge [0600]';
  const bridge = 'PCI bridge [0604]';
  const nvme = pci('05:00.0', 'Non-Volatile memory controller [0108]', '144d:a808');
  const cases: [string, string[]][] = [
    ['intel-vtd', [pci('00:00.0', host, '8086:4660')]],
    ['amd-vi', [pci('00:01.0', host, '1022:1632')]],
    ['amd-vi', [pci('00:00.2', 'IOMMU [0806]', '1022:1631')]],
    ['amd-vi', [pci('00:00.0', host, '1d94:1450')]],
    ['amd-vi', [pci('03:00.0', bridge, '8086:15d3'), pci('c0:01.0', host, '1022:1480')]],
    ['amd-vi', [pci('0b:00.3', 'USB controller [0c03]', '1022:149c'), nvme]],
    ['intel-vtd', [pci('00:00.0', host, '8086:4660'), pci('02:00.0', bridge, '1022:43f4')]],
    ['intel-vtd', [pci('02:01.0', 'Ethernet controller [0200]', '1022:2000')]],
    [
      'intel-vtd',
      [pci('00:14.0', 'USB controller [0c03]', '8086:7ae0'), pci('0b:00.0', 'USB controller [0c03]', '1022:43d5')],
    ],
    [
      'arm-smmuv3',
      [pci('0000:00:00.0', bridge, '19e5:a120'), pci('04:00.0', 'Ethernet controller [0200]', '8086:1572')],
    ],
    ['arm-smmuv3', [pci('000d:00:01.0', bridge, '1def:e101')]],
    ['arm-smmuv3', [pci('00:00.0', bridge, '177d:af84')]],
    ['arm-smmuv3', [pci('0009:00:00.0', bridge, '10de:22b8')]],
    ['intel-vtd', [pci('07:00.0', 'Bridge [0680]', '10de:22a3')]],
    ['arm-smmuv3', [pci('00:00.0', host, '1b36:0008')]],
    ['intel-vtd', [pci('00:00.0', host, '8086:29c0'), pci('00:02.0', bridge, '1b36:000c')]],
    ['intel-vtd', [nvme, pci('01:00.0', 'VGA compatible controller [0300]', '10de:1c03')]],
    ['amd-vi', ['IOMMU Group 0 00:01.0 Host bridge: Advanced Micro Devices, Inc. [AMD] Renoir PCIe Dummy Host Bridge']],
    ['intel-vtd', ['IOMMU Group 0 03:00.0 Host bridge: Advanced Micro Devices, Inc. [AMD/ATI] Lucienne']],
  ];
  for (const [kind, lines] of cases) assert.equal(read(...lines).platform.kind, kind, lines.join('\n'));
  assert.deepEqual(read(...cases[4]![1]).platform.from, { line: 2, text: cases[4]![1][1] });
  assert.deepEqual(read(nvme).platform.from, { line: null, text: null });
});

test('addresses alone say little: AMD’s data fabric and IOMMU, devices of Arm', () => {
  const link = (number: number, name: string) => `/sys/kernel/iommu_groups/${number}/devices/${name}`;
  const fabric = [0, 1, 2, 3, 4, 5, 6, 7].map((fn) => link(7, `0000:00:18.${fn}`));
  const cases: [string, string[]][] = [
    ['amd-vi', fabric],
    ['intel-vtd', fabric.slice(0, 4)],
    ['intel-vtd', [...fabric, link(8, '0000:00:1f.0')]],
    ['intel-vtd', fabric.map((line, index) => line.replace('/7/', `/${index}/`))],
    ['amd-vi', [link(0, '0000:00:00.2'), link(1, '0000:00:01.0')]],
    ['intel-vtd', [link(0, '0000:00:00.0'), link(1, '0001:00:00.0')]],
    ['arm-smmuv3', [link(0, 'arm-smmu-v3.0.auto'), link(1, '0000:00:00.0')]],
    ['arm-smmuv3', [link(0, 'ARMH0011:00'), link(1, '0000:00:00.0')]],
    ['arm-smmuv3', [link(0, 'fd580000.ethernet'), link(1, '0000:00:00.0')]],
    ['amd-vi', [link(0, 'AMDI0010:00'), link(1, '0000:00:01.0')]],
  ];
  for (const [kind, lines] of cases) assert.equal(read(...lines).platform.kind, kind, lines.join('\n'));
});
