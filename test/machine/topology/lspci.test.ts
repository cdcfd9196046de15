import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { TopologyFunction } from '../../../src/machine/topology/text.ts';
import { parseTopology, type Topology } from '../../../src/machine/topology/topology.ts';

const alderLake = readFileSync(new URL('../../fixtures/alder-lake.lspci-by-group.txt', import.meta.url), 'utf8');
const FORMAT = 'lspci-by-group';

function read(text: string): Topology {
  const topology = parseTopology(text, FORMAT);
  assert.ok('functions' in topology, JSON.stringify(topology));
  // Whoever leaves the format out gets the same.
  assert.deepEqual(parseTopology(text, undefined), topology);
  return topology;
}

/** `bdf@group class vendor:device`, and the driver. */
const brief = ({ bdf, group, class: code, vendor, device, driver }: TopologyFunction) =>
  `${bdf}@${group} ${code} ${vendor}:${device}${driver ? ` ${driver}` : ''}`;
const briefs = (text: string) => read(text).functions.map(brief);
const namesOf = (text: string) => read(text).functions.map(({ name }) => name);

function errorsOf(text: string): string[] {
  const topology = parseTopology(text, FORMAT);
  assert.ok('errors' in topology, 'expected errors');
  return topology.errors.map(({ line, text: quoted, reason }) => `${line} ${quoted}: ${reason}`);
}

const NVME = '05:00.0 Non-Volatile memory controller [0108]: Micron/Crucial Technology P2 [c0a9:540a] (rev 01)';
const IN_22 = ['0000:05:00.0@22 0108 c0a9:540a'];

test('the groups of a real Alder Lake machine', () => {
  const { functions } = read(alderLake);
  const groups = Map.groupBy(functions, ({ group }) => group);
  const shared = [...groups].filter(([, members]) => members.length > 1);
  assert.deepEqual(
    [...groups.keys()].sort((a, b) => a! - b!),
    [...Array(24).keys()],
  );
  assert.deepEqual(Object.fromEntries(shared.map(([group, members]) => [group, members.map(({ bdf }) => bdf)])), {
    6: ['0000:00:14.0', '0000:00:14.2'],
    8: ['0000:00:15.0', '0000:00:15.1', '0000:00:15.2'],
    16: ['0000:00:1f.0', '0000:00:1f.3', '0000:00:1f.4', '0000:00:1f.5'],
  });
  assert.equal(functions.length, 24 + 1 + 2 + 3);
  const { line, ...nvme } = functions.find(({ bdf }) => bdf === '0000:05:00.0')!;
  assert.equal(line.number, alderLake.split('\n').findIndex((text) => text.includes('05:00.0')) + 1);
  assert.deepEqual(nvme, {
    bdf: '0000:05:00.0',
    group: 22,
    class: '0108',
    vendor: 'c0a9',
    device: '540a',
    name: 'Micron/Crucial Technology P2 NVMe PCIe SSD',
  });
});

test('names have brackets and slashes of their own, and classes numbers', () => {
  const gpu = read(alderLake).functions.find(({ bdf }) => bdf === '0000:03:00.1')!;
  assert.equal(brief(gpu), '0000:03:00.1@20 0403 1002:ab28');
  assert.equal(
    gpu.name,
    'Advanced Micro Devices, Inc. [AMD/ATI] Navi 21 HDMI Audio [Radeon RX 6800/6800 XT / 6900 XT]',
  );
  const firewire = 'IOMMU Group 13 24:00.0 FireWire (IEEE 1394) [0c00]: JMicron IEEE 1394 Host [197b:2380] (rev 30)';
  assert.deepEqual(briefs(firewire), ['0000:24:00.0@13 0c00 197b:2380']);
  assert.deepEqual(namesOf(firewire), ['JMicron IEEE 1394 Host']);
  assert.deepEqual(namesOf('IOMMU Group 0:\n01:00.0 Class [ff00]: [abcd:0001]'), [null]);
  const touch = 'IOMMU Group 0:\n01:00.0 Audio device [0403]: Maker [Precision] x [abcd:0001]';
  assert.deepEqual(namesOf(touch), ['Maker [Precision] x']);
});

test('headers in every spelling', () => {
  const headers = [
    'IOMMU Group 22:',
    'IOMMU Group 22',
    'IOMMU group 22',
    'iommu group 22',
    'IOMMU Group   22:',
    'IOMMU Group 22 :',
    'IOMMU Group: 22',
    'IOMMU Group\t22',
    'IOMMU\u00a0Group\u00a022:',
    'IOMMU Group 022:',
    'IOMMU_GROUP 22',
    'IOMMU Group #22',
    'Group 22:',
    'Group: 22',
    'group-22',
    '[Group 22]',
    '### IOMMU Group 22 ###',
    '**IOMMU Group 22:**',
    'IOMMU Group **22**:',
    '◦ IOMMU Group 22:',
    'IOMMU Group 22:\\',
    'IOMMU Group 22: # my drive',
    'IOMMU Group 22 <- my drive',
    '&gt; IOMMU&nbsp;Group 22:',
    '- IOMMU Group 22',
    '> IOMMU Group 22:',
    '--- Group 22 ---',
    '==== IOMMU Group 22 ====',
    'IOMMU Group 22 (1 device):',
    '/sys/kernel/iommu_groups/22',
    '/sys/kernel/iommu_groups/22/devices/0000:05:00.0',
    '\u001b[1;33mIOMMU Group 22\u001b[0m:',
    '\\e[1mIOMMU Group 22\\e[0m',
    '[1;32mIOMMU Group 22[0m',
  ];
  for (const header of headers) assert.deepEqual(briefs(`${header}\n\t${NVME}`), IN_22, header);
});

test('group and function on one line', () => {
  const lines = [
    `IOMMU Group 22 ${NVME}`,
    `IOMMU Group 22: ${NVME}`,
    `IOMMU Group  22:\t0000:${NVME}`,
    `Group 22 - ${NVME}`,
    `Group 22 – ${NVME}`,
    `Group 22 | ${NVME} |`,
    `| Group 22 | ${NVME}`,
    `* Group 22: ${NVME}`,
    `**Group 22:** \`${NVME}\``,
    `Group 22: **05:00.0** ${NVME.slice(8)}`,
    `Group 22 ${NVME.replace('c0a9:540a', '**c0a9:540a**')}`,
    `&gt; Group 22 ${NVME.replace(/[[\]]/g, '\\$&')}\\`,
    `IOMMU Group 22 [RESET] ${NVME}`,
    `IOMMU Group: 22 Device: ${NVME}`,
  ];
  for (const line of lines) assert.deepEqual(briefs(line), IN_22, line);
});

test('what is around the lines: CRLF, a byte order mark, old line ends, fences, tags, colours, links', () => {
  const group = 'IOMMU Group 22:';
  const texts = [
    `\ufeff${group}\r\n\t${NVME}\r\n`,
    `${group}\r\t${NVME}`,
    `\`\`\`text\n${group}\n${NVME}\n\`\`\``,
    `[code]${group}\n${NVME}[/code]`,
    `<details><summary>${group}</summary>\n<br>${NVME}</details>`,
    `> ${group}\n> ${NVME}`,
    `${group}\n├── ${NVME}`,
    `${group}\n\`${NVME}\``,
    `${group}\n\u001b[32m05:00.0\u001b(B\u001b[m ${NVME.slice(8).replace('Micron', '\u001b[01;31m\u001b[KMicron\u001b[m\u001b[K')}`,
    `${group}\n\u001b]8;;https://pci-ids.example/c0a9\u001b\\${NVME}\u001b]8;;\u001b\\`,
    `${group}\n\u001b]8;;https://pci-ids.example/c0a9\u0007${NVME}\u001b]8;;\u0007`,
    `...\n${group}\n${NVME}\n[...]\n----------`,
  ];
  for (const text of texts) {
    assert.deepEqual(briefs(text), IN_22, text);
    assert.deepEqual(namesOf(text), ['Micron/Crucial Technology P2'], text);
  }
});

test('prompts, commands and what programs complain of are passed over, and noted', () => {
  const text = `
user@host:~$ shopt -s nullglob
[root@host ~]# ./ls-iommu.sh | grep -v '[0600]'
$ for g in $(find /sys/kernel/iommu_groups/* -maxdepth 0 -type d | sort -V); do
>   echo "IOMMU Group \${g##*/}:"
> done
# lspci -nnk
pcilib: Cannot open /sys/bus/pci/devices/0000:05:00.0/label: Permission denied
lspci: Unable to load libkmod resources: error -12
IOMMU Group 22:
\t${NVME}
exit
`;
  const { functions, notes } = read(text);
  assert.deepEqual(functions.map(brief), IN_22);
  assert.deepEqual(
    notes.map(({ line, text: quoted, what }) => [line, quoted, what]),
    [
      [2, 'user@host:~$ shopt -s nullglob', 'a command of the shell: passed over (and 6 more such lines)'],
      [
        8,
        'pcilib: Cannot open /sys/bus/pci/devices/0000:05:00.0/label: Permission denied',
        'a complaint of a program: passed over (and 1 more such line)',
      ],
    ],
  );
});

test('what -k says: the drivers in use are those of the functions, modules and boards say nothing', () => {
  const text = `
IOMMU Group 14:
\t0b:00.0 VGA compatible controller [0300]: Advanced Micro Devices, Inc. [AMD/ATI] Navi 10 [1002:731f] (rev ff) (prog-if ff)
\t!!! Unknown header type 7f
\tDeviceName: Onboard
\tSubsystem: ASUSTeK Computer Inc. Navi 10 [1043:04e2]
\tKernel driver in use: vfio-pci
\tKernel modules: amdgpu
0b:00.1 Audio device [0403]: Advanced Micro Devices, Inc. [AMD/ATI] Navi 10 HDMI Audio [1002:ab38] (rev 01)
Kernel modules: snd_hda_intel
`;
  const { functions, notes } = read(text);
  assert.deepEqual(functions.map(brief), ['0000:0b:00.0@14 0300 1002:731f vfio-pci', '0000:0b:00.1@14 0403 1002:ab38']);
  assert.deepEqual(
    notes.map(({ line }) => line),
    [4, 5, 8],
  );
});

test('lspci -v below headers, and by itself, where it says the group of each function', () => {
  const details = `\tSubsystem: Micron Technology Device [1344:2100]
\tFlags: bus master, fast devsel, latency 0, IRQ 16, NUMA node 0
\tMemory at 50000000 (64-bit, non-prefetchable) [size=16K]
\tCapabilities: [40] Power Management version 3
\t\tFlags: PMEClk- DSI- D1- D2- AuxCurrent=0mA
\t\t\tExtTag+ AttnBtn- AttnInd-
\tKernel driver in use: nvme
`;
  const driven = ['0000:05:00.0@22 0108 c0a9:540a nvme'];
  assert.deepEqual(briefs(`IOMMU Group 22:\n${NVME}\n${details}`), driven);
  assert.deepEqual(
    briefs(`${NVME} (prog-if 02 [NVM Express])\n${details.replace('IRQ 16', 'IRQ 16, IOMMU group 22')}`),
    driven,
  );
  const other = '06:00.0 Ethernet controller [0200]: Intel Corporation I210 [8086:1533]';
  const { functions, notes } = read(
    `${other}\n\tIOMMU group: 3\n${other.replace('06', '07')}\n\n${NVME}\n\tIOMMU group: 22\n${details}`,
  );
  assert.deepEqual(functions.map(brief), [...driven, '0000:06:00.0@3 0200 8086:1533']);
  assert.deepEqual(
    notes.find(({ what }) => what.includes('left out')),
    {
      line: 3,
      text: other.replace('06', '07'),
      what: 'a function without an IOMMU group: left out',
    },
  );
});

test('lspci -n, -mm and -vmm, and lspci without numbers', () => {
  assert.deepEqual(briefs('IOMMU Group 22:\n\t05:00.0 0108: c0a9:540a (rev 01)'), IN_22);
  assert.deepEqual(
    briefs('IOMMU Group 22 05:00.0 "Non-Volatile memory controller [0108]" "Micron [c0a9]" "P2 [540a]" -r01 "" ""'),
    IN_22,
  );
  const record =
    'Slot:\t05:00.0\nClass:\tNon-Volatile memory controller [0108]\nVendor:\tMicron [c0a9]\nDevice:\tP2 [540a]\nSVendor:\tMicron [1344]\nRev:\t01\nDriver:\tnvme\nModule:\tnvme\nIOMMUGroup:\t22\n';
  assert.deepEqual(briefs(record), ['0000:05:00.0@22 0108 c0a9:540a nvme']);
  assert.deepEqual(namesOf(record), ['Micron P2']);
  const plain =
    'IOMMU Group 22:\n05:00.0 Non-Volatile memory controller: Micron/Crucial Technology P2 (rev 01) (prog-if 02 [NVM Express])';
  assert.deepEqual(briefs(plain), ['0000:05:00.0@22 0108 null:null']);
  assert.deepEqual(namesOf(plain), ['Micron/Crucial Technology P2']);
  assert.deepEqual(
    read(plain).notes.map(({ line, what }) => [line, what]),
    [[2, 'no vendor and device in numbers, which `lspci -nn` prints: both are unknown']],
  );
  assert.deepEqual(briefs('IOMMU Group 22:\n0000:05:00.0'), ['0000:05:00.0@22 null null:null']);
});

test('columns of ids and reset marks before the address', () => {
  const text = `
Group 1:\t[8086:1901]     00:01.0  PCI bridge  6th-10th Gen Core Processor PCIe Controller (x16)
\t\t[10de:1c03] [R] 01:00.0  VGA compatible controller  GP106 [GeForce GTX 1060 6GB]
IOMMU group 2:\t\t[8086:a12f] 00:14.0 USB controller: Intel Corporation 100 Series xHCI (rev 31)
USB:\t\t[1d6b:0002]\t\tBus 001 Device 001\tLinux Foundation 2.0 root hub
Bus 001 Device 001 Port 1-0 ID 1d6b:0002 Linux Foundation 2.0 root hub
Group 2 - 00:14.0 USB Bus 001 Device 005: ID 0d8c:0017 C-Media Electronics, Inc.
[4:0:0:0]    disk    ATA      Samsung SSD 860  4B6Q  /dev/sdb   500GB
This controller is bound to vfio, connected drives are not visible.
`;
  const { functions, notes } = read(text);
  assert.deepEqual(
    functions.map((fn) => `${brief(fn)} ${fn.reset}`),
    [
      '0000:00:01.0@1 0604 8086:1901 false',
      '0000:00:14.0@2 0c03 8086:a12f false',
      '0000:01:00.0@1 0300 10de:1c03 true',
    ],
  );
  assert.deepEqual(
    notes.map(({ line, what }) => [line, what]),
    [
      [5, 'what hangs on a controller is no function: passed over (and 4 more such lines)'],
      [3, 'functions with this mark can be reset, all others cannot'],
    ],
  );
});

test('reset marks in front of the tab, and none at all', () => {
  const marked = read(
    `IOMMU group 4\n[RESET]\t${NVME}\n\t06:00.0 USB controller [0c03]: Intel Corporation xHCI [8086:1e31]`,
  );
  assert.deepEqual(
    marked.functions.map(({ reset }) => reset),
    [true, false],
  );
  assert.equal(read(`IOMMU group 4\n${NVME}`).functions[0]!.reset, undefined);
});

test('a tree by unit: its units are kept', () => {
  const { functions, platform } = read(`
IOMMU: ivhd1
  IOMMU Group: 15
    Group Device: 0000:6a:00.4 - Generic system peripheral [0807]: Intel Corporation Device [8086:0b23]
IOMMU: ivhd0
  IOMMU Group: 64
    Group Device: 0000:02:00.0 - PCI bridge [0604]: ASPEED Technology, Inc. AST1150 [1a03:1150] (rev 06)`);
  assert.deepEqual(
    functions.map(({ bdf, group, iommu }) => [bdf, group, iommu]),
    [
      ['0000:02:00.0', 64, 'ivhd0'],
      ['0000:6a:00.4', 15, 'ivhd1'],
    ],
  );
  assert.equal(platform.kind, 'amd-vi');
});

test('lines that cannot be read are all quoted, with what is allowed', () => {
  const cases: [string, RegExp][] = [
    ['Gruppe 7:', /expected `IOMMU Group <n>:`, or \[dddd:\]bb:dd\.f Class name/],
    ['05:00.0 something', /no class, such as \[0108\]: .* which `lspci -nn` prints/],
    ['Host bridge [0600]: Intel Corporation Device [8086:4660]', /expected `IOMMU Group <n>:`, or/],
    [NVME.replace('05:00.0', '05:20.0'), /device .* out of range: 0 to 1f/],
    [NVME.replace('05:00.0', '05:00.9'), /function .* out of range: 0 to 7/],
    [NVME.replace('05:00.0', '105:00.0'), /bus .* out of range: 0 to ff/],
    [NVME.replace('05:00.0', '100000000:05:00.0'), /domain .* out of range: 0 to ffffffff/],
    ['IOMMU Group 99999999999:', /group 99999999999 is out of range/],
    ['IOMMU Group 1: Host bridge: Intel', /no address of a function behind the group/],
    ['IOMMU Group 1: Host bridge [0600]: Intel', /no address of a function behind the group/],
    ['IOMMU Group :', /expected `IOMMU Group <n>:`/],
    ['IOMMU Group *', /this machine has no IOMMU/],
    ['IOMMU Group *:', /this machine has no IOMMU, or it is off: such a host is given as `iommus: \[\]`/],
    ["find: '/sys/kernel/iommu_groups/': No such file or directory", /this machine has no IOMMU/],
    ['\u001b[31mred\u001b[0m 7', /expected/],
  ];
  const errors = errorsOf(['IOMMU Group 0:', ...cases.map(([line]) => `\t${line}`)].join('\n'));
  assert.equal(errors.length, cases.length);
  for (const [index, [line, reason]] of cases.entries()) {
    assert.ok(
      errors[index]!.startsWith(`${index + 2} ${line.replace('\u001b[31mred\u001b[0m', 'red')}: `),
      errors[index]!,
    );
    assert.match(errors[index]!, reason);
  }
});

test('a function without a group, in two groups, twice in one, and no function at all', () => {
  const [early, ...more] = errorsOf(`${NVME}\nIOMMU Group 0:\n06:00.0 0200: 8086:1533`);
  assert.deepEqual(more, []);
  assert.match(
    early!,
    /^1 05:00\.0 Non-.*: no line before it says its group: .*a machine without an IOMMU has `iommus: \[\]`/,
  );
  const [twice] = errorsOf(`IOMMU Group 0:\n${NVME}\nIOMMU Group 1:\n${NVME}`);
  assert.match(twice!, /^4 05:00\.0.*: 0000:05:00\.0 is already in line 2, in another group/);
  const { functions, notes } = read(`IOMMU Group 0:\n05:00.0\nKernel driver in use: nvme\n${NVME}`);
  assert.deepEqual(functions.map(brief), ['0000:05:00.0@0 0108 c0a9:540a nvme']);
  assert.deepEqual(
    notes.map(({ line, what }) => [line, what]),
    [[4, 'a function that is in the text already: what either line says counts']],
  );
  assert.match(errorsOf('IOMMU Group 0:\n')[0]!, /no functions: expected `IOMMU Group <n>:`/);
});

test('the other form says so, and is taken where no format is given', () => {
  const text = 'my machine\n/sys/kernel/iommu_groups/1/devices/0000:01:00.0';
  assert.match(
    errorsOf(text.slice(11))[0]!,
    /^1 .*this looks like `sysfs-iommu-groups`, and `format` is `lspci-by-group`: give/,
  );
  const mixed = `/sys/kernel/iommu_groups/22/devices/0000:05:00.0\n${NVME}`;
  assert.deepEqual(briefs(mixed), IN_22, 'scripts print what they go through');
});

test('numbers of lines and of list items, and groups in a column of their own', () => {
  const numbered = [
    (text: string, index: number) => `${index + 1}. ${text}`,
    (text: string, index: number) => `${index + 1}) ${text}`,
    (text: string, index: number) => `     ${index + 1}\t${text}`,
    (text: string, index: number) => `${index + 1}:${text}`,
  ];
  const lines = ['IOMMU Group 22:', `\t${NVME}`, '\tKernel driver in use: nvme'];
  for (const number of numbered) {
    const { functions, notes } = read(lines.map(number).join('\n'));
    assert.deepEqual(functions.map(brief), ['0000:05:00.0@22 0108 c0a9:540a nvme']);
    assert.deepEqual(notes, []);
    assert.deepEqual(briefs(number(`IOMMU Group 22 ${NVME}`, 0)), IN_22);
  }
  for (const row of [`| 22 | ${NVME} |`, `22\t${NVME}`, `22: ${NVME}`, `22 - ${NVME}`, `22 | ${NVME}`]) {
    const { functions, notes } = read(`| Group | Device |\n|---|---|\n${row}`);
    assert.deepEqual(functions.map(brief), IN_22, row);
    assert.deepEqual(
      notes.map(({ line, what }) => [line, what]),
      [
        [1, 'says nothing of a group or a function: passed over'],
        [3, 'the number before the address is taken for that of the group'],
      ],
    );
  }
  const columns = '| IOMMU Group 22 | 05:00.0 | Non-Volatile memory controller [0108] | Micron [c0a9:540a] (rev 01) |';
  assert.deepEqual(briefs(columns), IN_22);
  assert.match(errorsOf(`99999999999 ${NVME}`)[0]!, /expected/);
  assert.match(errorsOf(`9999999999 ${NVME}`)[0]!, /group 9999999999 is out of range/);
});

test('lines that a mail has wrapped', () => {
  const { functions, notes } = read(`IOMMU Group 22:
05:00.0 Non-Volatile memory controller [0108]: Micron/Crucial Technology P2
NVMe PCIe SSD [c0a9:540a] (rev 01)
06:00.0 Non-Volatile memory controller
[0108]: Micron/Crucial Technology P2 [c0a9:540a] (rev 01)
07:00.0 VGA compatible controller [0300]: NVIDIA Corporation [10de:1c03]
(rev a1)`);
  assert.deepEqual(functions.map(brief), [
    ...IN_22,
    '0000:06:00.0@22 0108 c0a9:540a',
    '0000:07:00.0@22 0300 10de:1c03',
  ]);
  assert.equal(functions[0]!.name, 'Micron/Crucial Technology P2 NVMe PCIe SSD');
  assert.match(notes[0]!.what, /^taken for the rest of the line before it, which has no ids \(and 1 more/);
});

test('addresses behind the group, or in columns below it', () => {
  const both = ['0000:01:00.0@7 null null:null', '0000:01:00.1@7 null null:null'];
  for (const text of [
    'IOMMU Group 7: 0000:01:00.0 0000:01:00.1',
    'Group 7 - 01:00.0, 01:00.1',
    'Group 7:\n0000:01:00.0  0000:01:00.1',
    'Group 7: 01:00.0, 01:00.1,',
  ])
    assert.deepEqual(briefs(text), both, text);
  assert.match(errorsOf('Group 7: 01:00.0 01:00.9')[0]!, /function of 01:00\.9 is out of range: 0 to 7/);
});

test('typographic quotes, and blanks before colons', () => {
  const text = `“IOMMU Group 22: ${NVME}”\n  Kernel driver in use : nvme`;
  assert.deepEqual(briefs(text), ['0000:05:00.0@22 0108 c0a9:540a nvme']);
});

test('the paths of the groups, or the kernel’s log, and lspci behind them', () => {
  const sata = '06:00.0 SATA controller [0106]: Intel Corporation SATA [8086:a352]';
  const alone = '07:00.0 Ethernet controller [0200]: Intel Corporation I210 [8086:1533]';
  const lspci = `${NVME}\n\tKernel driver in use: nvme\n${sata}\n${alone}`;
  const paths = '/sys/kernel/iommu_groups/22/devices/0000:05:00.0\n/sys/kernel/iommu_groups/3/devices/0000:06:00.0';
  const log =
    '[ 0.5] pci 0000:05:00.0: Adding to iommu group 22\n[ 0.5] pci 0000:06:00.0: Adding to iommu group 3\n[ 0.5] platform MSFT0101:00: Adding to iommu group 4';
  for (const text of [`${paths}\n\n${lspci}`, `${log}\n\n${lspci}`, `${lspci}\n\n${paths}`]) {
    const { functions, notes } = read(text);
    assert.deepEqual(functions.map(brief), ['0000:05:00.0@22 0108 c0a9:540a nvme', '0000:06:00.0@3 0106 8086:a352']);
    // What nobody says is not there, so that it is what it is by default.
    assert.ok(functions.every((fn) => !Object.values(fn).includes(undefined)));
    assert.equal(notes.find(({ what }) => what === 'a function without an IOMMU group: left out')?.text, alone);
  }
});

test('a list by groups, and what another command prints behind it', () => {
  const other = NVME.replace('05:00.0', '06:00.0');
  const list = `IOMMU Group 22:\n\t${NVME}\nIOMMU Group 23:\n\t${other}`;
  const alone = NVME.replace('05:00.0', '07:00.0');
  for (const command of ['user@host:~$ lspci -nnk', '$ lspci -nnk', 'lspci -nnk:']) {
    const { functions, notes } = read(`${list}\n${command}\n${NVME}\n\tKernel driver in use: nvme\n${other}\n${alone}`);
    assert.deepEqual(functions.map(brief), ['0000:05:00.0@22 0108 c0a9:540a nvme', '0000:06:00.0@23 0108 c0a9:540a']);
    assert.equal(notes.find(({ what }) => what === 'a function without an IOMMU group: left out')?.text, alone);
  }
});
