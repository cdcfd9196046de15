import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { IOMMU_KINDS } from '../../../src/machine/spec.ts';
import { defaultUnit } from '../../../src/machine/topology/iommus.ts';
import { ALDER_LAKE, RYZEN_2400G } from '../../../src/machine/topology/preset-texts.ts';
import { PRESET_NAMES, PRESETS } from '../../../src/machine/topology/presets.ts';

const fixture = (name: string) => readFileSync(new URL(`../../fixtures/${name}`, import.meta.url), 'utf8');
const lines = (text: string) =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);

test('every preset has a sentence, and its functions are behind its unit', () => {
  for (const name of PRESET_NAMES) {
    const { about, iommus, functions } = PRESETS[name];
    assert.match(about, /^[A-Z].*\.$/);
    assert.equal(iommus.length, 1);
    for (const { bdf, iommu } of functions) assert.equal(iommu, iommus[0]?.id, bdf);
  }
});

test('the machine of the live update walk-through', () => {
  assert.deepEqual(
    PRESETS['vmm-lab'].functions.map(({ bdf, group, driver, class: kind, reset }) => [bdf, group, driver, kind, reset]),
    [
      ['0000:01:00.0', 0, 'vfio-pci', '0108', true],
      ['0000:02:00.0', 1, 'vfio-pci', '0108', true],
      ['0000:03:00.0', 2, 'vfio-pci', '0200', true],
      ['0000:03:00.1', 2, 'vfio-pci', '0200', true],
      ['0000:04:00.0', 3, 'nvme', '0108', true],
    ],
  );
});

test('the two real machines are the published ones', () => {
  assert.deepEqual(lines(RYZEN_2400G), lines(fixture('ryzen-2400g.iommu_groups.txt')));
  assert.deepEqual(lines(ALDER_LAKE), lines(fixture('alder-lake.lspci-by-group.txt')));
  assert.equal(PRESETS['ryzen-2400g'].functions.length, lines(RYZEN_2400G).length);
  assert.equal(PRESETS['alder-lake'].functions.length, 30);
});

test('the default VT-d unit is the one on which a real VMM was recorded', () => {
  const header = JSON.parse(fixture('vmm-q35-4g.calls.jsonl').split('\n')[0]!);
  const unit = defaultUnit('intel-vtd', 'dmar0');
  assert.deepEqual(unit.table.aperture, header.geometry.aperture);
  assert.deepEqual(unit.table.pageSizes, header.geometry.page_sizes);
  assert.deepEqual(unit.reserved, header.geometry.reserved);
  assert.equal(unit.dirtyTracking, header.geometry.dirty_tracking);
  assert.equal(unit.nesting, header.geometry.nesting);
  assert.equal(unit.interruptRemapping, header.interrupt_remapping);
  const { type, data_len: length, data } = header.geometry.hw_info;
  assert.deepEqual(unit.hwInfo, { type, length, data });
});

test('interrupt windows are of hardware on x86, of software on Arm, and the mock IOMMU has none', () => {
  const windows = IOMMU_KINDS.map((kind) => defaultUnit(kind, 'x').reserved.map(({ type }) => type));
  assert.deepEqual(windows, [['msi'], ['msi', 'reserved'], ['sw-msi'], []]);
});

test('a unit belongs to the one who asked for it', () => {
  defaultUnit('intel-vtd', 'a').table.pageSizes.push('0x8000000000');
  assert.equal(defaultUnit('intel-vtd', 'b').table.pageSizes.length, 3);
});
