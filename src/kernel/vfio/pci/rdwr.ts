/** Reading and writing the regions of a device through its descriptor (drivers/vfio/pci/vfio_pci_rdwr.c). */
import { barOf, barSize, outside, readBar, writeBar } from '../../../machine/pci/bar-memory.ts';
import { type Extent, msixOf, tableIn } from '../../../machine/pci/msix.ts';
import type { BarSpec } from '../../../machine/spec.ts';
import { Refusal, refuse } from '../../errno.ts';
import type { ReadOk } from '../../file.ts';
import { readConfig, writeConfig } from './config.ts';
import type { VfioPciCore } from './core.ts';
import { raiseOwn } from './raise.ts';
import { CONFIG_REGION, isPlaced, positionOf, ROM_REGION, regionOf } from './regions.ts';

const LAST_REGION = 8;

/** vfio_pci_core_read. EINVAL: there is no such region; and what the regions refuse. */
export function readRegion(core: VfioPciCore, offset: bigint, length: number): ReadOk | Refusal {
  if (length === 0) return { ret: 0, data: new Uint8Array() };
  const region = regionOf(offset);
  const pos = positionOf(offset);
  if (region <= LAST_REGION) core.resume();
  if (region === CONFIG_REGION) return readConfig(core, pos, length);
  if (region <= ROM_REGION) return readBarRegion(core, region, Number(pos), length);
  return noRegion(core, region);
}

/** vfio_pci_core_write. EINVAL: there is no such region, or it is the ROM; and what the regions refuse. */
export function writeRegion(core: VfioPciCore, offset: bigint, data: Uint8Array): number | Refusal {
  if (data.length === 0) return 0;
  const region = regionOf(offset);
  const pos = positionOf(offset);
  if (region <= LAST_REGION) core.resume();
  if (region === CONFIG_REGION) return writeConfig(core, pos, data);
  if (region < ROM_REGION) return writeBarRegion(core, region, Number(pos), data);
  if (region === ROM_REGION) return refuse('EINVAL', 'vfio_pci_rw', 'the expansion ROM cannot be written');
  return noRegion(core, region);
}

/** Region 8 is VGA's, and those behind it are of drivers that none of the devices here has. */
function noRegion({ fn }: VfioPciCore, region: number): Refusal {
  return refuse('EINVAL', 'vfio_pci_rw', `${fn.bdf} has no region ${region}`);
}

interface Access {
  bar: BarSpec;
  /** Bytes of the region, cut at its end. */
  range: Extent;
  /** The parts of the range that reach the device, ascending. */
  parts: Extent[];
}

/**
 * What of an access to a BAR reaches the device (vfio_pci_bar_rw, vfio_pci_core_do_io_rw): all but the table of MSI-X, which
 * reads as ones and drops writes. EINVAL: no such BAR, or behind its end; ENOMEM the ROM and EIO memory while the function
 * does not answer. I/O ports are read and written even then.
 */
function accessOf(core: VfioPciCore, region: number, pos: number, length: number): Access | Refusal {
  const where = 'vfio_pci_bar_rw';
  const { fn } = core;
  const bar = barOf(fn, region);
  if (!bar || !isPlaced(bar)) return refuse('EINVAL', where, `${fn.bdf} has no BAR ${region}`);
  const size = barSize(bar);
  if (pos >= size) return refuse('EINVAL', where, `BAR ${region} of ${fn.bdf} has ${size} bytes`);
  const range = { start: pos, end: Math.min(size, pos + length) };
  if (region === ROM_REGION && !core.memoryEnabled)
    return refuse('ENOMEM', where, `the ROM of ${fn.bdf} is not found: memory is off in its command register`);
  const parts = outside(range, tableIn(msixOf(fn), region));
  if (bar.kind !== 'io' && parts.length > 0 && !core.memoryEnabled)
    return refuse(
      'EIO',
      'vfio_pci_core_do_io_rw',
      `${fn.bdf} does not answer: memory is off in its command register, or it is in D3hot`,
    );
  return { bar, range, parts: bar.kind === 'io' && !core.ioEnabled ? [] : parts };
}

function readBarRegion(core: VfioPciCore, region: number, pos: number, length: number): ReadOk | Refusal {
  const access = accessOf(core, region, pos, length);
  if (access instanceof Refusal) return access;
  const { bar, range, parts } = access;
  const ret = range.end - pos;
  const data = new Uint8Array(ret).fill(0xff);
  for (const { start, end } of parts) readBar(core.fn, bar, start, data.subarray(start - pos, end - pos));
  return { ret, data };
}

function writeBarRegion(core: VfioPciCore, region: number, pos: number, data: Uint8Array): number | Refusal {
  const access = accessOf(core, region, pos, data.length);
  if (access instanceof Refusal) return access;
  const { bar, range, parts } = access;
  for (const { start, end } of parts) storeInto(core, bar, start, data.subarray(start - pos, end - pos));
  return range.end - pos;
}

/** What a program, or an eventfd of its, stores into a BAR that answers; the function may raise interrupts by that. */
export function storeInto(core: VfioPciCore, bar: BarSpec, start: number, bytes: Uint8Array): void {
  const raised = writeBar(core.fn, bar, start, bytes);
  core.irqs.barWritten(bar.index, start, bytes.length);
  for (let left = raised; left > 0; left--) raiseOwn(core);
}
