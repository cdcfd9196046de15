/** What lspci says of BARs and capabilities with -v, -vv and -xxx, and what a host makes of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildHostSpec } from '../../../src/host/host-spec.ts';
import { ConfigSpace } from '../../../src/machine/pci/config-space.ts';
import { defaultConfig } from '../../../src/machine/pci/default-config.ts';
import type { FunctionSpec } from '../../../src/machine/spec.ts';
import { functionSpec } from '../../../src/machine/topology/functions.ts';

const HEADER = 'IOMMU Group 14:\n01:00.0 Non-Volatile memory controller [0108]: Samsung SM981 [144d:a808] (rev 01)';

function read(...lines: string[]): { fn: FunctionSpec; notes: string[] } {
  const built = buildHostSpec({ topology: { text: lines.join('\n') } });
  assert.ok('spec' in built, JSON.stringify(built));
  return { fn: built.spec.machine.functions[0]!, notes: built.notes.map(({ what }) => what) };
}

const barsOf = ({ config }: FunctionSpec) =>
  config?.bars.map(({ index, kind, prefetchable, address, size }) =>
    [index, kind, ...(prefetchable ? ['prefetchable'] : []), address, size].join(' '),
  );

test('lspci -vv', () => {
  const { fn } = read(
    `${HEADER} (prog-if 02 [NVM Express])`,
    '\tSubsystem: Samsung Electronics Co Ltd SSD 970 EVO [144d:a801]',
    '\tInterrupt: pin B routed to IRQ 37',
    '\tRegion 0: Memory at fcf00000 (64-bit, non-prefetchable) [size=16K]',
    '\tRegion 2: I/O ports at e000 [disabled] [size=256]',
    '\tRegion 4: Memory at <unassigned> (64-bit, prefetchable) [size=2G]',
    '\tExpansion ROM at fce00000 [virtual] [disabled] [size=512K]',
    '\tCapabilities: [40] Power Management version 3',
    '\t\tStatus: D0 NoSoftRst+ PME-Enable- DSel=0 DScale=0 PME-',
    '\tCapabilities: [50] MSI: Enable- Count=1/32 Maskable+ 64bit+',
    '\t\tAddress: 0000000000000000  Data: 0000',
    '\tCapabilities: [70] Express (v2) Endpoint, MSI 00',
    '\tCapabilities: [b0] MSI-X: Enable+ Count=33 Masked-',
    '\t\tVector table: BAR=0 offset=00003000',
    '\t\tPBA: BAR=0 offset=00002000',
    '\tCapabilities: [100 v2] Advanced Error Reporting',
    '\tCapabilities: [148 v1] Device Serial Number 00-00-00-00-00-00-00-00',
    '\tKernel driver in use: nvme',
  );
  const { config } = fn;
  assert.deepEqual(barsOf(fn), [
    '0 mem64 0xfcf00000 0x4000',
    '2 io 0xe000 0x100',
    '4 mem64 prefetchable 0x0 0x80000000',
    '6 rom 0xfce00000 0x80000',
  ]);
  assert.deepEqual(config!.capabilities, [
    { offset: 0x40, id: 1 },
    { offset: 0x50, id: 5, msiVectors: 32, address64: true, maskable: true },
    { offset: 0x70, id: 16 },
    { offset: 0xb0, id: 17, msixVectors: 33, tableBar: 0, tableOffset: 0x3000, pbaBar: 0, pbaOffset: 0x2000 },
  ]);
  assert.deepEqual(config!.extendedCapabilities, [
    { offset: 0x100, id: 1, version: 2 },
    { offset: 0x148, id: 3, version: 1 },
  ]);
  const { revision, progIf, subsystemVendor, subsystemDevice, interruptPin, size } = config!;
  assert.deepEqual([revision, progIf, subsystemVendor, subsystemDevice], [1, 2, '144d', 'a801']);
  assert.deepEqual([interruptPin, size], [2, 4096]);
});

test('lspci -v has no numbers of BARs, and does not say where the table of MSI-X is', () => {
  const { fn } = read(
    HEADER,
    '\tFlags: bus master, fast devsel, latency 0, IRQ 37',
    '\tMemory at fb000000 (64-bit, prefetchable) [size=512K]',
    '\tI/O ports at e020 [size=32]',
    '\tMemory at fb080000 (64-bit, prefetchable) [size=16K]',
    '\tMemory at fb0a0000 (32-bit, non-prefetchable) [size=64]',
    '\tCapabilities: [70] MSI-X: Enable+ Count=64 Masked-',
    '\tCapabilities: [a0] Express Endpoint, MSI 00',
    '\tCapabilities: [e0] Vital Product Data',
    '\tCapabilities: [100] Something that is new',
  );
  assert.deepEqual(barsOf(fn), [
    '0 mem64 prefetchable 0xfb000000 0x80000',
    '2 io 0xe020 0x20',
    '3 mem64 prefetchable 0xfb080000 0x4000',
    '5 mem32 0xfb0a0000 0x40',
  ]);
  assert.deepEqual(fn.config!.capabilities[0], {
    offset: 0x70,
    id: 17,
    msixVectors: 64,
    tableBar: 3,
    tableOffset: 0,
    pbaBar: 3,
    pbaOffset: 0x800,
  });
  assert.deepEqual(fn.config!.extendedCapabilities, []);
});

test('lspci without privileges says no capabilities: they are as functions of the class have them', () => {
  const { fn } = read(
    HEADER,
    '\tMemory at fcf00000 (64-bit, non-prefetchable) [size=16K]',
    '\tCapabilities: <access denied>',
  );
  assert.deepEqual(fn.config!.capabilities, defaultConfig(fn).capabilities);
});

test('a text that says nothing of BARs and capabilities leaves all to the class', () => {
  assert.equal(
    read(HEADER, '\tSubsystem: Samsung SSD 970 EVO [144d:a801]', '\tKernel driver in use: nvme').fn.config,
    undefined,
  );
});

test('lspci -xxx gives the bytes, and the lines above it how large BARs are', () => {
  const config = {
    ...defaultConfig({ bdf: '0000:01:00.0', vendor: '144d', device: 'a808', class: '0108' }),
    revision: 7,
  };
  const known = functionSpec({
    bdf: '0000:01:00.0',
    group: 0,
    iommu: null,
    vendor: '144d',
    device: 'a808',
    class: '0108',
    config,
  });
  const bytes = Buffer.from(new ConfigSpace(known).bytes()).subarray(0, 256);
  const dump = Array.from({ length: 16 }, (_, row) => {
    const words = [...bytes.subarray(16 * row, 16 * row + 16)].map((byte) => byte.toString(16).padStart(2, '0'));
    return `${row.toString(16)}0: ${words.join(' ')}`;
  });
  const line = `\tMemory at ${config.bars[0]!.address.slice(2)} (64-bit, non-prefetchable) [size=64K]`;
  const { fn } = read(HEADER, line, ...dump);
  assert.equal(fn.config!.revision, 7);
  assert.deepEqual(fn.config!.bars, config.bars);
  assert.deepEqual(fn.config!.capabilities, config.capabilities);
  assert.equal(fn.config!.image, bytes.toString('base64'));
  // The first 64 bytes, which everybody may read, do not have the capabilities.
  assert.equal(read(HEADER, line, ...dump.slice(0, 4)).fn.config!.image, undefined);
  // Without the lines nobody knows how large its BARs are.
  const { fn: without, notes } = read(HEADER, ...dump);
  assert.equal(without.config, undefined);
  assert.match(
    notes.join('\n'),
    /what it says of BARs and capabilities is not taken over as it is: bars: the image has BAR 0/,
  );
});

test('what cannot be so is not refused: BARs at least are taken over, or nothing', () => {
  const bar = '\tRegion 0: Memory at fcf00000 (64-bit, non-prefetchable) [size=16K]';
  const overlap = ['\tCapabilities: [40] Power Management version 3', '\tCapabilities: [44] Express Endpoint, MSI 00'];
  const first = read(HEADER, bar, ...overlap);
  assert.deepEqual(barsOf(first.fn), ['0 mem64 0xfcf00000 0x4000']);
  assert.deepEqual(first.fn.config!.capabilities, defaultConfig(first.fn).capabilities);
  assert.ok(first.notes.some((what) => /capabilities\/1\/offset: lies in the 8 bytes of capability 1/.test(what)));
  const second = read(HEADER, bar, '\tRegion 1: Memory at fcf08000 (32-bit, non-prefetchable) [size=16K]');
  assert.equal(second.fn.config, undefined);
  assert.ok(second.notes.some((what) => /bars\/1\/index: BAR 1 is in/.test(what)));
});

test('bridges are not described, nor BARs in the capability of virtual functions', () => {
  const bridge = 'IOMMU Group 1:\n00:01.0 PCI bridge [0604]: Intel Root Port [8086:1901] (rev 05)';
  const details = [
    '\tMemory at fcf00000 (64-bit, non-prefetchable) [size=16K]',
    '\tCapabilities: [88] Subsystem: Dell [1028:0738]',
  ];
  assert.equal(read(bridge, ...details).fn.config, undefined);
  const { fn } = read(
    HEADER,
    '\tRegion 0: Memory at fcf00000 (64-bit, non-prefetchable) [size=16K]',
    '\tCapabilities: [160 v1] Single Root I/O Virtualization (SR-IOV)',
    '\t\tRegion 0: Memory at 00000000a1200000 (64-bit, non-prefetchable)',
  );
  assert.deepEqual(barsOf(fn), ['0 mem64 0xfcf00000 0x4000']);
});
