/** /dev/null (drivers/char/mem.c), which serves as a descriptor of the wrong kind. */
import { type Refusal, refuse } from './errno.ts';
import { OpenFile, type ReadOk, type Written } from './file.ts';
import { TASK_SIZE } from './mm/address-space.ts';

/** What one read or write takes at the most, in bytes (MAX_RW_COUNT). */
const MAX_COUNT = 0x7ffff000;

/** EFAULT: such a buffer does not lie in the memory of any process (access_ok). */
const tooLong = (where: string, length: bigint): Refusal | null =>
  length > TASK_SIZE ? refuse('EFAULT', where, 'the buffer would reach beyond the user address space') : null;

export class NullFile extends OpenFile {
  readonly kind = 'null';
  link(): string {
    return '/dev/null';
  }
  release(): void {}
  override read(length: bigint): ReadOk | Refusal {
    return tooLong('vfs_read', length) ?? { ret: 0, data: new Uint8Array(0) };
  }
  override write({ length }: Written): number | Refusal {
    return tooLong('vfs_write', length) ?? Math.min(Number(length), MAX_COUNT);
  }
  override pread(_offset: bigint, length: number): ReadOk | Refusal {
    return this.read(BigInt(length));
  }
  override pwrite(_offset: bigint, data: Uint8Array): number {
    return data.length;
  }
  override seek(): bigint {
    return 0n;
  }
}
