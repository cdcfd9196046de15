/** Memory of a device in an address space: no page of it has a frame of its own (VM_PFNMAP). */
import type { Refusal } from '../errno.ts';

/**
 * What a mapping of a device's file shows. Loads and stores of a process go to the device; it cannot be pinned for DMA, so
 * mapping it into an IOAS is EFAULT. Offsets are those of the file, in bytes.
 */
export interface DeviceMemory {
  /** Another mapping, or piece of one, shows it. What it takes to answer, such as the open file, stays meanwhile. */
  get(): void;
  /** A mapping, or piece of one, is gone. */
  put(): void;
  /** Touches the page at `offset`, a multiple of 4096 (vm_ops->fault). Refused by `fatal('SIGBUS', ...)`, as long as the device does not answer. */
  fault(offset: bigint): Refusal | null;
  /** The process loads `bytes.length` bytes, of pages that `fault` has just let pass. */
  read(offset: bigint, bytes: Uint8Array): void;
  /** The process stores these bytes, to pages that `fault` has just let pass. */
  write(offset: bigint, bytes: Uint8Array): void;
}
