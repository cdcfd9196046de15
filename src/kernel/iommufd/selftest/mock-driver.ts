/**
 * The driver of `generic` units: that of the kernel's mock IOMMU (drivers/iommu/iommufd/selftest.c, iommufd_test.h). It
 * is the only one here that nests; its numbers are what the tests of Linux use.
 */
import type { IommuUnit } from '../../../machine/iommu-unit.ts';
import { type Refusal, refuse } from '../../errno.ts';

/** Driver data of a HWPT: the first value of its cache, and the kind of page table. */
export const HWPT_DATA_TYPE = 0xdead;
export const HWPT_DATA_BYTES = { least: 4, most: 8 } as const;
export const VIOMMU_TYPE = 0xdeadbeef;
/** Driver data of a vIOMMU: a word, its copy, offset and length of the page that can be mapped. */
export const VIOMMU_DATA_BYTES = { least: 8, most: 24 } as const;
export const VEVENTQ_TYPE = 0xbeefbeef;
export const HW_QUEUE_TYPE = 0xdeadbeef;
export const HW_QUEUES = 2;
export const INVALIDATE_TYPE = 0xdeadbeef;

/** How many entries the cache of a nested HWPT has, and that of a device. */
export const CACHE_ENTRIES = 4;
const DEVICE_CACHE_VALUE = 0xbaddad;

export const hwptCache = (value: number): Uint32Array => new Uint32Array(CACHE_ENTRIES).fill(value);
export const deviceCache = (): Uint32Array => new Uint32Array(CACHE_ENTRIES).fill(DEVICE_CACHE_VALUE);

export function canNest({ kind, spec }: IommuUnit): boolean {
  return kind === 'generic' && spec.nesting;
}

/** What `data_uptr`, `data_len` and the type say; `bytes` null: the pointer is 0. */
export interface DriverData {
  type: number;
  length: number;
  bytes: Uint8Array | null;
}

export const NO_DATA: DriverData = { type: 0, length: 0, bytes: null };

/**
 * iommu_copy_struct_from_user. Down to the first version of the struct (`least` bytes) the tail reads as 0; unlike the
 * structs of ioctls it must not be longer than the kernel knows (`most`). EINVAL length, EFAULT data missing.
 */
export function readDriverData(
  where: string,
  { length, bytes }: DriverData,
  { least, most }: { least: number; most: number },
): DataView | Refusal {
  if (length < least || length > most)
    return refuse('EINVAL', where, `the driver data has ${length} bytes, the kernel knows ${least} to ${most}`);
  if (!bytes || bytes.length < length) return refuse('EFAULT', where, 'the driver data is not there');
  const struct = new Uint8Array(most);
  struct.set(bytes.subarray(0, length));
  return new DataView(struct.buffer);
}
