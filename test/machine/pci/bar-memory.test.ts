import assert from 'node:assert/strict';
import { test } from 'node:test';
import { barOf, readBar, storeInBar, writeBar } from '../../../src/machine/pci/bar-memory.ts';
import { PciFunction } from '../../../src/machine/pci/function.ts';
import {
  isVectorMasked,
  isVectorPending,
  maskVector,
  setVectorPending,
} from '../../../src/machine/pci/msix-vectors.ts';
import type { ConfigSpec } from '../../../src/machine/spec.ts';
import { functionSpec } from '../../../src/machine/topology/functions.ts';

const SIZE = 0x4000;
const TABLE = 0xff8;
const PBA = 0x3000;
const VECTORS = 65;

const CONFIG: ConfigSpec = {
  size: 4096,
  progIf: 2,
  revision: 0,
  subsystemVendor: '0000',
  subsystemDevice: '0000',
  interruptPin: 0,
  bars: [
    { index: 0, kind: 'mem64', prefetchable: false, address: '0xfe400000', size: '0x4000' },
    { index: 2, kind: 'mem32', prefetchable: false, address: '0xfe500000', size: '0x100' },
    { index: 6, kind: 'rom', prefetchable: false, address: '0xfe600000', size: '0x40000' },
  ],
  capabilities: [
    { offset: 64, id: 17, msixVectors: VECTORS, tableBar: 0, tableOffset: TABLE, pbaBar: 0, pbaOffset: PBA },
  ],
  extendedCapabilities: [],
};

const make = () =>
  new PciFunction(
    functionSpec({
      bdf: '0000:01:00.0',
      group: 0,
      iommu: 'dmar0',
      vendor: '144d',
      device: 'a808',
      class: '0108',
      config: CONFIG,
    }),
  );

const bytes = (...values: number[]) => Uint8Array.from(values);

function read(fn: PciFunction, bar: number, offset: number, length: number): number[] {
  const found = new Uint8Array(length);
  readBar(fn, barOf(fn, bar)!, offset, found);
  return [...found];
}

test('a BAR is zero until it is written, and only pages that were written take room', () => {
  const fn = make();
  assert.deepEqual(read(fn, 0, 0, 4), [0, 0, 0, 0]);
  writeBar(fn, barOf(fn, 0)!, 0, new Uint8Array(SIZE / 8));
  assert.equal(fn.barPages, null);
  writeBar(fn, barOf(fn, 0)!, 0x2ffe, bytes(1, 2, 3, 4));
  writeBar(fn, barOf(fn, 2)!, 0, bytes(9));
  assert.deepEqual(read(fn, 0, 0x2ffc, 6), [0, 0, 1, 2, 0, 0], 'the pending bits are not written by software');
  assert.deepEqual(read(fn, 2, 0, 2), [9, 0]);
  assert.equal(fn.barPages!.size, 2);
});

test('nobody answers behind the end of a BAR', () => {
  const fn = make();
  writeBar(fn, barOf(fn, 2)!, 0xfe, bytes(1, 2, 3, 4));
  assert.deepEqual(read(fn, 2, 0xfd, 5), [0, 1, 2, 0xff, 0xff]);
  assert.deepEqual(read(fn, 2, 0x800, 2), [0xff, 0xff]);
});

test('all vectors of MSI-X are masked until software unmasks them, also where the table goes on in another page', () => {
  const fn = make();
  const masked = () => Array.from({ length: VECTORS }, (_, vector) => isVectorMasked(fn, vector));
  assert.ok(masked().every(Boolean));
  assert.deepEqual(read(fn, 0, TABLE, 17), [...new Array(12).fill(0), 1, 0, 0, 0, 0]);
  writeBar(fn, barOf(fn, 0)!, TABLE + 16 + 12, bytes(0, 0, 0, 0));
  assert.deepEqual(masked().indexOf(false), 1);
  maskVector(fn, 1, true);
  maskVector(fn, 64, false);
  assert.deepEqual(masked().indexOf(false), 64);
  fn.reset();
  assert.ok(masked().every(Boolean));
});

test('pending bits are the device’s: software reads them', () => {
  const fn = make();
  setVectorPending(fn, 64, true);
  setVectorPending(fn, 9, true);
  writeBar(fn, barOf(fn, 0)!, PBA - 1, new Uint8Array(32));
  assert.deepEqual(read(fn, 0, PBA, 9), [0, 2, 0, 0, 0, 0, 0, 0, 1]);
  setVectorPending(fn, 9, false);
  assert.deepEqual([isVectorPending(fn, 64), isVectorPending(fn, 9)], [true, false]);
});

test('the ROM has a header that firmware takes, ones behind its end, and cannot be written', () => {
  const fn = make();
  const rom = Uint8Array.from(read(fn, 6, 0, 0x40000));
  const view = new DataView(rom.buffer);
  assert.equal(view.getUint16(0, true), 0xaa55);
  const data = view.getUint16(0x18, true);
  assert.equal(Buffer.from(rom.subarray(data, data + 4)).toString(), 'PCIR');
  assert.equal(view.getUint16(data + 4, true), 0x144d);
  assert.deepEqual([...rom.subarray(data + 13, data + 16)], [0, 8, 1]);
  const length = view.getUint16(data + 16, true) * 512;
  assert.equal(
    rom.subarray(0, length).reduce((sum, byte) => (sum + byte) & 0xff),
    0,
  );
  assert.ok(length < rom.length && rom.subarray(length).every((byte) => byte === 0xff));
  assert.deepEqual(read(fn, 6, 0x1b, 4), [...rom.subarray(0x1b, 0x1f)]);
  writeBar(fn, barOf(fn, 6)!, 0, bytes(0));
  storeInBar(fn, barOf(fn, 6)!, 0, bytes(0));
  assert.deepEqual(read(fn, 6, 0, 1), [0x55]);
});
