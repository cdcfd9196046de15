/** The regions of a device (drivers/vfio/pci/vfio_pci_core.c): its BARs, its expansion ROM and its configuration space. */
import { PAGE } from '../../../machine/address.ts';
import { barOf, ROM_BAR } from '../../../machine/pci/bar-memory.ts';
import type { PciFunction } from '../../../machine/pci/function.ts';
import { msixOf } from '../../../machine/pci/msix.ts';
import type { BarSpec } from '../../../machine/spec.ts';
import { type Refusal, refuse } from '../../errno.ts';
import type { Arg, IoctlOk } from '../../file.ts';
import { REGION_INFO_FLAGS } from '../../uapi/bits.ts';
import type { ArgOf } from '../../uapi/index.ts';
import type { VfioPciCore } from './core.ts';

/** Bits 40 and up of an offset on the descriptor are the number of the region, the others the offset in it. */
const OFFSET_SHIFT = 40n;
const OFFSET_MASK = (1n << OFFSET_SHIFT) - 1n;

export const ROM_REGION = ROM_BAR;
export const CONFIG_REGION = 7;

/** The region that an offset on the descriptor is in (VFIO_PCI_OFFSET_TO_INDEX). */
export const regionOf = (offset: bigint): number => Number(offset >> OFFSET_SHIFT);
/** Bytes from the beginning of its region. */
export const positionOf = (offset: bigint): bigint => offset & OFFSET_MASK;

const {
  VFIO_REGION_INFO_FLAG_READ: READ,
  VFIO_REGION_INFO_FLAG_WRITE: WRITE,
  VFIO_REGION_INFO_FLAG_MMAP: MMAP,
  VFIO_REGION_INFO_FLAG_CAPS: CAPS,
} = REGION_INFO_FLAGS;
const STRUCT_BYTES = 32;
/** struct vfio_info_cap_header of VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, version 1, the last of its chain. */
const MSIX_MAPPABLE = [3, 0, 1, 0, 0, 0, 0, 0];

/**
 * GET_REGION_INFO (vfio_get_region_info, vfio_pci_ioctl_get_region_info). EINVAL: no such region, as is VGA's, which none
 * of the devices here has. If `argsz` has no room for the capabilities it is set to what would be enough.
 */
export function getRegionInfo(
  core: VfioPciCore,
  { argsz, index, cap_offset }: ArgOf<'VFIO_DEVICE_GET_REGION_INFO'>,
): IoctlOk | Refusal {
  const info = infoOf(core, index);
  if (!info)
    return refuse(
      'EINVAL',
      'vfio_pci_ioctl_get_region_info',
      `${core.fn.bdf} has no region ${index}: there are 0 to 7`,
    );
  const { flags, size, msix } = info;
  // Without capabilities Linux copies back the word that it was given.
  const arg: Arg = { flags, cap_offset, size, offset: BigInt(index) << OFFSET_SHIFT };
  if (msix) {
    arg.flags = flags | CAPS;
    const fits = argsz >= STRUCT_BYTES + MSIX_MAPPABLE.length;
    arg.cap_offset = fits ? STRUCT_BYTES : 0;
    if (fits) arg.data = Uint8Array.from(MSIX_MAPPABLE);
    else arg.argsz = STRUCT_BYTES + MSIX_MAPPABLE.length;
  }
  return { arg };
}

interface Info {
  flags: number;
  size: bigint;
  /** It holds the table of MSI-X and can be mapped with it. */
  msix?: boolean;
}

const NOTHING: Info = { flags: 0, size: 0n };

function infoOf(core: VfioPciCore, index: number): Info | null {
  const { fn } = core;
  if (index > CONFIG_REGION) return null;
  if (index === CONFIG_REGION) return { flags: READ | WRITE, size: BigInt(fn.config.size) };
  const bar = barOf(fn, index);
  if (!bar) return NOTHING;
  const size = BigInt(bar.size);
  if (index === ROM_REGION) return isPlaced(bar) && core.romAnswers ? { flags: READ, size } : NOTHING;
  if (!canBeMapped(core, bar)) return { flags: READ | WRITE, size };
  return { flags: READ | WRITE | MMAP, size, msix: msixOf(fn)?.tableBar === index };
}

/** Whether the host has given it an address (pci_resource_start). */
export const isPlaced = (bar: BarSpec): boolean => BigInt(bar.address) !== 0n;

/**
 * vfio_pci_probe_mmaps: memory of a page and more; of less, if it begins on a page and nothing else is in that page, which
 * the user would see then.
 */
export function canBeMapped({ kernel }: VfioPciCore, bar: BarSpec): boolean {
  if (bar.kind === 'io' || bar.index === ROM_REGION) return false;
  if (BigInt(bar.size) >= PAGE) return true;
  const start = BigInt(bar.address);
  const end = start + BigInt(bar.size);
  return start % PAGE === 0n && !isTaken(kernel.machine.functions.values(), end, start + PAGE);
}

/** Whether memory of a BAR lies in [start, end). Where nobody has said where BARs are, they are out of each other's way. */
function isTaken(functions: Iterable<PciFunction>, start: bigint, end: bigint): boolean {
  for (const { spec } of functions)
    for (const { kind, address, size } of spec.config?.bars ?? [])
      if (kind !== 'io' && BigInt(address) < end && BigInt(address) + BigInt(size) > start) return true;
  return false;
}
