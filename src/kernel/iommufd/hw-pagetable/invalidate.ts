/** IOMMU_HWPT_INVALIDATE: a guest drops what hardware has cached (drivers/iommu/iommufd/hw_pagetable.c). */
import { hex } from '../../../machine/address.ts';
import { type Refusal, refuse } from '../../errno.ts';
import type { IoctlOk } from '../../file.ts';
import type { ArgOf } from '../../uapi/index.ts';
import type { IommufdContext } from '../context.ts';
import { CACHE_ENTRIES, canNest, INVALIDATE_TYPE } from '../selftest/mock-driver.ts';
import { Viommu } from '../viommu/viommu.ts';
import { HwptNested } from './nested.ts';

interface Entries {
  type: number;
  length: number;
  count: number;
  data: Uint8Array;
}

interface Outcome {
  /** Entries done. */
  done: number;
  refusal: Refusal | null;
}

const MAX_ENTRIES = 2 ** 19;
const ALL = 1;
/** Bytes of an entry for a nested HWPT (flags, index), and for a vIOMMU (flags, number of the vDEVICE, index). */
const NESTED_BYTES = 8;
const VIOMMU_BYTES = 12;

const failed = (refusal: Refusal): Outcome => ({ done: 0, refusal });

/** IOMMU_HWPT_INVALIDATE: the checks of README.md. `entry_num` tells how many entries were done, on errors too. */
export function hwptInvalidate(context: IommufdContext, arg: ArgOf<'IOMMU_HWPT_INVALIDATE'>): IoctlOk | Refusal {
  const { done, refusal } = invalidate(context, arg);
  return refusal?.withArg({ entry_num: done }) ?? { arg: { entry_num: done } };
}

function invalidate(context: IommufdContext, arg: ArgOf<'IOMMU_HWPT_INVALIDATE'>): Outcome {
  const where = 'iommufd_hwpt_invalidate';
  const { entry_num: count, entry_len: length, hwpt_id: id, data } = arg;
  if (arg.__reserved) return failed(refuse('EOPNOTSUPP', where, '__reserved must be 0'));
  if (count > 0 && (!data || length === 0)) return failed(refuse('EINVAL', where, 'entries need data and a length'));
  if (count > MAX_ENTRIES) return failed(refuse('EINVAL', where, `at most ${MAX_ENTRIES} entries`));
  const target = context.objects.get(id);
  if (!target) return failed(refuse('ENOENT', where, `object ${id} of this iommufd is not there`));
  const entries = { type: arg.data_type, length, count, data: data ?? new Uint8Array() };
  if (target instanceof HwptNested) return invalidateNested(target, entries);
  if (target instanceof Viommu)
    return canNest(target.unit)
      ? invalidateViommu(target, entries)
      : failed(refuse('EOPNOTSUPP', where, 'the driver has nothing to invalidate'));
  return failed(refuse('EINVAL', where, `object ${id} is a ${target.type}, not a nested HWPT or a vIOMMU`));
}

/** mock_domain_cache_invalidate_user: entry by entry; each is exactly as long as the kernel knows it. */
function invalidateNested({ cache }: HwptNested, { type, length, count, data }: Entries): Outcome {
  const where = 'mock_domain_cache_invalidate_user';
  if (type !== INVALIDATE_TYPE) return failed(refuse('EINVAL', where, 'the driver knows no such data_type'));
  for (let done = 0; done < count; done++) {
    if (length !== NESTED_BYTES) return { done, refusal: refuse('EINVAL', where, `entry_len is ${NESTED_BYTES}`) };
    const at = done * length;
    if (at + length > data.length)
      return { done, refusal: refuse('EFAULT', where, 'the data ends before the last entry') };
    const [flags, index] = words(data, at, NESTED_BYTES) as [number, number];
    const refusal = checkEntry(where, flags, index);
    if (refusal) return { done, refusal };
    drop(cache, flags, index);
  }
  return { done: count, refusal: null };
}

/**
 * mock_viommu_cache_invalidate: all entries are copied first. A short one is completed with zeroes, a longer one must
 * end in zeroes.
 */
function invalidateViommu(viommu: Viommu, { type, length, count, data }: Entries): Outcome {
  const where = 'mock_viommu_cache_invalidate';
  if (type !== INVALIDATE_TYPE) return failed(refuse('EINVAL', where, 'the driver knows no such data_type'));
  if (count * length > data.length) return failed(refuse('EFAULT', where, 'the data ends before the last entry'));
  const copies: Uint8Array[] = [];
  for (let index = 0; index < count; index++) {
    const entry = data.subarray(index * length, (index + 1) * length);
    if (entry.subarray(VIOMMU_BYTES).some((byte) => byte !== 0))
      return failed(refuse('E2BIG', 'copy_struct_from_user', `bytes behind the first ${VIOMMU_BYTES} are not zero`));
    copies.push(entry);
  }
  for (const [done, copy] of copies.entries()) {
    const [flags, virtId, index] = words(copy, 0, VIOMMU_BYTES) as [number, number, number];
    const vdevice = viommu.vdevices.get(BigInt(virtId));
    const refusal =
      checkEntry(where, flags, index) ??
      (vdevice ? null : refuse('EINVAL', where, `no vDEVICE has number ${hex(virtId)}`));
    if (refusal) return { done, refusal };
    drop(vdevice!.device.cache, flags, index);
  }
  return { done: count, refusal: null };
}

/** The little-endian words of the first `bytes` bytes at a position; bytes that are not there are 0. */
function words(data: Uint8Array, at: number, bytes: number): number[] {
  const entry = new Uint8Array(bytes);
  entry.set(data.subarray(at, at + bytes));
  const view = new DataView(entry.buffer);
  return Array.from({ length: bytes / 4 }, (_, index) => view.getUint32(index * 4, true));
}

/** EOPNOTSUPP flags, EINVAL index, which is looked at even where the flag says all entries. */
function checkEntry(where: string, flags: number, index: number): Refusal | null {
  if (flags & ~ALL) return refuse('EOPNOTSUPP', where, 'unknown flag');
  return index < CACHE_ENTRIES ? null : refuse('EINVAL', where, `the cache has ${CACHE_ENTRIES} entries`);
}

function drop(cache: Uint32Array, flags: number, index: number): void {
  if (flags & ALL) cache.fill(0);
  else cache[index] = 0;
}
