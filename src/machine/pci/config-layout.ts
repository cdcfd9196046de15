/**
 * Which bits of a configuration space keep what is written: those that the registers of its header and capabilities
 * implement, and all of what belongs to none. They are those of emulated functions, which is what most can be compared with.
 */
import type { ConfigSpec } from '../spec.ts';
import { capabilitiesOf, EXPRESS_1_BYTES, extendedCapabilitiesOf, type Found } from './capabilities.ts';
import { type Described, imageOf, isBridge } from './config-image.ts';
import {
  BAR_IO_FLAGS,
  BAR_MEMORY_FLAGS,
  BARS,
  CACHE_LINE,
  CAP,
  COMMAND,
  COMMAND_INTX_DISABLE,
  COMMAND_IO,
  COMMAND_MASTER,
  COMMAND_MEMORY,
  COMMAND_SERR,
  EXPRESS_CONTROL,
  EXPRESS_CONTROL_2,
  EXT,
  HEADER_BYTES,
  INTERRUPT_LINE,
  MSI_64,
  MSI_ENABLE,
  MSI_ENABLED_VECTORS,
  MSI_FLAGS,
  MSI_MASKABLE,
  MSI_VECTORS,
  MSIX_ENABLE,
  MSIX_FLAGS,
  MSIX_MASK_ALL,
  PM_CAPABILITIES,
  PM_CONTROL,
  PM_STATE,
  ROM,
  ROM_ENABLE,
  ROM_FLAGS,
  read8,
  read16,
  write16,
  write32,
} from './registers.ts';

/** What hardware has after its boot, and what it makes of writes. Bytes behind the ends belong to no register. */
export interface Layout {
  bytes: Uint8Array;
  /** Bits that keep what is written. */
  kept: Uint8Array;
  capabilities: readonly Found[];
  extendedCapabilities: readonly Found[];
}

const VIRTIO = '1af4';
/** Of the capabilities of virtio: the type, and that of the one through which BARs are reached. */
const VIRTIO_TYPE = 3;
const VIRTIO_PCI_ACCESS = 5;

const PM_VERSION = 0x7;
const PM_DATA_SELECT = 0x1e00;
/** Reports of correctable, non-fatal and fatal errors and of unsupported requests. */
const EXPRESS_REPORTS = 0xf;
/** Prefixes of packets go from end to end. */
const EXPRESS_PREFIXES = 0x8000;
const UNCORRECTABLE = 0x3fff030;
const CORRECTABLE = 0xf1c1;
const AER_CHECKSUMS = 0x140;

export function layoutOf(fn: Described, config: ConfigSpec): Layout {
  const image = imageOf(fn, config);
  const extendedCapabilities = extendedCapabilitiesOf(image, config.size);
  const bytes = new Uint8Array(Math.max(image.length, ...extendedCapabilities.map(endOf)));
  bytes.set(image);
  const kept = new Uint8Array(bytes.length).fill(0xff, HEADER_BYTES);
  const capabilities = capabilitiesOf(bytes);
  keepHeader(kept, fn, config);
  for (const found of [...capabilities, ...extendedCapabilities]) kept.fill(0, found.offset, endOf(found));
  for (const found of capabilities) keepCapability(kept, bytes, fn, found);
  for (const { offset, id } of extendedCapabilities) if (id === EXT.AER) keepErrors(kept, offset);
  // A function is awake when it has booted, whatever it was when its bytes were read.
  for (const { offset, id } of capabilities) if (id === CAP.PM) bytes[offset + PM_CONTROL]! &= ~PM_STATE;
  return { bytes, kept, capabilities, extendedCapabilities };
}

const endOf = ({ offset, length }: Found): number => offset + length;

function keepErrors(kept: Uint8Array, offset: number): void {
  write32(kept, offset + 0xc, UNCORRECTABLE);
  write32(kept, offset + 0x14, CORRECTABLE);
  write32(kept, offset + 0x18, AER_CHECKSUMS);
}

function keepHeader(kept: Uint8Array, fn: Described, config: ConfigSpec): void {
  const isVirtual = fn.sriov === 'vf';
  const command = COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_SERR | COMMAND_INTX_DISABLE;
  write16(kept, COMMAND, isVirtual ? COMMAND_MASTER : command);
  kept[CACHE_LINE] = 0xff;
  kept[INTERRUPT_LINE] = 0xff;
  if (isVirtual || isBridge(fn.class)) return;
  for (const { index, kind, size } of config.bars) {
    const mask = ~(BigInt(size) - 1n);
    const low = Number(mask & 0xffffffffn);
    if (kind === 'rom') write32(kept, ROM, (low & ~ROM_FLAGS) | ROM_ENABLE);
    else write32(kept, BARS + 4 * index, low & ~(kind === 'io' ? BAR_IO_FLAGS : BAR_MEMORY_FLAGS));
    if (kind === 'mem64') write32(kept, BARS + 4 * index + 4, Number((mask >> 32n) & 0xffffffffn));
  }
}

function keepCapability(kept: Uint8Array, bytes: Uint8Array, fn: Described, { offset, id, length }: Found): void {
  if (id === CAP.PM) {
    // Functions of versions before 1.2 have a data register and choose what it shows.
    const selects = (read16(bytes, offset + PM_CAPABILITIES) & PM_VERSION) < 3;
    write16(kept, offset + PM_CONTROL, PM_STATE | (selects ? PM_DATA_SELECT : 0));
  } else if (id === CAP.MSI) keepMsi(kept, read16(bytes, offset + MSI_FLAGS), offset);
  else if (id === CAP.MSIX) write16(kept, offset + MSIX_FLAGS, MSIX_ENABLE | MSIX_MASK_ALL);
  else if (id === CAP.EXPRESS) {
    if (fn.vendor === VIRTIO) write16(kept, offset + EXPRESS_CONTROL, EXPRESS_REPORTS);
    if (length > EXPRESS_1_BYTES) write16(kept, offset + EXPRESS_CONTROL_2, EXPRESS_PREFIXES);
  } else if (id === CAP.VENDOR && fn.vendor === VIRTIO && read8(bytes, offset + VIRTIO_TYPE) === VIRTIO_PCI_ACCESS) {
    // Which bytes of which BAR, and these.
    kept[offset + 4] = 0xff;
    kept.fill(0xff, offset + 8, offset + length);
  }
}

function keepMsi(kept: Uint8Array, flags: number, offset: number): void {
  write16(kept, offset + MSI_FLAGS, MSI_ENABLE | MSI_ENABLED_VECTORS);
  write32(kept, offset + 4, 0xfffffffc);
  const data = offset + (flags & MSI_64 ? 0xc : 8);
  if (flags & MSI_64) write32(kept, offset + 8, 0xffffffff);
  write16(kept, data, 0xffff);
  const vectors = 1 << ((flags & MSI_VECTORS) >> 1);
  if (flags & MSI_MASKABLE) write32(kept, data + 4, 2 ** vectors - 1);
}
