/** The expansion ROM of a function: a header by which firmware knows it, and nothing to run. */
import type { FunctionSpec } from '../spec.ts';

const ROM_BLOCK = 512;
/** The most that images of devices have; what of the BAR is behind it reads as ones. */
const MOST_BLOCKS = 128;
const DATA_STRUCTURE = 0x1c;
const UNKNOWN_ID = 'ffff';

/** Bytes of the image in a BAR of `size` bytes. */
export const romLength = (size: number): number => Math.min(size, MOST_BLOCKS * ROM_BLOCK);

/** Copies the ROM out from byte `offset` on; `length` as `romLength`. */
export function readRom(spec: FunctionSpec, length: number, offset: number, bytes: Uint8Array): void {
  const header = headerOf(spec, Math.ceil(length / ROM_BLOCK));
  bytes.fill(0xff);
  bytes.fill(0, 0, Math.max(0, length - offset));
  if (offset < header.length) bytes.set(header.subarray(offset, offset + bytes.length));
}

/** PCI Firmware Specification, "PCI Expansion ROM Header Format" and "PCI Data Structure Format". */
function headerOf({ vendor, device, class: code }: FunctionSpec, blocks: number): Uint8Array {
  const header = new Uint8Array(DATA_STRUCTURE + 0x18);
  const view = new DataView(header.buffer);
  // Its entry point returns at once.
  header.set([0x55, 0xaa, blocks, 0xcb]);
  view.setUint16(0x18, DATA_STRUCTURE, true);
  header.set([0x50, 0x43, 0x49, 0x52], DATA_STRUCTURE); // PCIR
  view.setUint16(DATA_STRUCTURE + 4, Number.parseInt(vendor ?? UNKNOWN_ID, 16), true);
  view.setUint16(DATA_STRUCTURE + 6, Number.parseInt(device ?? UNKNOWN_ID, 16), true);
  view.setUint16(DATA_STRUCTURE + 0xa, 0x18, true);
  view.setUint16(DATA_STRUCTURE + 0xe, Number.parseInt(code ?? UNKNOWN_ID, 16), true);
  view.setUint16(DATA_STRUCTURE + 0x10, blocks, true);
  // The last image.
  header[DATA_STRUCTURE + 0x15] = 0x80;
  // All bytes of an image add up to 0.
  header[6] = -header.reduce((sum, byte) => sum + byte, 0);
  return header;
}
