import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { HostSpec } from '../../src/host/command.ts';
import { buildFunction, type DeviceRequest } from '../../src/host/function-spec.ts';
import { buildHostSpec, type HostRequest } from '../../src/host/host-spec.ts';
import type { IommuRequest } from '../../src/host/iommu-spec.ts';
import { MAX_FUNCTIONS } from '../../src/limits.ts';
import { PRESET_NAMES, PRESETS, type PresetName } from '../../src/machine/topology/presets.ts';

const fixture = (name: string) => readFileSync(new URL(`../fixtures/${name}`, import.meta.url), 'utf8');

function specOf(request: HostRequest): HostSpec {
  const built = buildHostSpec(request);
  assert.ok('spec' in built, JSON.stringify(built));
  return built.spec;
}

/** `pointer: reason` of every error. */
function errorsOf(request: HostRequest): string[] {
  const built = buildHostSpec(request);
  assert.ok('errors' in built, 'expected errors');
  return built.errors.map(({ pointer, reason }) => `${pointer}: ${reason}`);
}

function refuses(request: HostRequest, ...expected: RegExp[]): void {
  const errors = errorsOf(request);
  assert.equal(errors.length, expected.length, errors.join('\n'));
  for (const [index, reason] of expected.entries()) assert.match(errors[index]!, reason);
}

const groupsAndUnits = ({ machine }: HostSpec) => machine.functions.map(({ bdf, group, iommu }) => [bdf, group, iommu]);

test('a request that asks for nothing gives 16 GiB behind one VT-d unit, no function, all defaults', () => {
  assert.deepEqual(specOf({}), {
    machine: {
      memory: '0x400000000',
      iommus: [
        {
          id: 'dmar0',
          kind: 'intel-vtd',
          table: {
            aperture: { start: '0x0', last: '0xffffffffffff' },
            pageSizes: ['0x1000', '0x200000', '0x40000000'],
          },
          reserved: [{ start: '0xfee00000', last: '0xfeefffff', type: 'msi' }],
          dirtyTracking: false,
          nesting: false,
          interruptRemapping: true,
          cacheCoherency: true,
          defaultDomain: 'dma',
          maxPasidLog2: 0,
          hwInfo: { type: 1, length: 24, data: 'AQAAAAAAAAAGBi8ijADSAEoP8AAAAAAA' },
        },
      ],
      functions: [],
    },
    profile: 'persisted-domains',
    policies: {
      finish: 'adopted',
      gate: 'claim',
      markAutoHwpt: 'refuse',
      freezeRestoredMemfd: true,
      hitlessReplace: true,
      vfioFreezeResets: false,
      virtualFunctions: 'refuse',
    },
    boot: { kho: true, liveupdate: true, builtinDrivers: [] },
  });
});

test('profile, policies and boot options are taken over one by one', () => {
  const { profile, policies, boot } = specOf({
    profile: 'linux-7.3',
    policies: { finish: 'ignore' },
    boot: { liveupdate: false, builtinDrivers: ['nvme'] },
  });
  assert.equal(profile, 'linux-7.3');
  assert.deepEqual([policies.finish, policies.gate], ['ignore', 'claim']);
  assert.deepEqual(boot, { kho: true, liveupdate: false, builtinDrivers: ['nvme'] });
});

test('memory is a multiple of 4096 between 16 MiB and 64 TiB, as a string or a number', () => {
  assert.equal(specOf({ memory: 0x1000000 }).machine.memory, '0x1000000');
  assert.equal(specOf({ memory: '0x400000000000' }).machine.memory, '0x400000000000');
  refuses({ memory: 0x1000001 }, /^\/memory: 0x1000001 is not a multiple of 4096/);
  refuses({ memory: 0xfff000 }, /^\/memory: must be 0x1000000 \(16 MiB\) to 0x400000000000 \(64 TiB\)/);
  refuses({ memory: '0x400000001000' }, /^\/memory: must be/);
  refuses({ memory: -4096 }, /^\/memory: expected a hexadecimal string/);
  refuses({ memory: '0x10000000000000000' }, /^\/memory: expected .* at most 64 bits/);
});

test('the two real machines come from their raw texts, without drivers and with resets', () => {
  const ryzen = specOf({
    topology: { format: 'sysfs-iommu-groups', text: fixture('ryzen-2400g.iommu_groups.txt') },
  }).machine;
  assert.deepEqual(
    ryzen.iommus.map(({ id, kind }) => [id, kind]),
    [['ivhd0', 'amd-vi']],
  );
  assert.equal(ryzen.functions.filter(({ group }) => group === 8).length, 11);
  assert.ok(ryzen.functions.every(({ driver, reset, iommu }) => driver === null && reset && iommu === 'ivhd0'));

  const alderLake = specOf({
    topology: { format: 'lspci-by-group', text: fixture('alder-lake.lspci-by-group.txt') },
  }).machine;
  assert.deepEqual(alderLake.functions.at(-1), {
    bdf: '0000:08:00.0',
    vendor: '10ec',
    device: '8125',
    class: '0200',
    name: 'Realtek Semiconductor Co., Ltd. RTL8125 2.5GbE Controller',
    group: 23,
    iommu: 'dmar0',
    driver: null,
    reset: true,
    ats: false,
    dirtyTracking: true,
    pasid: false,
    sriov: 'none',
    physicalFunction: null,
    realDmaDevice: null,
    reserved: [],
    regions: 9,
    irqs: 5,
  });
});

test('a topology that cannot be read is refused line by line', () => {
  refuses(
    { topology: { format: 'lspci-by-group', text: fixture('ryzen-2400g.iommu_groups.txt').split('\n')[0]! } },
    /^\/topology\/text: line 1: "\/sys\/kernel\/iommu_groups\/9\/devices\/0000:09:00\.0": this looks like `sysfs-iommu-groups`/,
  );
  refuses({ topology: { format: 'sysfs-iommu-groups', text: '' } }, /^\/topology\/text: line 1: no functions/);
});

test('every preset is a host, and belongs to it alone', () => {
  for (const preset of PRESET_NAMES) {
    const { iommus, functions } = specOf({ preset }).machine;
    assert.deepEqual(iommus, PRESETS[preset].iommus);
    assert.deepEqual(functions, PRESETS[preset].functions);
    assert.notEqual(iommus[0], PRESETS[preset].iommus[0]);
  }
  refuses({ preset: 'toaster' as PresetName }, /^\/preset: no such preset: one of vmm-lab, ryzen-2400g/);
  refuses({ preset: 'constructor' as PresetName }, /^\/preset: no such preset/);
});

test('units of the request replace those of a preset or of a topology', () => {
  const iommus: IommuRequest[] = [{ kind: 'amd-vi' }];
  const lab = specOf({ preset: 'vmm-lab', iommus, memory: '0x80000000' });
  assert.deepEqual(
    lab.machine.iommus.map(({ id }) => id),
    ['ivhd0'],
  );
  assert.deepEqual([...new Set(lab.machine.functions.map(({ iommu }) => iommu))], ['ivhd0']);
  assert.equal(lab.machine.functions[0]?.driver, 'vfio-pci');
  assert.equal(lab.machine.memory, '0x80000000');
  const text = '/sys/kernel/iommu_groups/4/devices/0000:01:00.0';
  const pasted = specOf({ topology: { format: 'sysfs-iommu-groups', text }, iommus });
  assert.deepEqual(groupsAndUnits(pasted), [['0000:01:00.0', 4, 'ivhd0']]);
});

test('functions are given once', () => {
  const topology = { format: 'sysfs-iommu-groups', text: '' } as const;
  refuses({ preset: 'mock', topology }, /^\/topology: give the functions once: `preset` is there already/);
  refuses({ preset: 'mock', devices: [] }, /^\/devices: give the functions once/);
  refuses({ preset: 'mock', topology, devices: [] }, /^\/topology/, /^\/devices/);
});

test('a device may say everything of itself', () => {
  const [fn] = specOf({
    devices: [
      {
        bdf: '0000:0A:00.0',
        vendor: '0x8086',
        device: '10FB',
        class: '0x0200',
        name: 'a NIC',
        group: 7,
        iommu: 'dmar0',
        driver: 'vfio-pci',
        reset: false,
        ats: true,
        dirtyTracking: false,
        pasid: true,
        sriov: 'pf',
        reserved: [{ start: 0x7c000000, last: '0x7DFFFFFF', type: 'direct' }],
        regions: 3,
        irqs: 1,
      },
    ],
  }).machine.functions;
  assert.deepEqual(fn, {
    bdf: '0000:0a:00.0',
    vendor: '8086',
    device: '10fb',
    class: '0200',
    name: 'a NIC',
    group: 7,
    iommu: 'dmar0',
    driver: 'vfio-pci',
    reset: false,
    ats: true,
    dirtyTracking: false,
    pasid: true,
    sriov: 'pf',
    physicalFunction: null,
    realDmaDevice: null,
    reserved: [{ start: '0x7c000000', last: '0x7dffffff', type: 'direct' }],
    regions: 3,
    irqs: 1,
  });
});

test('a host spec’s own units and functions can be sent again', () => {
  const { functions } = specOf({ preset: 'vmm-lab' }).machine;
  assert.deepEqual(specOf({ devices: functions }).machine.functions, functions);
});

test('what a device says wrongly is pointed to', () => {
  refuses(
    {
      devices: [
        { bdf: '0000:01:20.0' },
        { bdf: '0000:01:00.0', vendor: 'intel', device: '0x10', class: '010802' },
        { bdf: '0000:02:00.0', reserved: [{ start: 2, last: 1, type: 'direct' }] },
        { bdf: '0000:03:00.0', reserved: [{ start: '0x1g', last: 1.5, type: 'direct' }] },
      ],
    },
    /^\/devices\/0\/bdf: device of 0000:01:20\.0 is out of range/,
    /^\/devices\/1\/vendor: "intel" is not of the form "0x8086" or "8086"/,
    /^\/devices\/1\/device: /,
    /^\/devices\/1\/class: /,
    /^\/devices\/2\/reserved\/0\/last: must be at least start \(0x2\)/,
    /^\/devices\/3\/reserved\/0\/start: expected a hexadecimal string/,
    /^\/devices\/3\/reserved\/0\/last: expected a hexadecimal string/,
  );
});

test('functions without a group are each alone in the lowest free one, by address', () => {
  const spec = specOf({
    devices: [
      { bdf: '0000:03:00.0' },
      { bdf: '0000:01:00.0' },
      { bdf: '0000:02:00.0', group: 1 },
      { bdf: '0000:02:00.1', group: 1 },
    ],
  });
  assert.deepEqual(groupsAndUnits(spec), [
    ['0000:01:00.0', 0, 'dmar0'],
    ['0000:02:00.0', 1, 'dmar0'],
    ['0000:02:00.1', 1, 'dmar0'],
    ['0000:03:00.0', 2, 'dmar0'],
  ]);
});

test('a function twice, and behind a unit that is not there', () => {
  refuses(
    { devices: [{ bdf: '0000:01:00.0' }, { bdf: '0000:02:00.0' }, { bdf: '0000:01:00.0' }] },
    /^\/devices\/2\/bdf: 0000:01:00\.0 is there already: each function once/,
  );
  refuses(
    { devices: [{ bdf: '0000:01:00.0', iommu: 'dmar1' }], iommus: [{ kind: 'intel-vtd' }] },
    /^\/devices\/0\/iommu: no unit "dmar1": one of dmar0/,
  );
});

test('each PCI domain has a unit of its own', () => {
  const devices = ['0002:01:00.0', '0000:01:00.0', '0001:01:00.0', '0000:02:00.0'].map((bdf) => ({ bdf }));
  const expected = [
    ['0000:01:00.0', 0, 'dmar0'],
    ['0000:02:00.0', 1, 'dmar0'],
    ['0001:01:00.0', 2, 'dmar1'],
    ['0002:01:00.0', 3, 'dmar2'],
  ];
  assert.deepEqual(groupsAndUnits(specOf({ devices })), expected);
  const kind = 'intel-vtd';
  refuses(
    { devices, iommus: [{ kind }, { kind }] },
    /^\/devices\/0\/bdf: PCI domain 0002 has no unit: a unit serves one PCI domain/,
  );
  refuses(
    { devices: devices.map((device) => ({ ...device, iommu: 'dmar0' })) },
    /^\/devices\/2\/iommu: unit "dmar0", which serves PCI domain 0000 and no other/,
    /^\/devices\/0\/iommu: unit "dmar0", which serves PCI domain 0000 and no other/,
  );
  const text = devices.map(({ bdf }, group) => `/sys/kernel/iommu_groups/${group}/devices/${bdf}`).join('\n');
  assert.deepEqual(
    specOf({ topology: { format: 'sysfs-iommu-groups', text } }).machine.functions.map(({ iommu }) => iommu),
    expected.map(([, , iommu]) => iommu),
  );
});

test('thousands of PCI domains take no longer than as many functions of one', () => {
  const link = (index: number) => {
    const domain = index.toString(16).padStart(4, '0');
    return `/sys/kernel/iommu_groups/${index}/devices/${domain}:01:00.0`;
  };
  const text = Array.from({ length: MAX_FUNCTIONS }, (_, index) => link(index)).join('\n');
  const { iommus, functions } = specOf({ topology: { text } }).machine;
  assert.equal(iommus.length, MAX_FUNCTIONS);
  assert.ok(functions.every(({ iommu }, index) => iommu === `dmar${index}`));
  refuses(
    { topology: { text: `${text}\n${link(MAX_FUNCTIONS)}` } },
    /line 4097: ".*": a host has at most 4096 functions/,
  );
});

test('devices beside a topology say more of its functions, field by field', () => {
  const text = `IOMMU Group 4 01:00.0 Ethernet controller [0200]: Intel Corporation X710 [8086:1572]
    Kernel driver in use: i40e
    IOMMU Group 5 01:02.0 Ethernet controller [0200]: Intel Corporation Virtual Function 700 [8086:154c]
    IOMMU Group 6 02:00.0 Non-Volatile memory controller [0108]: Samsung [144d:a808]`;
  const topology = { text } as const;
  const { functions } = specOf({
    topology,
    devices: [
      { bdf: '02:00.0', driver: 'vfio-pci', reset: false, group: 9 },
      { bdf: '0000:01:00.0', vendor: null, irqs: 2 },
    ],
  }).machine;
  assert.deepEqual(
    functions.map(({ bdf, group, vendor, device, driver, reset, irqs, sriov }) => [
      bdf,
      group,
      vendor,
      device,
      driver,
      reset,
      irqs,
      sriov,
    ]),
    [
      ['0000:01:00.0', 4, null, '1572', 'i40e', true, 2, 'pf'],
      ['0000:01:02.0', 5, '8086', '154c', null, true, 5, 'vf'],
      ['0000:02:00.0', 9, '144d', 'a808', 'vfio-pci', false, 5, 'none'],
    ],
  );
  const plain = specOf({ topology, devices: [{ bdf: '0000:01:02.0', sriov: 'none' }] }).machine.functions;
  assert.deepEqual(
    plain.map(({ sriov, physicalFunction }) => [sriov, physicalFunction]),
    [
      ['none', null],
      ['none', null],
      ['none', null],
    ],
  );
  refuses(
    { topology, devices: [{ bdf: '03:00.0' }, { bdf: '02:00.0' }, { bdf: '0000:02:00.0' }] },
    /^\/devices\/0\/bdf: 0000:03:00\.0 is not in the text/,
    /^\/devices\/2\/bdf: 0000:02:00\.0 is there already/,
  );
  refuses({ topology, devices: [{ bdf: '02:00.0', vendor: 'x' }] }, /^\/devices\/0\/vendor: /);
  refuses({ topology, devices: [{ bdf: '02:00.0', iommu: 'dmar7' }] }, /^\/devices\/0\/iommu: no unit "dmar7"/);
});

test('what was concluded from a topology comes with it, and `iommus` says otherwise', () => {
  const text = 'IOMMU Group 0 00:01.0 Host bridge [0600]: Advanced Micro Devices, Inc. [AMD] Renoir [1022:1632]';
  const topology = { format: 'lspci-by-group', text } as const;
  const built = buildHostSpec({ topology });
  assert.ok('notes' in built);
  const what = 'the IOMMU is taken for amd-vi (ivhd0): 0000:00:01.0 is of such a machine; `iommus` says otherwise';
  assert.deepEqual(built.notes, [{ line: 1, text, what }]);
  const other = buildHostSpec({ topology, iommus: [{ kind: 'intel-vtd' }] });
  assert.ok('notes' in other);
  assert.deepEqual(other.notes, []);
  assert.deepEqual(groupsAndUnits(other.spec), [['0000:00:01.0', 0, 'dmar0']]);
});

test('a virtual function makes a physical one of the function that it names', () => {
  const pair = (pf: object, vf: object) => ({
    devices: [
      { bdf: '0000:01:00.0', ...pf },
      { bdf: '0000:01:00.1', ...vf },
    ],
  });
  const owner = { physicalFunction: '01:00.0' };
  const { functions } = specOf(pair({}, owner)).machine;
  assert.deepEqual(
    functions.map(({ sriov, physicalFunction }) => [sriov, physicalFunction]),
    [
      ['pf', null],
      ['vf', '0000:01:00.0'],
    ],
  );
  assert.deepEqual(specOf({ devices: functions }).machine.functions, functions);
  refuses(pair({}, { ...owner, sriov: 'pf' }), /^\/devices\/1\/physicalFunction: only a virtual function has one/);
  refuses(pair({ sriov: 'none' }, owner), /^\/devices\/1\/physicalFunction: 0000:01:00\.0 has no virtual functions/);
  refuses(
    pair({}, { physicalFunction: '02:00.0' }),
    /^\/devices\/1\/physicalFunction: there is no other function 0000:02/,
  );
  refuses(pair({}, { physicalFunction: '01:00.1' }), /^\/devices\/1\/physicalFunction: there is no other function/);
  refuses(pair({}, { physicalFunction: 'nic' }), /^\/devices\/1\/physicalFunction: "nic" is not a PCI address/);
  const plug = (sriov: 'pf' | 'none') =>
    buildFunction(
      { bdf: '01:00.1', ...owner },
      { iommus: [{ id: 'dmar0' }], functions: [{ ...functions[0]!, sriov }] },
    );
  const plugged = plug('pf');
  assert.ok('function' in plugged);
  assert.deepEqual([plugged.function.sriov, plugged.function.group], ['vf', 1]);
  assert.ok('errors' in plug('none'));
});

test('functions behind a VMD share its requester id, and with it group and unit', () => {
  const behind = { realDmaDevice: '0000:00:0e.0' };
  const devices: DeviceRequest[] = [
    { bdf: '10000:e1:00.0', ...behind },
    { bdf: '0000:00:0e.0', group: 5 },
    { bdf: '0001:00:00.0' },
    { bdf: '10000:e0:1c.0', ...behind },
    { bdf: '30000:00:00.0' },
  ];
  const { iommus, functions } = specOf({
    devices,
    iommus: ['a', 'b', 'c'].map((id) => ({ id, kind: 'intel-vtd' })),
  }).machine;
  assert.deepEqual(
    functions.map(({ bdf, group, iommu }) => [bdf, group, iommu]),
    [
      ['0000:00:0e.0', 5, 'a'],
      ['0001:00:00.0', 0, 'b'],
      ['10000:e0:1c.0', 5, 'a'],
      ['10000:e1:00.0', 5, 'a'],
      ['30000:00:00.0', 1, 'c'],
    ],
  );
  assert.deepEqual(specOf({ devices }).machine.iommus.length, 3);
  const plugged = buildFunction({ bdf: '10000:e2:00.0', ...behind }, { iommus, functions });
  assert.ok('function' in plugged, JSON.stringify(plugged));
  assert.deepEqual([plugged.function.group, plugged.function.iommu], [5, 'a']);
  refuses(
    { devices: [...devices.slice(1), { bdf: '10000:e1:00.0', group: 6, ...behind }] },
    /^\/devices\/4\/realDmaDevice: 0000:00:0e\.0 is in group 5: functions of one requester id are in one group/,
  );
  refuses(
    { devices: [{ bdf: '10000:e1:00.0', ...behind }] },
    /^\/devices\/0\/realDmaDevice: there is no other function/,
  );
  refuses(
    { devices: [...devices, { bdf: '10000:e2:00.0', realDmaDevice: '10000:e1:00.0' }] },
    /^\/devices\/5\/realDmaDevice: the DMA of 10000:e1:00\.0 carries another requester id itself/,
  );
});

test('without units there are no groups', () => {
  const text = 'IOMMU Group 4 01:00.0 Ethernet controller [0200]: Intel Corporation I210 [8086:1533]';
  const plain = text.replace('IOMMU Group 4 ', '');
  for (const request of [
    { devices: [{ bdf: '0000:01:00.0' }] },
    { topology: { text } },
    { topology: { text: plain } },
    { topology: { format: 'lspci-by-group', text: plain }, devices: [{ bdf: '01:00.0', irqs: 1 }] },
  ] satisfies HostRequest[]) {
    const spec = specOf({ ...request, iommus: [] });
    assert.deepEqual(spec.machine.iommus, []);
    assert.deepEqual(groupsAndUnits(spec), [['0000:01:00.0', null, null]]);
    assert.deepEqual(specOf({ iommus: [], devices: spec.machine.functions }).machine, spec.machine);
  }
  assert.ok(specOf({ preset: 'vmm-lab', iommus: [] }).machine.functions.every(({ group }) => group === null));
  refuses(
    { topology: { text: plain } },
    /line 1: .*no line before it says its group: .*a machine without an IOMMU has `iommus: \[\]`/,
  );
  refuses(
    { iommus: [], devices: [{ bdf: '01:00.0', group: 1, iommu: 'dmar0' }] },
    /^\/devices\/0\/group: there are no groups: the host has no IOMMU/,
    /^\/devices\/0\/iommu: no unit "dmar0": the host has no IOMMU/,
  );
  const plugged = buildFunction({ bdf: '02:00.0' }, { iommus: [], functions: [] });
  assert.ok('function' in plugged);
  assert.deepEqual([plugged.function.group, plugged.function.iommu], [null, null]);
});

test('all functions of a group are behind one unit', () => {
  const iommus: IommuRequest[] = [{ kind: 'intel-vtd' }, { kind: 'intel-vtd' }];
  const device = (bdf: string, iommu?: string) => ({ bdf, group: 5, ...(iommu && { iommu }) });
  refuses(
    { iommus, devices: [device('0000:01:00.0', 'dmar0'), device('0000:01:00.1', 'dmar1')] },
    /^\/devices\/1\/iommu: group 5 is behind unit "dmar0": all functions of a group are behind one unit/,
  );
  const follows = specOf({ iommus, devices: [device('0000:01:00.0'), device('0000:01:00.1', 'dmar1')] });
  assert.deepEqual(groupsAndUnits(follows), [
    ['0000:01:00.0', 5, 'dmar1'],
    ['0000:01:00.1', 5, 'dmar1'],
  ]);
  refuses(
    { iommus, devices: [device('0000:01:00.0'), device('0001:01:00.0')] },
    /^\/devices\/1\/group: group 5 is behind unit "dmar0", which serves PCI domain 0000 and no other/,
  );
  const text = ['0000:01:00.0', '0001:01:00.0'].map((bdf) => `/sys/kernel/iommu_groups/5/devices/${bdf}`).join('\n');
  refuses(
    { topology: { format: 'sysfs-iommu-groups', text } },
    /^\/topology\/text: 0001:01:00\.0: group 5 is behind unit "dmar0", which serves PCI domain 0000/,
  );
});

test('units get free ids, and two never have the same', () => {
  const ids = (iommus: IommuRequest[]) => specOf({ iommus }).machine.iommus.map(({ id }) => id);
  assert.deepEqual(
    ids([{ kind: 'intel-vtd' }, { kind: 'intel-vtd', id: 'dmar0' }, { kind: 'generic' }, { kind: 'arm-smmuv3' }]),
    ['dmar1', 'dmar0', 'mock0', 'smmu0'],
  );
  refuses(
    { iommus: ['a', 'b', 'a'].map((id) => ({ id, kind: 'amd-vi' })) },
    /^\/iommus\/2\/id: "a" is the id of \/iommus\/0 already/,
  );
});

test('what a unit says of itself goes over the defaults of its kind', () => {
  const [unit] = specOf({
    iommus: [
      {
        id: 'iommu',
        kind: 'generic',
        aperture: { start: 0, last: '0xFFFFFFFFFFFFFFFF' },
        pageSizes: [2048, '0x1000', '0x1000000000'],
        table1: { aperture: { start: '0x0', last: '0xffffffff' }, pageSizes: ['0x1000'] },
        reserved: [{ start: '0xfee00000', last: '0xfee00000', type: 'msi' }],
        dirtyTracking: false,
        nesting: false,
        interruptRemapping: false,
        cacheCoherency: false,
        defaultDomain: 'identity',
        maxPasidLog2: 0,
        hwInfo: { type: 1, length: 4, data: 'AAAAAA==' },
      },
    ],
  }).machine.iommus;
  assert.deepEqual(unit, {
    id: 'iommu',
    kind: 'generic',
    table: {
      aperture: { start: '0x0', last: '0xffffffffffffffff' },
      pageSizes: ['0x800', '0x1000', '0x1000000000'],
    },
    table1: { aperture: { start: '0x0', last: '0xffffffff' }, pageSizes: ['0x1000'] },
    reserved: [{ start: '0xfee00000', last: '0xfee00000', type: 'msi' }],
    dirtyTracking: false,
    nesting: false,
    interruptRemapping: false,
    cacheCoherency: false,
    defaultDomain: 'identity',
    maxPasidLog2: 0,
    hwInfo: { type: 1, length: 4, data: 'AAAAAA==' },
  });
});

test('what a unit says wrongly is pointed to', () => {
  const aperture = { start: '0x1000', last: '0x1000' };
  refuses(
    {
      iommus: [
        { kind: 'generic', aperture, pageSizes: [0x400, 0x1800, 0x2000, 0x1000], table1: { aperture, pageSizes: [] } },
        { kind: 'generic', pageSizes: [0x1000, 0x1000], hwInfo: { type: 1, length: 8, data: 'AAAA' } },
        { kind: 'generic', pageSizes: ['4096'], reserved: [{ start: 9, last: 8, type: 'msi' }] },
      ],
    },
    /^\/iommus\/0\/aperture\/last: must be above start \(0x1000\)/,
    /^\/iommus\/0\/pageSizes\/0: 0x400 is not a power of two from 0x800 on/,
    /^\/iommus\/0\/pageSizes\/1: 0x1800 is not a power of two/,
    /^\/iommus\/0\/pageSizes\/3: 0x1000 is not above 0x2000: sizes ascend/,
    /^\/iommus\/0\/table1\/pageSizes: at least one page size/,
    /^\/iommus\/0\/table1\/aperture\/last: must be above start/,
    /^\/iommus\/1\/pageSizes\/1: 0x1000 is not above 0x1000/,
    /^\/iommus\/1\/hwInfo\/data: 3 bytes, but length says 8/,
    /^\/iommus\/2\/pageSizes\/0: expected a hexadecimal string/,
    /^\/iommus\/2\/reserved\/0\/last: must be at least start/,
  );
});

const address = (index: number) => {
  const hex = (value: number) => value.toString(16).padStart(2, '0');
  return `0000:${hex(index >> 8)}:${hex((index >> 3) & 0x1f)}.${index & 7}`;
};

test('a host has at most 4096 functions', () => {
  const devices = Array.from({ length: MAX_FUNCTIONS + 1 }, (_, index) => ({ bdf: address(index) }));
  assert.equal(specOf({ devices: devices.slice(1) }).machine.functions.length, MAX_FUNCTIONS);
  refuses({ devices }, /^\/devices\/4096: a host has at most 4096 functions/);
});

test('a function that is plugged in gets the lowest free group behind the unit of its PCI domain', () => {
  const { iommus, functions } = specOf({
    iommus: [{ kind: 'intel-vtd' }, { kind: 'intel-vtd' }],
    devices: [
      { bdf: '0000:01:00.0', group: 0 },
      { bdf: '0000:02:00.0', group: 2 },
    ],
  }).machine;
  const plug = (request: DeviceRequest) => buildFunction(request, { iommus, functions });
  const placed = (request: DeviceRequest) => {
    const built = plug(request);
    assert.ok('function' in built, JSON.stringify(built));
    return [built.function.bdf, built.function.group, built.function.iommu, built.function.driver];
  };
  assert.deepEqual(placed({ bdf: '0000:03:00.0' }), ['0000:03:00.0', 1, 'dmar0', null]);
  assert.deepEqual(placed({ bdf: '0000:02:00.1', group: 2 }), ['0000:02:00.1', 2, 'dmar0', null]);
  assert.deepEqual(placed({ bdf: '0001:00:00.0', driver: 'vfio-pci' }), ['0001:00:00.0', 1, 'dmar1', 'vfio-pci']);
  assert.deepEqual(plug({ bdf: '0000:01:00.0' }), {
    errors: [{ pointer: '/bdf', reason: '0000:01:00.0 is there already: each function once' }],
  });
  const refused = (request: DeviceRequest, pointer: string, reason: RegExp) => {
    const built = plug(request);
    assert.ok('errors' in built);
    assert.equal(built.errors[0]?.pointer, pointer);
    assert.match(built.errors[0].reason, reason);
  };
  refused({ bdf: '0000:03:00.0', iommu: 'dmar7' }, '/iommu', /no unit "dmar7": one of dmar0, dmar1/);
  refused({ bdf: '0000:02:00.1', group: 2, iommu: 'dmar1' }, '/iommu', /group 2 is behind unit "dmar0"/);
  refused({ bdf: '0000:02:00.1', vendor: 'x' }, '/vendor', /not of the form/);
  refused({ bdf: 'nvme0' }, '/bdf', /not a PCI address/);
});

test('the last free place of a full host is the last', () => {
  const functions = Array.from({ length: MAX_FUNCTIONS }, (_, group) => ({
    bdf: address(group),
    group,
    iommu: 'dmar0',
  }));
  const iommus = [{ id: 'dmar0' }];
  const request = { bdf: '0000:ff:00.0' };
  assert.ok('function' in buildFunction(request, { iommus, functions: functions.slice(1) }));
  assert.deepEqual(buildFunction(request, { iommus, functions }), {
    errors: [{ pointer: '', reason: 'a host has at most 4096 functions' }],
  });
});
