/**
 * Where registers are in a configuration space, and what its bits mean (include/uapi/linux/pci_regs.h), with the few
 * functions that read and write little-endian words of bytes. What is behind the end of the bytes reads as 0.
 */

export const HEADER_BYTES = 0x40;
export const CONVENTIONAL_BYTES = 0x100;
export const EXPRESS_BYTES = 0x1000;

export const VENDOR = 0x00;
export const DEVICE = 0x02;
export const COMMAND = 0x04;
export const STATUS = 0x06;
export const REVISION = 0x08;
export const CLASS = 0x0a;
export const CACHE_LINE = 0x0c;
export const HEADER_TYPE = 0x0e;
export const BARS = 0x10;
export const SUBSYSTEM_VENDOR = 0x2c;
export const SUBSYSTEM_DEVICE = 0x2e;
export const ROM = 0x30;
export const CAPABILITY_LIST = 0x34;
export const INTERRUPT_LINE = 0x3c;
export const INTERRUPT_PIN = 0x3d;

export const COMMAND_IO = 0x1;
export const COMMAND_MEMORY = 0x2;
export const COMMAND_MASTER = 0x4;
export const COMMAND_SERR = 0x100;
export const COMMAND_INTX_DISABLE = 0x400;
export const STATUS_CAPABILITIES = 0x10;

export const BAR_IO = 0x1;
export const BAR_64 = 0x4;
export const BAR_PREFETCHABLE = 0x8;
/** Bits of a BAR that are no address. */
export const BAR_IO_FLAGS = 0x3;
export const BAR_MEMORY_FLAGS = 0xf;
export const ROM_ENABLE = 0x1;
export const ROM_FLAGS = 0x7ff;

/** Ids of capabilities. */
export const CAP = {
  PM: 0x01,
  AGP: 0x02,
  VPD: 0x03,
  MSI: 0x05,
  PCIX: 0x07,
  HT: 0x08,
  VENDOR: 0x09,
  EXPRESS: 0x10,
  MSIX: 0x11,
  SATA: 0x12,
  AF: 0x13,
} as const;

/** Ids of extended capabilities. */
export const EXT = {
  AER: 0x01,
  VC: 0x02,
  SERIAL: 0x03,
  POWER: 0x04,
  MFVC: 0x08,
  VC9: 0x09,
  VENDOR: 0x0b,
  ACS: 0x0d,
  ARI: 0x0e,
  ATS: 0x0f,
  SRIOV: 0x10,
  MULTICAST: 0x12,
  PRI: 0x13,
  RESIZABLE_BAR: 0x15,
  DPA: 0x16,
  TPH: 0x17,
  LTR: 0x18,
  PASID: 0x1b,
  DVSEC: 0x23,
} as const;

/** Within the power management capability. */
export const PM_CAPABILITIES = 2;
export const PM_CONTROL = 4;
export const PM_STATE = 0x3;
export const PM_D1 = 0x200;
export const PM_D2 = 0x400;
export const D3HOT = 3;

/** Within the MSI capability. */
export const MSI_FLAGS = 2;
export const MSI_ENABLE = 0x1;
export const MSI_VECTORS = 0xe;
export const MSI_ENABLED_VECTORS = 0x70;
export const MSI_64 = 0x80;
export const MSI_MASKABLE = 0x100;

/** Within the MSI-X capability. */
export const MSIX_FLAGS = 2;
export const MSIX_VECTORS = 0x7ff;
export const MSIX_MASK_ALL = 0x4000;
export const MSIX_ENABLE = 0x8000;

/** Within the PCI Express capability. */
export const EXPRESS_FLAGS = 2;
export const EXPRESS_VERSION = 0xf;
export const EXPRESS_DEVICE = 4;
export const EXPRESS_FLR = 0x10000000;
export const EXPRESS_CONTROL = 8;
export const EXPRESS_CONTROL_2 = 0x28;
/** Types of functions, in bits 4 to 7 of the flags. */
export const EXPRESS_ENDPOINT = 0;
export const EXPRESS_ROOT_PORT = 4;
export const EXPRESS_ROOT_COMPLEX = 9;

export const read8 = (bytes: Uint8Array, at: number): number => bytes[at] ?? 0;
export const read16 = (bytes: Uint8Array, at: number): number => read8(bytes, at) | (read8(bytes, at + 1) << 8);
export const read32 = (bytes: Uint8Array, at: number): number =>
  (read16(bytes, at) | (read16(bytes, at + 2) << 16)) >>> 0;

export function write16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
}

export function write32(bytes: Uint8Array, at: number, value: number): void {
  write16(bytes, at, value);
  write16(bytes, at + 2, value >>> 16);
}
