/**
 * Hardware queues of a vIOMMU (drivers/iommu/iommufd/viommu.c): hardware reads them in guest memory by physical
 * addresses, so that memory is contiguous, pinned, and cannot be unmapped.
 */
import { PAGE, UMAX } from '../../../machine/address.ts';
import { FRAME_SHIFT, type PhysicalMemory } from '../../../machine/memory.ts';
import { assert, Refusal, refuse } from '../../errno.ts';
import type { IoctlOk } from '../../file.ts';
import type { FrameSpan } from '../../mm/frame-map.ts';
import type { ArgOf } from '../../uapi/index.ts';
import type { IommufdContext } from '../context.ts';
import { Access } from '../device/access.ts';
import { IommufdObject } from '../objects.ts';
import { canNest, HW_QUEUE_TYPE, HW_QUEUES } from '../selftest/mock-driver.ts';
import { Viommu } from './viommu.ts';

/** INT_MAX bytes of pointers to pages: no kernel array is larger. */
const MAX_PAGES = 2n ** 31n / 8n - 1n;

export class HwQueue extends IommufdObject {
  readonly type = 'hw-queue';
  private readonly _viommu: Viommu;
  private readonly _access: Access;
  private readonly _previous: HwQueue | null;

  constructor(viommu: Viommu, access: Access, index: number) {
    super();
    this._viommu = viommu;
    this._access = access;
    this._previous = viommu.hwQueues[index - 1] ?? null;
    this._previous?.hold();
    viommu.hwQueues[index] = this;
    viommu.hold();
  }

  get viommu(): Viommu {
    return this._viommu;
  }

  /** The queue that has to be there as long as this one is. */
  get previous(): HwQueue | null {
    return this._previous;
  }

  destroy(): void {
    // The mock driver forgets to note the index: it always frees the first one.
    this._viommu.hwQueues[0] = null;
    this._previous?.drop();
    this._access.close();
    this._viommu.drop();
  }
}

/**
 * iommufd_hw_queue_alloc_ioctl. EOPNOTSUPP, EINVAL length 0, EOVERFLOW, ENOENT; then the memory (ERANGE, ENOMEM,
 * EADDRINUSE misaligned areas, ENOENT, EPERM, EFAULT not contiguous); then the driver (EINVAL, EEXIST, EIO).
 */
export function hwQueueAlloc(context: IommufdContext, arg: ArgOf<'IOMMU_HW_QUEUE_ALLOC'>): IoctlOk | Refusal {
  const where = 'iommufd_hw_queue_alloc_ioctl';
  const { type } = arg;
  const iova = arg.nesting_parent_iova;
  const { length } = arg;
  if (arg.flags || type === 0) return refuse('EOPNOTSUPP', where, 'flags must be 0, type must not');
  if (length === 0n) return refuse('EINVAL', where, 'length is 0');
  if (iova + length - 1n > UMAX) return refuse('EOVERFLOW', where, 'the queue reaches beyond 64 bits');
  const viommu = context.objects.lookup(arg.viommu_id, Viommu, 'a vIOMMU');
  if (!(viommu instanceof Viommu)) return viommu;
  if (!canNest(viommu.unit) || type !== HW_QUEUE_TYPE)
    return refuse('EOPNOTSUPP', where, 'the driver has no hardware queues of this type');
  const injected = context.kernel.faults.refusal('hw-queue.alloc', where);
  if (injected) return injected;
  const id = context.objects.reserve();
  const access = pinQueue(viommu, iova, length);
  const refusal = access instanceof Refusal ? access : checkIndex(viommu, arg.index);
  if (refusal) {
    if (access instanceof Access) access.close();
    context.objects.abort(id);
    return refusal;
  }
  assert(access instanceof Access, 'the memory of the queue is pinned');
  context.objects.commit(id, new HwQueue(viommu, access, arg.index));
  return { arg: { out_hw_queue_id: id } };
}

/** iommufd_hw_queue_alloc_phys: an access that locks the queue's memory. */
function pinQueue(viommu: Viommu, iova: bigint, length: bigint): Access | Refusal {
  const where = 'iommufd_hw_queue_alloc_phys';
  const { context, parent } = viommu;
  const offset = iova % PAGE;
  const bytes = ((offset + length + PAGE - 1n) / PAGE) * PAGE;
  if (bytes > UMAX) return refuse('ERANGE', where, 'length is too large');
  if (bytes / PAGE > MAX_PAGES) return refuse('ENOMEM', where, 'length is too large');
  const access = new Access(context, true, true);
  context.objects.commit(context.objects.reserve(), access);
  const { memory } = context.kernel.machine;
  const check = (frames: readonly FrameSpan[]): Refusal | null =>
    isContiguous(memory, frames) ? null : refuse('EFAULT', where, 'the memory is not contiguous');
  const pin = access.moveTo(parent.ioas!) ?? access.pin(iova - offset, bytes, false, check);
  if (!(pin instanceof Refusal)) return access;
  access.close();
  return pin;
}

/**
 * Whether frames are sure to be contiguous: within one page, small or huge. That two pages are neighbours here means
 * nothing.
 */
function isContiguous(memory: PhysicalMemory, spans: readonly FrameSpan[]): boolean {
  const { frame: first } = spans[0]!;
  const folio = 2 ** ((memory.runAt(first)?.folioShift ?? FRAME_SHIFT) - FRAME_SHIFT);
  let next = first;
  for (const { frame, count } of spans) {
    if (frame !== next) return false;
    next += count;
  }
  return Math.floor(first / folio) === Math.floor((next - 1) / folio);
}

/** mock_hw_queue_init_phys: EINVAL index, EEXIST, EIO the queue before it is not there. */
function checkIndex({ hwQueues }: Viommu, index: number): Refusal | null {
  const where = 'mock_hw_queue_init_phys';
  if (index >= HW_QUEUES) return refuse('EINVAL', where, `index is below ${HW_QUEUES}`);
  if (hwQueues[index]) return refuse('EEXIST', where, `queue ${index} is there`);
  if (index > 0 && !hwQueues[index - 1]) return refuse('EIO', where, `queue ${index - 1} is not there`);
  return null;
}
