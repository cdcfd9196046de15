/**
 * Which capability each byte of a configuration space belongs to, found once at open, and the copy of the registers that is
 * kept for the program (vfio_config_init, vfio_cap_init, vfio_ecap_init of drivers/vfio/pci/vfio_pci_config.c). What Linux
 * does not know it takes out of the chains.
 */
import { msiBytes } from '../../../machine/pci/capabilities.ts';
import type { ConfigSpace } from '../../../machine/pci/config-space.ts';
import type { PciFunction } from '../../../machine/pci/function.ts';
import {
  CAP,
  CAPABILITY_LIST,
  COMMAND,
  COMMAND_MEMORY,
  CONVENTIONAL_BYTES,
  DEVICE,
  EXPRESS_FLAGS,
  EXPRESS_ROOT_COMPLEX,
  EXPRESS_VERSION,
  EXT,
  HEADER_BYTES,
  INTERRUPT_PIN,
  MSI_64,
  MSI_FLAGS,
  MSI_MASKABLE,
  PM_CAPABILITIES,
  PM_CONTROL,
  read16,
  read32,
  STATUS,
  STATUS_CAPABILITIES,
  VENDOR,
  write16,
  write32,
} from '../../../machine/pci/registers.ts';
import { PM_PME, PM_PME_SUPPORT } from './config-perms.ts';

/** Bytes [start, end) of the header (id 0) or of capabilities with one id, which Linux cannot tell apart if they touch. */
export interface ConfigArea {
  start: number;
  end: number;
  id: number;
}

/** Id of the header, and of bytes that belong to nothing (PCI_CAP_ID_INVALID). */
export const HEADER = 0;
const NOTHING = 0xff;
const CAPABILITY_BYTES = 4;
const NEXT = 1;
/** Of the header of an extended capability: where the next one is. */
const EXTENDED_NEXT = 0xffc << 20;

/** pci_cap_length: of capabilities of one length. Those that have neither that nor a function below are hidden. */
const LENGTHS: ReadonlyMap<number, number> = new Map([
  [CAP.PM, 8],
  [CAP.AGP, 12],
  [CAP.VPD, 8],
  [CAP.MSIX, 12],
  [CAP.AF, 6],
]);

/** pci_ext_cap_length. */
const EXTENDED_LENGTHS: ReadonlyMap<number, number> = new Map([
  [EXT.AER, 0x2c],
  [EXT.SERIAL, 12],
  [EXT.POWER, 16],
  [EXT.ARI, 8],
  [EXT.ATS, 8],
  [EXT.SRIOV, 0x40],
  [EXT.MULTICAST, 0x30],
  [EXT.PRI, 16],
  [EXT.LTR, 8],
]);

/** vfio_cap_len; 0: hidden. */
function capabilityLength(config: ConfigSpace, id: number, at: number): number {
  switch (id) {
    case CAP.MSI: {
      const flags = config.read(at + MSI_FLAGS, 2);
      return msiBytes((flags & MSI_64) !== 0, (flags & MSI_MASKABLE) !== 0);
    }
    case CAP.PCIX:
      return (config.read(at + 2, 2) >> 12) & 3 ? 24 : 8;
    case CAP.VENDOR:
      return config.read(at + 2, 1);
    case CAP.EXPRESS: {
      const flags = config.read(at + EXPRESS_FLAGS, 2);
      const isInRoot = ((flags >> 4) & 0xf) === EXPRESS_ROOT_COMPLEX;
      if ((flags & EXPRESS_VERSION) === 1) return isInRoot ? 12 : 20;
      return 44;
    }
    case CAP.HT:
      return config.read(at + 3, 1) & 0xe0 ? 24 : 28;
    case CAP.SATA:
      return (config.read(at + 4, 1) & 0xf) === 0xf ? 16 : 8;
    default:
      return LENGTHS.get(id) ?? 0;
  }
}

/** vfio_ext_cap_len; 0: hidden. */
function extendedLength(config: ConfigSpace, id: number, at: number): number {
  switch (id) {
    case EXT.VENDOR:
    case EXT.DVSEC:
      return at + 4 < config.size ? config.read(at + 4, 4) >>> 20 : 0;
    case EXT.VC:
    case EXT.VC9:
    case EXT.MFVC:
      return vcLength(config, at);
    case EXT.ACS: {
      if ((config.read(at + 4, 1) & 0x20) === 0) return 8;
      const bits = config.read(at + 5, 1);
      return 8 + (bits === 0 ? 256 : Math.ceil(bits / 32) * 32) / 8;
    }
    case EXT.RESIZABLE_BAR:
      return 4 + (config.read(at + 8, 1) >> 5) * 8;
    case EXT.DPA:
      return 16 + (config.read(at + 4, 1) & 0x1f) + 1;
    case EXT.TPH: {
      const has = config.read(at + 4, 4);
      return (has & 0x600) === 0x200 ? 12 + ((has >>> 16) & 0x7ff) * 2 + 2 : 12;
    }
    default:
      return EXTENDED_LENGTHS.get(id) ?? 0;
  }
}

/** vfio_vc_cap_len: without the tables that only bridges have. */
function vcLength(config: ConfigSpace, at: number): number {
  const more = config.read(at + 4, 4) & 7;
  const arbitrates = config.read(at + 8, 4);
  const phases = arbitrates & 8 ? 128 : arbitrates & 4 ? 64 : arbitrates & 2 ? 32 : 0;
  const length = 0x10 + (1 + more) * 12;
  return phases === 0 ? length : Math.ceil(length / 16) * 16 + (phases * 4) / 8;
}

/** The map of a configuration space while it is made: an id for each of its bytes, and the copy. */
interface ByteMap {
  config: ConfigSpace;
  ids: Uint8Array;
  copy: Uint8Array;
}

/** Bytes of a capability: the copy begins as what hardware has. */
function take({ config, ids, copy }: ByteMap, at: number, length: number, id: number): void {
  const end = Math.min(at + length, config.size);
  ids.fill(id, at, end);
  for (let byte = at; byte < end; byte++) copy[byte] = config.read(byte, 1);
}

/** vfio_cap_init. Returns whether there can be extended capabilities. */
function takeCapabilities(map: ByteMap): boolean {
  const { config, copy } = map;
  if ((config.read(STATUS, 2) & STATUS_CAPABILITIES) === 0) return false;
  let previous = CAPABILITY_LIST;
  let [any, extended] = [false, false];
  let at = config.read(CAPABILITY_LIST, 1) & ~3;
  for (let left = (CONVENTIONAL_BYTES - HEADER_BYTES) / CAPABILITY_BYTES; at >= HEADER_BYTES && left > 0; left--) {
    const id = config.read(at, 1);
    const next = config.read(at + NEXT, 1);
    const length = capabilityLength(config, id, at);
    if (length === 0) copy[previous] = next;
    else {
      take(map, at, length, id);
      if (id === CAP.PM) forgetPme(copy, at);
      if (id === CAP.EXPRESS || (id === CAP.PCIX && length > 8))
        extended = config.size > CONVENTIONAL_BYTES && config.read(CONVENTIONAL_BYTES, 4) !== 0;
      previous = at + NEXT;
      any = true;
    }
    at = next & ~3;
  }
  if (!any) write16(copy, STATUS, read16(copy, STATUS) & ~STATUS_CAPABILITIES);
  return extended;
}

/** vfio_update_pm_vconfig_bytes: events of power management are the host's. */
function forgetPme(copy: Uint8Array, at: number): void {
  write16(copy, at + PM_CAPABILITIES, read16(copy, at + PM_CAPABILITIES) & ~PM_PME_SUPPORT);
  write16(copy, at + PM_CONTROL, read16(copy, at + PM_CONTROL) & ~PM_PME);
}

/** vfio_ecap_init: the first of the chain cannot be taken out and loses its name instead. */
function takeExtended(map: ByteMap): void {
  const { config, copy } = map;
  let previous = 0;
  let any = false;
  let at = CONVENTIONAL_BYTES;
  const most = (config.size - CONVENTIONAL_BYTES) / CAPABILITY_BYTES;
  for (let left = most; at >= CONVENTIONAL_BYTES && left > 0; left--) {
    const header = config.read(at, 4);
    const next = (header >>> 20) & 0xffc;
    const length = extendedLength(config, header & 0xffff, at);
    if (length === 0 && previous !== 0)
      write32(copy, previous, (read32(copy, previous) & ~EXTENDED_NEXT) | (next << 20));
    else {
      take(map, at, length || CAPABILITY_BYTES, header);
      if (length === 0) write32(copy, at, read32(copy, at) & EXTENDED_NEXT);
      else any = true;
      previous = at;
    }
    at = next;
  }
  if (!any) write32(copy, CONVENTIONAL_BYTES, 0);
}

/** The map as runs of bytes with one id; the header, and what is behind the first 256 bytes, are for themselves. */
function areasOf(ids: Uint8Array): ConfigArea[] {
  const areas: ConfigArea[] = [];
  for (const [at, id] of ids.entries()) {
    if (id === NOTHING) continue;
    const last = areas.at(-1);
    if (last?.end === at && last.id === id && at !== HEADER_BYTES && at !== CONVENTIONAL_BYTES) last.end++;
    else areas.push({ start: at, end: at + 1, id });
  }
  return areas;
}

/** The areas of a function's configuration space, ascending, and the copy of their bytes. */
export function mapConfig({ config, spec }: PciFunction): { areas: ConfigArea[]; copy: Uint8Array } {
  const ids = new Uint8Array(config.size).fill(NOTHING);
  const copy = new Uint8Array(config.size);
  const map: ByteMap = { config, ids, copy };
  take(map, 0, HEADER_BYTES, HEADER);
  if (spec.sriov === 'vf') {
    write16(copy, VENDOR, Number.parseInt(spec.vendor ?? 'ffff', 16));
    write16(copy, DEVICE, Number.parseInt(spec.device ?? 'ffff', 16));
    copy[INTERRUPT_PIN] = 0;
    write16(copy, COMMAND, read16(copy, COMMAND) | COMMAND_MEMORY);
  }
  if (takeCapabilities(map)) takeExtended(map);
  const areas = areasOf(ids);
  return { areas, copy: copy.slice(0, areas.at(-1)!.end) };
}
