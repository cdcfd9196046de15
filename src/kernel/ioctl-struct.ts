/** The struct of an ioctl, however it is given, and the checks of its size (copy_struct_from_user). */
import { type Refusal, refuse } from './errno.ts';
import type { Arg } from './file.ts';
import type { RequestDescriptor } from './uapi/index.ts';

/** What a struct says: its fields, and its size in bytes. */
export interface Given {
  readonly arg: Arg;
  readonly size: number;
}

export interface StructSource {
  /** EFAULT: not even the size can be read. */
  sizeMissing(request: RequestDescriptor): Refusal | null;
  /** Reads the struct. EFAULT, EINVAL size, E2BIG. */
  read(request: RequestDescriptor): Given | Refusal;
  /** Writes what a handler wrote; `done`: it has not refused. EFAULT. */
  write(request: RequestDescriptor, given: Given, out: Record<string, unknown>, done: boolean): Refusal | null;
}

/** EINVAL: the struct is too small for a request that has one. */
export function checkLeast({ size: known, sizeField, minSize, name }: RequestDescriptor, size: number): Refusal | null {
  if (known === 0 || size >= minSize) return null;
  return refuse('EINVAL', 'copy_struct_from_user', `${sizeField} is ${size}, ${name} needs ${minSize}`);
}

/** E2BIG: behind what the kernel knows of a struct there is a byte that is not 0. */
export function checkTail({ size: known, tail }: RequestDescriptor, size: number, byte: number): Refusal | null {
  if (known === 0 || tail === 'ignored' || size <= known || byte === 0) return null;
  return refuse('E2BIG', 'copy_struct_from_user', `bytes behind the ${known} that this kernel knows are not zero`);
}
