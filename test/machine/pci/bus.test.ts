/** What is above a bus, told from what is on it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { functionsOfBus, isBusResettable, pciAddress } from '../../../src/machine/pci/bus.ts';
import { PciFunction } from '../../../src/machine/pci/function.ts';
import type { FunctionSpec } from '../../../src/machine/spec.ts';
import { functionSpec } from '../../../src/machine/topology/functions.ts';

const fn = (bdf: string, more: Partial<FunctionSpec> = {}) =>
  new PciFunction(functionSpec({ bdf, group: 0, iommu: 'u', ...more }));

test('an address is segment, bus, and devfn', () => {
  assert.deepEqual(pciAddress('0000:01:1f.7'), { segment: 0, bus: 1, devfn: 0xff });
  assert.deepEqual(pciAddress('10000:e1:00.0'), { segment: 0x10000, bus: 0xe1, devfn: 0 });
});

test('functions of one bus, in the order of their addresses, whatever else there is', () => {
  const all = ['0000:01:00.1', '0000:01:00.0', '0000:02:00.0', '0001:01:00.0', '0000:01:10.0'].map((bdf) => fn(bdf));
  const names = functionsOfBus(all[0]!, all).map(({ bdf }) => bdf);
  assert.deepEqual(names, ['0000:01:00.0', '0000:01:00.1', '0000:01:10.0']);
});

test('a bus can be reset where a bridge is above it', () => {
  const cases: [string, boolean, PciFunction[]][] = [
    ['a function behind a port', true, [fn('0000:01:00.0')]],
    [
      'two that cannot be reset alone',
      true,
      [fn('0000:01:00.0', { reset: false }), fn('0000:01:00.1', { reset: false })],
    ],
    ['a root bus', false, [fn('0000:00:02.0'), fn('0000:00:03.0')]],
    ['the root bus of another segment', false, [fn('0003:00:02.0')]],
    ['another root bus', false, [fn('0000:40:00.0', { class: '0600' }), fn('0000:40:01.0')]],
    ['virtual functions on a bus of their own', false, [fn('0000:02:00.0', { sriov: 'vf' })]],
    [
      'virtual functions beside their physical one',
      true,
      [fn('0000:01:00.0', { sriov: 'pf' }), fn('0000:01:10.0', { sriov: 'vf' })],
    ],
    ['a function alone that cannot be reset', false, [fn('0000:01:00.0', { reset: false })]],
  ];
  for (const [what, expected, functions] of cases) assert.equal(isBusResettable(functions), expected, what);
});
