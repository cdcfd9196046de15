/**
 * Which bits of the registers a program may write, and which of them are not hardware's but a copy that is kept for it
 * (struct perm_bits, drivers/vfio/pci/vfio_pci_config.c). Registers that no table names can be read, and nothing else.
 */

import { msiBytes } from '../../../machine/pci/capabilities.ts';
import {
  BARS,
  CACHE_LINE,
  CAPABILITY_LIST,
  COMMAND,
  COMMAND_INTX_DISABLE,
  DEVICE,
  EXPRESS_CONTROL,
  EXPRESS_CONTROL_2,
  HEADER_BYTES,
  INTERRUPT_LINE,
  INTERRUPT_PIN,
  MSI_64,
  MSI_FLAGS,
  MSI_MASKABLE,
  PM_CAPABILITIES,
  PM_CONTROL,
  PM_STATE,
  ROM,
  STATUS,
  STATUS_CAPABILITIES,
  VENDOR,
  write16,
  write32,
} from '../../../machine/pci/registers.ts';

export interface Perms {
  /** Bits that are the program's copy. */
  virt: Uint8Array;
  /** Bits that may be written. */
  write: Uint8Array;
}

const LATENCY = 0x0d;
const BIST = 0x0f;
const NEXT = 1;
const ALL = 0xffffffff;

export const PM_PME_SUPPORT = 0xf800;
export const PM_PME = 0x8100;
export const EXPRESS_CONTROL_FLR = 0x8000;
export const AF_CAPABILITIES = 3;
/** A reset of the function, and that it can be told whether its transactions are done. */
export const AF_FLR = 0x3;
export const AF_CONTROL = 4;
export const AF_CONTROL_FLR = 0x1;
const EXPRESS_PAYLOAD = 0xe0;
const EXPRESS_READ_REQUEST = 0x7000;
const EXPRESS_PHANTOM = 0x200;
const EXPRESS_ARI = 0x20;
/** Errors of AER that a program may mask, judge and clear. */
const UNCORRECTABLE = 0x3fff031;
const CORRECTABLE = 0xf1c1;
const AER_CHECKSUMS = 0x140;

/** A table of `size` bytes, rounded up to words of four, filled by `rows`: offset, bytes, the copy's bits, writable bits. */
function perms(size: number, rows: readonly (readonly [number, 1 | 2 | 4, number, number])[]): Perms {
  const bytes = Math.ceil(size / 4) * 4;
  const table: Perms = { virt: new Uint8Array(bytes), write: new Uint8Array(bytes) };
  for (const [at, width, virt, write] of rows)
    for (const [array, value] of [
      [table.virt, virt],
      [table.write, write],
    ] as const) {
      if (width === 4) write32(array, at, value);
      else if (width === 2) write16(array, at, value);
      else array[at] = value;
    }
  return table;
}

/** init_pci_cap_basic_perm. */
export const HEADER_PERMS: Perms = perms(HEADER_BYTES, [
  [VENDOR, 2, ALL, 0],
  [DEVICE, 2, ALL, 0],
  [COMMAND, 2, COMMAND_INTX_DISABLE, ALL],
  [STATUS, 2, STATUS_CAPABILITIES, 0],
  [CACHE_LINE, 1, 0, ALL],
  [LATENCY, 1, 0, ALL],
  [BIST, 1, 0, ALL],
  ...[0, 1, 2, 3, 4, 5].map((index) => [BARS + 4 * index, 4, ALL, ALL] as const),
  [ROM, 4, ALL, ALL],
  [CAPABILITY_LIST, 1, ALL, 0],
  [INTERRUPT_LINE, 1, ALL, ALL],
  [INTERRUPT_PIN, 1, ALL, 0],
]);

/** init_pci_cap_pm_perm: the state is changed by Linux, not by the write. */
export const PM_PERMS: Perms = perms(8, [
  [NEXT, 1, ALL, 0],
  [PM_CAPABILITIES, 2, PM_PME_SUPPORT, 0],
  [PM_CONTROL, 4, PM_PME, ~(PM_PME | PM_STATE)],
]);

/** init_pci_cap_vpd_perm. */
export const VPD_PERMS: Perms = perms(8, [
  [NEXT, 1, ALL, 0],
  [2, 2, ALL, ALL],
  [4, 4, ALL, ALL],
]);

/** init_pci_cap_pcix_perm. */
export const PCIX_PERMS: Perms = perms(24, [
  [NEXT, 1, ALL, 0],
  [2, 2, 0, ALL],
  [8, 4, 0, ALL],
]);

/** init_pci_cap_exp_perm. */
export const EXPRESS_PERMS: Perms = perms(0x3c, [
  [NEXT, 1, ALL, 0],
  [EXPRESS_CONTROL, 2, EXPRESS_CONTROL_FLR | EXPRESS_PAYLOAD | EXPRESS_READ_REQUEST, ~EXPRESS_PHANTOM],
  [EXPRESS_CONTROL_2, 2, 0, ~EXPRESS_ARI],
]);

/** init_pci_cap_af_perm. */
export const AF_PERMS: Perms = perms(6, [
  [NEXT, 1, ALL, 0],
  [AF_CONTROL, 1, AF_CONTROL_FLR, AF_CONTROL_FLR],
]);

/** init_pci_ext_cap_err_perm. */
export const AER_PERMS: Perms = perms(0x2c, [
  [0, 4, ALL, 0],
  [0x04, 4, 0, UNCORRECTABLE],
  [0x08, 4, 0, UNCORRECTABLE],
  [0x0c, 4, 0, UNCORRECTABLE],
  [0x10, 4, 0, CORRECTABLE],
  [0x14, 4, 0, CORRECTABLE],
  [0x18, 4, 0, AER_CHECKSUMS],
]);

/** init_pci_ext_cap_pwr_perm. */
export const POWER_PERMS: Perms = perms(16, [
  [0, 4, ALL, 0],
  [8, 1, 0, ALL],
]);

/** init_pci_cap_msi_perm: by what the flags of the capability say, of which the low byte is the program's own. */
export function msiPerms(flags: number): Perms {
  const has64 = (flags & MSI_64) !== 0;
  const maskable = (flags & MSI_MASKABLE) !== 0;
  const data = has64 ? 0xc : 8;
  return perms(msiBytes(has64, maskable), [
    [NEXT, 1, ALL, 0],
    [MSI_FLAGS, 1, ALL, ALL],
    [4, 4, ALL, ALL],
    ...(has64 ? [[8, 4, ALL, ALL] as const] : []),
    [data, 2, ALL, ALL],
    // Mask and pending bits.
    ...(maskable ? [[data + 4, 4, 0, ALL] as const, [data + 8, 4, 0, ALL] as const] : []),
  ]);
}
