/**
 * The capabilities that bytes of a configuration space say: where each is, and how many bytes of hardware it has. Bytes may
 * be anybody's: a chain that runs in a circle, or out of its room, ends.
 */
import type { CapabilitySpec, ExtendedCapabilitySpec } from '../spec.ts';
import {
  CAP,
  CAPABILITY_LIST,
  CONVENTIONAL_BYTES,
  EXPRESS_FLAGS,
  EXPRESS_VERSION,
  EXT,
  HEADER_BYTES,
  MSI_64,
  MSI_FLAGS,
  MSI_MASKABLE,
  read8,
  read16,
  read32,
  STATUS,
  STATUS_CAPABILITIES,
} from './registers.ts';

/** A capability, and the bytes that are its own. */
export interface Found {
  offset: number;
  id: number;
  length: number;
}

export interface FoundExtended extends Found {
  version: number;
}

/** Of conventional capabilities whose length is always the same; others are as long as they say, or 4. */
const LENGTHS: ReadonlyMap<number, number> = new Map([
  [CAP.PM, 8],
  [CAP.AGP, 12],
  [CAP.VPD, 8],
  [CAP.PCIX, 8],
  [CAP.MSIX, 12],
  [CAP.SATA, 8],
  [CAP.AF, 6],
]);

const EXTENDED_LENGTHS: ReadonlyMap<number, number> = new Map([
  [EXT.AER, 0x48],
  [EXT.SERIAL, 12],
  [EXT.POWER, 16],
  [EXT.ACS, 8],
  [EXT.ARI, 8],
  [EXT.ATS, 8],
  [EXT.SRIOV, 0x40],
  [EXT.MULTICAST, 0x30],
  [EXT.PRI, 16],
  [EXT.LTR, 8],
  [EXT.PASID, 8],
]);

/** The PCI Express capability: of version 1 without, and of version 2 with the second registers of each kind. */
export const EXPRESS_1_BYTES = 0x14;
export const EXPRESS_2_BYTES = 0x3c;

/** Bytes of an MSI capability: 10, 14, 20 or 24. */
export const msiBytes = (address64: boolean, maskable: boolean): number =>
  maskable ? (address64 ? 24 : 20) : address64 ? 14 : 10;

/** The bytes that a described capability has at least; more belong to it where there is room. */
export function leastBytes({ id, address64 = true, maskable = false, data }: CapabilitySpec): number {
  const said = data === undefined ? 0 : 2 + Uint8Array.fromBase64(data).length;
  const usual = id === CAP.MSI ? msiBytes(address64, maskable) : id === CAP.EXPRESS ? EXPRESS_1_BYTES : LENGTHS.get(id);
  return Math.max(4, said, usual ?? 0);
}

/** The same of an extended one. Of error reporting not all have the last registers. */
export const leastExtendedBytes = ({ id }: ExtendedCapabilitySpec): number =>
  id === EXT.AER ? 0x2c : (EXTENDED_LENGTHS.get(id) ?? 4);

/** How many bytes the capability at `offset` has. */
function lengthAt(bytes: Uint8Array, offset: number, id: number): number {
  if (id === CAP.MSI) {
    const flags = read16(bytes, offset + MSI_FLAGS);
    return msiBytes((flags & MSI_64) !== 0, (flags & MSI_MASKABLE) !== 0);
  }
  if (id === CAP.EXPRESS)
    return (read8(bytes, offset + EXPRESS_FLAGS) & EXPRESS_VERSION) > 1 ? EXPRESS_2_BYTES : EXPRESS_1_BYTES;
  if (id === CAP.VENDOR) return Math.max(3, read8(bytes, offset + 2));
  return LENGTHS.get(id) ?? 4;
}

/** The capabilities in the order of their chain; none where the status register says so. */
export function capabilitiesOf(bytes: Uint8Array): Found[] {
  if ((read16(bytes, STATUS) & STATUS_CAPABILITIES) === 0) return [];
  const found = new Map<number, Found>();
  for (let offset = read8(bytes, CAPABILITY_LIST) & 0xfc; offset >= HEADER_BYTES && !found.has(offset); ) {
    const id = read8(bytes, offset);
    const length = Math.min(lengthAt(bytes, offset, id), CONVENTIONAL_BYTES - offset);
    found.set(offset, { offset, id, length });
    offset = read8(bytes, offset + 1) & 0xfc;
  }
  return [...found.values()];
}

/** The extended capabilities of a space of `size` bytes, in the order of their chain. */
export function extendedCapabilitiesOf(bytes: Uint8Array, size: number): FoundExtended[] {
  const found = new Map<number, FoundExtended>();
  for (let offset = CONVENTIONAL_BYTES; offset >= CONVENTIONAL_BYTES && offset < size && !found.has(offset); ) {
    const header = read32(bytes, offset);
    if (header === 0) break;
    const id = header & 0xffff;
    const length = Math.min(EXTENDED_LENGTHS.get(id) ?? 4, size - offset);
    found.set(offset, { offset, id, length, version: (header >>> 16) & 0xf });
    offset = (header >>> 20) & 0xffc;
  }
  return [...found.values()];
}
