import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigSpace } from '../../../src/machine/pci/config-space.ts';
import { defaultConfig } from '../../../src/machine/pci/default-config.ts';
import type { ConfigSpec, FunctionSpec } from '../../../src/machine/spec.ts';
import { functionSpec } from '../../../src/machine/topology/functions.ts';

const CLASSES = [null, '0106', '0108', '0200', '0300', '0403', '0600', '0604', '0c03', '1200'];

function make(more: Partial<FunctionSpec> = {}): ConfigSpace {
  return new ConfigSpace(functionSpec({ bdf: '0000:01:00.0', group: 0, iommu: 'dmar0', class: '0108', ...more }));
}

const described = (config: Partial<ConfigSpec>): Partial<FunctionSpec> => ({
  config: { ...defaultConfig({ bdf: '0000:01:00.0', class: '0108' }), ...config },
});

test('registers keep the bits that they implement, and what belongs to none keeps all', () => {
  const config = make();
  const written = (at: number, width: 1 | 2 | 4, value: number) => {
    config.write(at, width, value);
    return config.read(at, width).toString(16);
  };
  assert.equal(written(0x00, 4, 0), 'ffffffff', 'ids are not known, and stay');
  assert.equal(written(0x04, 4, 0xffffffff), '100507');
  assert.equal(written(0x0c, 4, 0xffffffff), 'ff', 'the cache line, not latency and BIST');
  assert.equal(written(0x10, 4, 0xffffffff), 'ffff0004', '64 KiB of 64 bits');
  assert.equal(written(0x14, 4, 0xffffffff), 'ffffffff');
  assert.equal(written(0x18, 4, 0xffffffff), '0');
  assert.equal(written(0x3c, 4, 0xffffffff), '1ff');
  assert.equal(written(0x44, 2, 0xffff), 'b', 'D3hot');
  assert.equal(written(0x52, 2, 0xffff), 'fb', 'MSI: enabled, and how many; 32 of 64 bits');
  assert.equal(written(0xb2, 2, 0xffff), 'c020');
  assert.equal(written(0xf1, 1, 0x5a), '5a');
  assert.equal(written(0xffc, 4, 0x12345678), '12345678');
  assert.equal(config.read(0xf0, 4), 0x5a00);
});

test('what is put back takes no room', () => {
  const config = make();
  const state = () =>
    JSON.stringify(config, (key, value) => (['_spec', '_layout', '_fn'].includes(key) ? undefined : value));
  const before = state();
  config.write(0x0c, 1, 0x40);
  config.write(0x10, 4, 0);
  config.write(0x44, 2, 3);
  assert.notEqual(state(), before);
  config.restore();
  assert.equal(state(), before);
  config.write(0x800, 4, 1);
  config.restore();
  assert.equal(config.read(0x800, 4), 1, 'nobody’s bytes stay');
  config.powerOn();
  assert.equal(state(), before);
});

test('power states that are not there, and ways between sleeping ones, are refused silently', () => {
  const config = make();
  const after = (state: number): number => {
    config.setPowerState(state);
    return config.powerState;
  };
  assert.deepEqual([1, 2, 3, 1, 0].map(after), [0, 0, 3, 3, 0]);
  // Version 3 with D1 and D2.
  const image = Uint8Array.fromBase64(make().bytes().toBase64());
  image[0x43] = 0x06;
  const both = make(described({ image: image.toBase64() }));
  both.setPowerState(2);
  assert.equal(both.powerState, 2);
  both.setPowerState(1);
  assert.equal(both.powerState, 2, 'only D0 is above');
});

test('a function that slept when its bytes were read is awake after boot, and no bus master once it is enabled', () => {
  const image = make().bytes();
  image[0x04] = 0x07;
  image[0x44] = 0x0b;
  const config = make(described({ image: image.toBase64() }));
  assert.deepEqual([config.powerState, config.busMaster], [0, true]);
  config.enable();
  assert.equal(config.busMaster, false);
  config.restore();
  assert.equal(config.busMaster, false);
});

test('messages that are enabled outlive a reset, others do not', () => {
  const config = make();
  config.write(0x52, 2, 0x30);
  config.reset();
  assert.equal(config.read(0x52, 2), 0x8a);
  config.setMessages('msi', 5);
  assert.deepEqual([config.read(0x52, 2), config.read(0x04, 2)], [0xbb, 0x503]);
  config.reset();
  assert.equal(config.read(0x52, 2), 0xbb);
  config.setMessages('msix', 5);
  assert.deepEqual([config.read(0x52, 2), config.read(0xb2, 2)], [0x8a, 0x8020]);
  config.setMessages(null, 0);
  assert.deepEqual([config.read(0xb2, 2), config.read(0x04, 2)], [0x20, 0x103]);
});

test('registers of virtio', () => {
  const config = make({ vendor: '1af4', device: '1041', class: '0200' });
  const written = (at: number, width: 1 | 2 | 4, value: number) => {
    config.write(at, width, value);
    return config.read(at, width);
  };
  assert.equal(config.read(0x34, 1), 0xdc);
  assert.equal(config.read(0xc8, 4), 0x0514b409);
  assert.equal(written(0xcc, 1, 2), 2, 'through this one BARs are reached');
  assert.equal(written(0xd0, 4, 0x10), 0x10);
  assert.equal(written(0xb8, 1, 2), 4);
  assert.equal(written(0xbc, 4, 0x10), 0x3000);
  assert.equal(written(0x48, 2, 0xffff), 0xf);
});

test('what functions have by default', () => {
  for (const code of CLASSES) {
    const spec = functionSpec({ bdf: '0000:05:00.1', group: 0, iommu: 'dmar0', class: code });
    const { bars, capabilities, interruptPin } = defaultConfig(spec);
    const isBridge = code?.startsWith('06') === true;
    assert.equal(bars.length === 0, isBridge, `${code}`);
    assert.equal(interruptPin, isBridge ? 0 : 2);
    assert.deepEqual(
      new ConfigSpace(spec).capabilities.map(({ offset, id }) => [offset, id]),
      capabilities.map(({ offset, id }) => [offset, id]),
      `the chain of ${code}`,
    );
    for (const { address, size } of bars)
      assert.equal(BigInt(address) % BigInt(size), 0n, `${code} ${address} ${size}`);
  }
  const vf = defaultConfig({ bdf: '0000:05:02.0', class: '0300', sriov: 'vf', ats: true, pasid: true });
  assert.equal(vf.interruptPin, 0);
  assert.deepEqual([...new Set(vf.bars.map(({ kind }) => kind))], ['mem32', 'mem64']);
  assert.deepEqual(
    vf.extendedCapabilities.map(({ id }) => id),
    [1, 3, 15, 27],
  );
});

test('neighbours have addresses of their own', () => {
  const taken: [bigint, bigint][] = [];
  for (let n = 0; n < 32; n++) {
    const bdf = `0000:${(1 + n).toString(16).padStart(2, '0')}:00.0`;
    for (const { kind, address, size } of defaultConfig({ bdf, class: ['0108', '0200', '0403', '0c03'][n % 4]! }).bars)
      if (kind !== 'io') taken.push([BigInt(address), BigInt(address) + BigInt(size)]);
  }
  taken.sort(([a], [b]) => Number(a - b));
  for (const [index, [start]] of taken.entries()) assert.ok(index === 0 || start >= taken[index - 1]![1]);
});
