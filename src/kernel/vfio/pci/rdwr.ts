/**
 * Reading and writing the regions of a device through its descriptor (drivers/vfio/pci/vfio_pci_rdwr.c): bits 40 and up
 * of an offset are the number of the region, the others the offset in it.
 */
import { type Refusal, refuse } from '../../errno.ts';
import type { ReadOk } from '../../file.ts';
import { readConfig, writeConfig } from './config.ts';
import type { VfioPciCore } from './core.ts';

const OFFSET_SHIFT = 40n;
const OFFSET_MASK = (1n << OFFSET_SHIFT) - 1n;

const ROM_REGION = 6;
const CONFIG_REGION = 7;

/** The number of the region that an offset is in (VFIO_PCI_OFFSET_TO_INDEX). */
const regionOf = (offset: bigint): number => Number(offset >> OFFSET_SHIFT);

/** vfio_pci_core_read. EINVAL: there is no such region; and what the regions refuse. */
export function readRegion(core: VfioPciCore, offset: bigint, length: number): ReadOk | Refusal {
  if (length === 0) return { ret: 0, data: new Uint8Array() };
  const region = regionOf(offset);
  const pos = offset & OFFSET_MASK;
  if (region === CONFIG_REGION) return readConfig(core, pos, length);
  if (region <= ROM_REGION) return readBar(core, region, pos, length);
  return noRegion(core, region);
}

/** vfio_pci_core_write. EINVAL: there is no such region, or it is the ROM; and what the regions refuse. */
export function writeRegion(core: VfioPciCore, offset: bigint, data: Uint8Array): number | Refusal {
  if (data.length === 0) return 0;
  const region = regionOf(offset);
  const pos = offset & OFFSET_MASK;
  if (region === CONFIG_REGION) return writeConfig(core, pos, data);
  if (region < ROM_REGION) return writeBar(core, region, pos, data);
  if (region === ROM_REGION) return refuse('EINVAL', 'vfio_pci_rw', 'the expansion ROM cannot be written');
  return noRegion(core, region);
}

/** Region 8 is VGA's, and those behind it are of drivers that none of the devices here has. */
function noRegion({ fn }: VfioPciCore, region: number): Refusal {
  return refuse('EINVAL', 'vfio_pci_rw', `${fn.bdf} has no region ${region}`);
}

/** vfio_pci_bar_rw. */
function readBar(_core: VfioPciCore, _region: number, _pos: bigint, _length: number): ReadOk | Refusal {
  return refuse('EINVAL', 'vfio_pci_bar_rw', 'the device has no regions here');
}

/** vfio_pci_bar_rw. */
function writeBar(_core: VfioPciCore, _region: number, _pos: bigint, _data: Uint8Array): number | Refusal {
  return refuse('EINVAL', 'vfio_pci_bar_rw', 'the device has no regions here');
}
