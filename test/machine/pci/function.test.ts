import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PciFunction, virtualFunctionsOf } from '../../../src/machine/pci/function.ts';
import { functionSpec } from '../../../src/machine/topology/functions.ts';

const make = (bdf: string, sriov: 'none' | 'pf' | 'vf', more: { vendor?: string; physicalFunction?: string } = {}) =>
  new PciFunction(functionSpec({ bdf, group: 0, iommu: 'dmar0', sriov, vendor: '8086', ...more }));

test('a virtual function belongs to the physical one that it names', () => {
  const [first, second] = [make('0000:3b:00.0', 'pf'), make('0000:3b:00.1', 'pf')];
  const vf = make('0000:3b:02.0', 'vf', { physicalFunction: second.bdf });
  const all = [first, second, vf];
  assert.deepEqual(
    [first, second].map((pf) => virtualFunctionsOf(pf, all)),
    [[], [vf]],
  );
});

test('one that names none belongs to the first physical one of its vendor on the nearest bus before it', () => {
  const pfs = [
    make('0000:3b:00.0', 'pf'),
    make('0000:3b:00.1', 'pf'),
    make('0000:3c:00.0', 'pf', { vendor: '15b3' }),
    make('0000:5e:00.0', 'pf'),
    make('10000:3b:00.0', 'pf'),
  ];
  const vfs = ['0000:3b:02.0', '0000:3c:01.0', '0000:5e:02.0', '10000:3b:02.0'].map((bdf) => make(bdf, 'vf'));
  const other = make('0000:3d:00.0', 'none');
  const all = [...vfs.toReversed(), other, ...pfs];
  assert.deepEqual(
    pfs.map((pf) =>
      virtualFunctionsOf(pf, all)
        .map(({ bdf }) => bdf)
        .sort(),
    ),
    [['0000:3b:02.0', '0000:3c:01.0'], [], [], ['0000:5e:02.0'], ['10000:3b:02.0']],
  );
  assert.deepEqual(virtualFunctionsOf(other, all), []);
});
