/** Vectors of MSI-X as hardware keeps them: masked or not, pending or not. A vector is below the number that there are. */
import { barOf, readBar, storeInBar } from './bar-memory.ts';
import type { PciFunction } from './function.ts';
import { msixOf, VECTOR_BYTES, VECTOR_CONTROL } from './msix.ts';

/** A bit of a BAR: of the byte at `offset`. */
interface Place {
  bar: number;
  offset: number;
  bit: number;
}

const controlOf = (fn: PciFunction, vector: number): Place => {
  const { tableBar, tableOffset } = msixOf(fn)!;
  return { bar: tableBar, offset: tableOffset + vector * VECTOR_BYTES + VECTOR_CONTROL, bit: 1 };
};

const pendingOf = (fn: PciFunction, vector: number): Place => {
  const { pbaBar, pbaOffset } = msixOf(fn)!;
  return { bar: pbaBar, offset: pbaOffset + (vector >> 3), bit: 1 << (vector & 7) };
};

function get(fn: PciFunction, { bar, offset, bit }: Place): boolean {
  const byte = new Uint8Array(1);
  readBar(fn, barOf(fn, bar)!, offset, byte);
  return (byte[0]! & bit) !== 0;
}

function set(fn: PciFunction, { bar, offset, bit }: Place, value: boolean): void {
  const byte = new Uint8Array(1);
  readBar(fn, barOf(fn, bar)!, offset, byte);
  storeInBar(fn, barOf(fn, bar)!, offset, byte.with(0, value ? byte[0]! | bit : byte[0]! & ~bit));
}

/** Bit 0 of its Vector Control: it sends nothing, and what it would have sent is pending. All are, after a reset. */
export const isVectorMasked = (fn: PciFunction, vector: number): boolean => get(fn, controlOf(fn, vector));
export const maskVector = (fn: PciFunction, vector: number, masked: boolean): void =>
  set(fn, controlOf(fn, vector), masked);

/** Its bit in the pending bit array, which software can only read. */
export const isVectorPending = (fn: PciFunction, vector: number): boolean => get(fn, pendingOf(fn, vector));
export const setVectorPending = (fn: PciFunction, vector: number, pending: boolean): void =>
  set(fn, pendingOf(fn, vector), pending);

/** What it writes, of 32 bits, and where, to raise its interrupt: all zeros while nobody has given it a message. */
export function writeMessage(fn: PciFunction, vector: number, address: bigint, data: number): void {
  const { tableBar, tableOffset } = msixOf(fn)!;
  const message = new Uint8Array(VECTOR_CONTROL);
  const words = new DataView(message.buffer);
  words.setBigUint64(0, address, true);
  words.setUint32(8, data, true);
  storeInBar(fn, barOf(fn, tableBar)!, tableOffset + vector * VECTOR_BYTES, message);
}
