/** The description of a configuration space: what is filled in, and what is wrong with one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ConfigRequest } from '../../src/host/config-spec.ts';
import { buildHostSpec, type DeviceRequest } from '../../src/host/host-spec.ts';
import { ConfigSpace } from '../../src/machine/pci/config-space.ts';
import { defaultConfig } from '../../src/machine/pci/default-config.ts';
import type { ConfigSpec, FunctionSpec } from '../../src/machine/spec.ts';

const NVME = { bdf: '0000:01:00.0', vendor: '144d', device: 'a808', class: '0108' };

function build(config: ConfigRequest, device: Partial<DeviceRequest> = {}): FunctionSpec | string[] {
  const built = buildHostSpec({ devices: [{ ...NVME, ...device, config }] });
  if ('spec' in built) return built.spec.machine.functions[0]!;
  return built.errors.map(({ pointer, reason }) => `${pointer.replace('/devices/0/config', '')}: ${reason}`);
}

function configOf(config: ConfigRequest, device: Partial<DeviceRequest> = {}): ConfigSpec {
  const built = build(config, device);
  assert.ok('bdf' in built, JSON.stringify(built));
  return built.config!;
}

function refuses(config: ConfigRequest, ...expected: RegExp[]): void {
  const errors = build(config);
  assert.ok(Array.isArray(errors), JSON.stringify(errors));
  for (const [index, pattern] of expected.entries()) assert.match(errors[index] ?? '', pattern);
  assert.equal(errors.length, expected.length, errors.join('\n'));
}

const imageOf = (fn: FunctionSpec): Uint8Array => new ConfigSpace(fn).bytes();

test('what is not said is as functions of the class have it', () => {
  const usual = defaultConfig(NVME);
  assert.deepEqual(configOf({}), usual);
  assert.deepEqual(configOf({ revision: 7, subsystemVendor: '0x144D' }), {
    ...usual,
    revision: 7,
    subsystemVendor: '144d',
  });
  // Of the class that a topology says, and of a function that turns out to be virtual.
  const text = 'IOMMU Group 3:\n 01:00.0 Audio device [0403]: NVIDIA [10de:10f0]';
  const built = buildHostSpec({ topology: { text }, devices: [{ bdf: '01:00.0', config: { revision: 1 } }] });
  assert.ok('spec' in built);
  assert.deepEqual(
    built.spec.machine.functions[0]!.config!.bars.map(({ size }) => size),
    ['0x4000'],
  );
});

test('every function can be described by what it has by default', () => {
  for (const code of [null, '0106', '0108', '0200', '0300', '0403', '0600', '0c03'])
    for (const vendor of ['8086', '1af4']) {
      const device = { class: code, vendor, sriov: 'none' as const, ats: true, pasid: true };
      const usual = defaultConfig({ ...NVME, ...device });
      assert.deepEqual(configOf(usual, device), usual, `${code} ${vendor}`);
    }
});

test('without PCI Express there are 256 bytes, and no extended capabilities', () => {
  const config = configOf({ capabilities: [{ offset: 0x40, id: 1 }] });
  assert.deepEqual([config.size, config.extendedCapabilities], [256, []]);
  refuses({ size: 4096, capabilities: [] }, /^\/size: without PCI Express, capability 16, it is 256 bytes/);
  refuses({ size: 512 }, /^\/size: must be 256, or 4096/);
  refuses(
    { size: 256, extendedCapabilities: [{ offset: 0x100, id: 1, version: 1 }] },
    /^\/extendedCapabilities: .*256 bytes has no extended/,
  );
});

test('MSI-X that functions of the class have goes where their BAR does not', () => {
  const ids = ({ capabilities }: ConfigSpec) => capabilities.map(({ id }) => id);
  assert.deepEqual(ids(configOf({ bars: [{ index: 0, kind: 'mem32', size: 0x4000 }] })), [1, 5, 16, 17]);
  assert.deepEqual(ids(configOf({ bars: [{ index: 0, kind: 'mem32', size: 0x2000 }] })), [1, 5, 16]);
});

test('BARs have a place and a size of their own', () => {
  refuses(
    {
      bars: [
        { index: 0, kind: 'mem64', size: 0x4000 },
        { index: 5, kind: 'mem64', size: 0x1000 },
        { index: 6, kind: 'mem32', size: 0x1000 },
        { index: 3, kind: 'rom', size: 0x800 },
        { index: 4, kind: 'io', size: 3 },
      ],
    },
    /^\/bars\/1\/index: one of 64 bits takes its index and the next, at most 4 and 5/,
    /^\/bars\/2\/index: the expansion ROM has index 6/,
    /^\/bars\/3\/index: the expansion ROM has index 6/,
    /^\/bars\/4\/size: must be a power of two, for kind io from 0x4 to 0x8000/,
  );
  refuses(
    {
      bars: [
        { index: 0, kind: 'mem64', size: 0x4000 },
        { index: 1, kind: 'mem32', size: 0x1000 },
      ],
    },
    /^\/bars\/1\/index: BAR 1 is in \/devices\/0\/config\/bars\/0 already/,
  );
  refuses(
    {
      bars: [
        { index: 0, kind: 'mem32', size: '0x1000', address: '0xfe000800' },
        { index: 1, kind: 'mem32', size: '0x1000', address: '0x100000000' },
        { index: 2, kind: 'io', size: 0x100, address: 0xff80 },
        { index: 3, kind: 'mem32', size: 'x' },
      ],
    },
    /^\/bars\/0\/address: must be a multiple of the size/,
    /^\/bars\/1\/address: .*end at 0x100000000 at most/,
    /^\/bars\/2\/address: /,
    /^\/bars\/3\/size: expected a hexadecimal string/,
  );
  const { bars } = configOf({
    bars: [
      { index: 0, kind: 'mem32', size: 0x10000000 },
      { index: 2, kind: 'mem64', size: '0x1000000000', prefetchable: true },
      { index: 4, kind: 'io', size: 0x100, address: 0xe000 },
    ],
  });
  for (const { address, size } of bars) assert.equal(BigInt(address) % BigInt(size), 0n);
  assert.ok(BigInt(bars[0]!.address) < 2n ** 32n && BigInt(bars[1]!.address) > 2n ** 46n);
  assert.equal(bars[2]!.address, '0xe000');
});

test('capabilities lie side by side in the first 256 bytes, and have what they need', () => {
  const msix = { msixVectors: 64, tableBar: 0, tableOffset: 0x2000, pbaBar: 0, pbaOffset: 0x3000 };
  refuses(
    {
      capabilities: [
        { offset: 0x46, id: 1 },
        { offset: 0x50, id: 5, msiVectors: 3 },
        { offset: 0x5c, id: 9 },
        { offset: 0xf8, id: 16 },
        { offset: 0x60, id: 17, ...msix, pbaOffset: 0x2008 },
        { offset: 0x70, id: 17, ...msix, tableBar: 2, pbaOffset: 0x3ffc },
        { offset: 0x80, id: 9, msiVectors: 1, data: 'AAECAwQFBgc=' },
        { offset: 0x84, id: 9 },
        { offset: 0x90, id: 17 },
      ],
    },
    /^\/capabilities\/0\/offset: must be a multiple of 4/,
    /^\/capabilities\/2\/offset: lies in the 14 bytes of capability 5 at .*\/capabilities\/1/,
    /^\/capabilities\/3\/offset: capability 16 has 20 bytes, and the room ends at 256/,
    /^\/capabilities\/7\/offset: lies in the 10 bytes of capability 9 at .*\/capabilities\/6/,
    /^\/capabilities\/1\/msiVectors: must be a power of two/,
    /^\/capabilities\/4\/pbaOffset: the pending bits lie in the table/,
    /^\/capabilities\/5\/id: a function has one capability 17/,
    /^\/capabilities\/5\/tableBar: there is no memory BAR 2/,
    /^\/capabilities\/5\/pbaOffset: must be a multiple of 8, and 8 bytes lie within BAR 0 of 0x10000 bytes/,
    /^\/capabilities\/6\/msiVectors: only of MSI/,
    /^\/capabilities\/8\/id: a function has one capability 17/,
    /^\/capabilities\/8\/msixVectors: required of MSI-X/,
    /^\/capabilities\/8\/tableBar: required/,
    /^\/capabilities\/8\/tableOffset: required/,
    /^\/capabilities\/8\/pbaBar: required/,
    /^\/capabilities\/8\/pbaOffset: required/,
  );
  refuses(
    { capabilities: [{ offset: 0x40, id: 16 }], extendedCapabilities: [{ offset: 0x140, id: 3, version: 1 }] },
    /^\/extendedCapabilities\/0\/offset: the first one is at 256/,
  );
  refuses(
    {
      extendedCapabilities: [
        { offset: 0x100, id: 1, version: 2 },
        { offset: 0x120, id: 3, version: 1 },
        { offset: 0xffc, id: 15, version: 1 },
      ],
    },
    /^\/extendedCapabilities\/1\/offset: lies in the 44 bytes of capability 1/,
    /^\/extendedCapabilities\/2\/offset: capability 15 has 8 bytes, and the room ends at 4096/,
  );
});

test('an image says all but how large BARs are', () => {
  const config = { ...defaultConfig(NVME), revision: 9, interruptPin: 2, subsystemVendor: '144d' };
  const fn = build(config) as FunctionSpec;
  const image = imageOf(fn).toBase64();
  const bars = config.bars.map(({ index, kind, prefetchable, size }) => ({ index, kind, prefetchable, size }));
  assert.deepEqual(configOf({ image, bars }), { ...config, image });
  // With what can be left out, and with all of it given.
  const short = imageOf(fn).subarray(0, 0x160).toBase64();
  assert.deepEqual(configOf({ ...config, image: short }), { ...config, image: short });
});

test('an image that is not of the function, or does not say what the fields say, is refused', () => {
  const usual = defaultConfig(NVME);
  const { bars } = usual;
  const bytes = imageOf(build(usual) as FunctionSpec);
  const image = bytes.toBase64();
  const changed = (at: number, value: number): string => bytes.with(at, value).toBase64();
  refuses({ image: bytes.subarray(0, 32).toBase64() }, /^\/image: must have 64 bytes at least and 256 at most/);
  refuses({ image, size: 256, bars }, /^\/image: must have 64 bytes at least and 256 at most/);
  refuses({ image: changed(0x0e, 1), bars }, /^\/image: its header .* is not that of an endpoint/);
  refuses({ image: changed(0, 0x86), bars }, /^\/image: its vendor is 1486, and that of the function 144d/);
  refuses({ image: changed(0x0b, 2), bars }, /^\/image: its class is 0208/);
  refuses(
    { image },
    /^\/bars: the image has BAR 0 of kind mem64: how large/,
    /^\/image: its capability of MSI-X: /,
    /^\/image: /,
  );
  refuses(
    { image, bars, revision: 3, interruptPin: 4 },
    /^\/revision: the image has 0/,
    /^\/interruptPin: the image has 1/,
  );
  refuses(
    { image, bars: [{ ...bars[0]!, kind: 'mem32' }] },
    /^\/bars\/0\/kind: the register of the image is of kind mem64/,
  );
  refuses(
    { image, bars: [{ ...bars[0]!, address: '0xfe400000' }] },
    /^\/bars\/0\/address: the register of the image has 0x/,
  );
  refuses({ image, bars: [{ ...bars[0]!, prefetchable: true }] }, /^\/bars\/0\/prefetchable: /);
  refuses(
    { image, bars: [...bars, { index: 3, kind: 'io', size: 4, address: 0xe000 }] },
    /^\/bars\/1\/address: the register of the image has none/,
  );
  refuses(
    { image, bars, capabilities: [{ offset: 0x40, id: 1 }] },
    /^\/capabilities: the image has more: .*"msiVectors":32/,
  );
  refuses({ image, bars, capabilities: [{ offset: 0x40, id: 16 }] }, /^\/capabilities\/0: the image has .*"id":1/);
  refuses({ image, bars, extendedCapabilities: [] }, /^\/extendedCapabilities: the image has more/);
});

test('a BAR whose register is 0 is one that the host has not placed', () => {
  const bytes = new Uint8Array(64);
  bytes.set([0x4d, 0x14, 0x08, 0xa8]);
  bytes.set([0x08, 0x01], 0x0a);
  const { bars, capabilities, size } = configOf({
    image: bytes.toBase64(),
    bars: [
      { index: 0, kind: 'mem32', size: 0x1000 },
      { index: 6, kind: 'rom', size: 0x800, address: '0xfe000000' },
    ],
  });
  assert.deepEqual(
    bars.map(({ address }) => address),
    ['0x0', '0xfe000000'],
  );
  assert.deepEqual([capabilities, size], [[], 256]);
});
