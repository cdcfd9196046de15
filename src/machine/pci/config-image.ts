/**
 * The bytes of a configuration space as hardware has them after its boot, made from what its description says: header,
 * base address registers, and the chains of capabilities. A description with an image has its bytes.
 */
import type { CapabilitySpec, ConfigSpec, FunctionSpec } from '../spec.ts';
import { EXPRESS_1_BYTES, EXPRESS_2_BYTES } from './capabilities.ts';
import {
  BAR_64,
  BAR_IO,
  BAR_PREFETCHABLE,
  BARS,
  CAP,
  CAPABILITY_LIST,
  CLASS,
  COMMAND,
  COMMAND_IO,
  COMMAND_MEMORY,
  COMMAND_SERR,
  CONVENTIONAL_BYTES,
  DEVICE,
  EXPRESS_ENDPOINT,
  EXPRESS_FLR,
  EXPRESS_ROOT_COMPLEX,
  EXPRESS_ROOT_PORT,
  EXT,
  HEADER_TYPE,
  INTERRUPT_PIN,
  MSI_64,
  MSI_MASKABLE,
  REVISION,
  ROM,
  STATUS,
  STATUS_CAPABILITIES,
  SUBSYSTEM_DEVICE,
  SUBSYSTEM_VENDOR,
  VENDOR,
  write16,
  write32,
} from './registers.ts';

/** What of a function is in its configuration space besides `ConfigSpec`. */
export type Described = Pick<FunctionSpec, 'bdf' | 'vendor' | 'device' | 'class' | 'sriov' | 'reset'>;

/** Room for an extended capability whose last bytes nobody says. */
const EXTENDED_ROOM = 0x50;
const NO_ID = 'ffff';
/** Class and subclass of what is in no class. */
const NO_CLASS = 'ff00';
const BRIDGES: readonly string[] = ['0604', '0607', '0609'];

const number = (digits: string): number => Number.parseInt(digits, 16);

/** Whether a function is a bridge, whose header is of type 1 and has two base address registers. */
export const isBridge = (code: string | null): boolean => code !== null && BRIDGES.includes(code);

/** The bytes; zeros at the end are left out, but for the first 256. */
export function imageOf(fn: Described, config: ConfigSpec): Uint8Array {
  if (config.image !== undefined) return padded(Uint8Array.fromBase64(config.image));
  const { capabilities, extendedCapabilities } = config;
  const last = Math.max(CONVENTIONAL_BYTES, ...extendedCapabilities.map(({ offset }) => offset + EXTENDED_ROOM));
  const bytes = new Uint8Array(Math.min(config.size, last));
  writeHeader(bytes, fn, config);
  for (const [index, capability] of capabilities.entries()) {
    const { offset, id } = capability;
    bytes[offset] = id;
    bytes[offset + 1] = capabilities[index + 1]?.offset ?? 0;
    writeCapability(bytes, fn, capability, roomOf(capabilities, offset));
  }
  for (const [index, { offset, id, version }] of extendedCapabilities.entries()) {
    const next = extendedCapabilities[index + 1]?.offset ?? 0;
    write32(bytes, offset, id | (version << 16) | (next << 20));
    writeExtended(bytes, fn, offset, id);
  }
  return bytes;
}

function padded(bytes: Uint8Array): Uint8Array {
  if (bytes.length >= CONVENTIONAL_BYTES) return bytes;
  const whole = new Uint8Array(CONVENTIONAL_BYTES);
  whole.set(bytes);
  return whole;
}

/** Bytes from a capability to the next one behind it, or to the end of the first 256. */
function roomOf(capabilities: readonly Pick<CapabilitySpec, 'offset'>[], offset: number): number {
  const behind = capabilities.map((other) => other.offset).filter((other) => other > offset);
  return Math.min(CONVENTIONAL_BYTES, ...behind) - offset;
}

function writeHeader(bytes: Uint8Array, fn: Described, config: ConfigSpec): void {
  const isVirtual = fn.sriov === 'vf';
  // A virtual function has neither ids nor a command register of its own for memory and ports.
  write16(bytes, VENDOR, number(isVirtual ? NO_ID : (fn.vendor ?? NO_ID)));
  write16(bytes, DEVICE, number(isVirtual ? NO_ID : (fn.device ?? NO_ID)));
  write16(bytes, COMMAND, isVirtual ? 0 : COMMAND_IO | COMMAND_MEMORY | COMMAND_SERR);
  write16(bytes, STATUS, config.capabilities.length > 0 ? STATUS_CAPABILITIES : 0);
  bytes[REVISION] = config.revision;
  bytes[REVISION + 1] = config.progIf;
  write16(bytes, CLASS, number(fn.class ?? NO_CLASS));
  bytes[HEADER_TYPE] = isBridge(fn.class) ? 1 : 0;
  bytes[CAPABILITY_LIST] = config.capabilities[0]?.offset ?? 0;
  bytes[INTERRUPT_PIN] = isVirtual ? 0 : config.interruptPin;
  if (isBridge(fn.class)) return;
  write16(bytes, SUBSYSTEM_VENDOR, number(config.subsystemVendor));
  write16(bytes, SUBSYSTEM_DEVICE, number(config.subsystemDevice));
  // Those of virtual functions are in the capability of the physical one.
  if (!isVirtual) for (const bar of config.bars) writeBar(bytes, bar);
}

function writeBar(bytes: Uint8Array, { index, kind, prefetchable, address }: ConfigSpec['bars'][number]): void {
  const value = BigInt(address);
  const at = kind === 'rom' ? ROM : BARS + 4 * index;
  const flags = kind === 'io' ? BAR_IO : (kind === 'mem64' ? BAR_64 : 0) | (prefetchable ? BAR_PREFETCHABLE : 0);
  write32(bytes, at, Number(value & 0xffffffffn) | (kind === 'rom' ? 0 : flags));
  if (kind === 'mem64') write32(bytes, at + 4, Number(value >> 32n));
}

/** What stands behind the id and the pointer to the next capability. */
function writeCapability(bytes: Uint8Array, fn: Described, capability: CapabilitySpec, room: number): void {
  const { offset, id, data } = capability;
  if (id === CAP.PM) {
    // Version 1.2, without a soft reset between D3hot and D0.
    write16(bytes, offset + 2, 3);
    write16(bytes, offset + 4, 0x8);
  } else if (id === CAP.MSI) {
    const { msiVectors = 1, address64 = true, maskable = false } = capability;
    const vectors = Math.log2(msiVectors) << 1;
    write16(bytes, offset + 2, vectors | (address64 ? MSI_64 : 0) | (maskable ? MSI_MASKABLE : 0));
  } else if (id === CAP.MSIX) {
    const { msixVectors = 1, tableBar = 0, tableOffset = 0, pbaBar = 0, pbaOffset = 0 } = capability;
    write16(bytes, offset + 2, msixVectors - 1);
    write32(bytes, offset + 4, tableOffset | tableBar);
    write32(bytes, offset + 8, pbaOffset | pbaBar);
  } else if (id === CAP.EXPRESS) writeExpress(bytes, fn, offset, room);
  else if (id === CAP.VENDOR) bytes[offset + 2] = Math.min(room, VENDOR_BYTES);
  if (data !== undefined) bytes.set(Uint8Array.fromBase64(data).subarray(0, room - 2), offset + 2);
}

/** Of a capability of a vendor that says nothing of itself. */
const VENDOR_BYTES = 16;

/** The PCI Express capability: of version 2 if there is room, with a link unless the function is within the root complex. */
function writeExpress(bytes: Uint8Array, { bdf, class: code, reset }: Described, offset: number, room: number): void {
  const isLinked = !bdf.includes(':00:');
  const type = isBridge(code) ? EXPRESS_ROOT_PORT : isLinked ? EXPRESS_ENDPOINT : EXPRESS_ROOT_COMPLEX;
  const version = room >= EXPRESS_2_BYTES ? 2 : 1;
  write16(bytes, offset + 2, version | (type << 4));
  // Errors are reported by their role.
  write32(bytes, offset + 4, 0x8000 | (reset ? EXPRESS_FLR : 0));
  // Four lanes of 8 GT/s, in L0s at times.
  if (isLinked && room >= EXPRESS_1_BYTES) {
    write32(bytes, offset + 0xc, 0x443);
    write16(bytes, offset + 0x12, 0x43);
  }
  if (version === 2) write32(bytes, offset + 0x24, 0x300000);
}

function writeExtended(bytes: Uint8Array, { bdf }: Described, offset: number, id: number): void {
  if (id === EXT.AER) {
    // Which errors are fatal, which are not told, and that checksums can be made and checked.
    write32(bytes, offset + 0xc, 0x462030);
    write32(bytes, offset + 0x14, 0xe000);
    write32(bytes, offset + 0x18, 0xa0);
  } else if (id === EXT.SERIAL) {
    const [domain, bus, slot] = bdf.split(':') as [string, string, string];
    write32(bytes, offset + 4, number(bus + slot.replace('.', '0')));
    write32(bytes, offset + 8, number(domain));
  }
}
