/**
 * QEMU's `edu` (hw/misc/edu.c), a device for teaching: the one function here whose registers do something. They are words of
 * 32 bits at the beginning of its BAR 0; accesses of other sizes and places reach none of them.
 */
import type { PciFunction } from './function.ts';

/** What it is; a word whose complement is read; the interrupts that it has raised; raises them, and takes them back. */
const IDENTIFICATION = 0x00;
const LIVENESS = 0x04;
const INTERRUPTS = 0x24;
const RAISE = 0x60;
const ACKNOWLEDGE = 0x64;
const REGISTERS_END = 0x80;
const REGISTER_BYTES = 4;

export const EDU_BAR = 0;
const IDENTITY = 0x010000ed;

export const isEdu = ({ spec }: PciFunction): boolean => spec.vendor === '1234' && spec.device === '11e8';

/** Its registers after a reset. */
export function eduRegisters(bytes: Uint8Array): void {
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(IDENTIFICATION, IDENTITY, true);
}

/** What is stored in its BAR, by words. */
export interface Words {
  read(at: number): number;
  store(at: number, value: number): void;
}

/** Whether interrupts are raised that nobody has taken back: as long as they are it holds INTx. */
export const holdsInterrupts = (words: Words): boolean => words.read(INTERRUPTS) !== 0;

/** Software writes bytes to its registers, which end at `REGISTERS_END`. Returns how often it raises its interrupt by that. */
export function writeEdu(words: Words, offset: number, bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let raised = 0;
  for (let done = -offset & (REGISTER_BYTES - 1); done + REGISTER_BYTES <= bytes.length; done += REGISTER_BYTES)
    if (writeRegister(words, offset + done, view.getUint32(done, true))) raised++;
  return raised;
}

/** How many of `length` bytes from `offset` on are registers and no memory. */
export const eduBytes = (offset: number, length: number): number =>
  Math.min(Math.max(REGISTERS_END - offset, 0), length);

/** Returns whether it raises its interrupt. */
function writeRegister(words: Words, at: number, value: number): boolean {
  if (at === IDENTIFICATION || at === INTERRUPTS) return false;
  const interrupts = words.read(INTERRUPTS);
  if (at === RAISE) words.store(INTERRUPTS, interrupts | value);
  else if (at === ACKNOWLEDGE) words.store(INTERRUPTS, interrupts & ~value);
  else words.store(at, at === LIVENESS ? ~value : value);
  return at === RAISE && (interrupts | value) !== 0;
}
