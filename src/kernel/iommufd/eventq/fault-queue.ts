/**
 * Page faults of devices (drivers/iommu/iommufd/eventq.c, drivers/iommu/io-pgfault.c): the request of a device goes to
 * the queue of the HWPT that it is on, is read there with a cookie, and answered by it. An attachment that ends answers
 * all its faults by itself.
 */
import { hex } from '../../../machine/address.ts';
import { type Refusal, refuse } from '../../errno.ts';
import type { IoctlOk, ReadOk, Written } from '../../file.ts';
import type { Process } from '../../process.ts';
import { POLL_EVENTS } from '../../uapi/bits.ts';
import type { PageResponse } from '../../uapi/calls.ts';
import type { ArgOf } from '../../uapi/index.ts';
import type { IommufdContext } from '../context.ts';
import type { GroupAttachment, IommufdDevice } from '../device/device.ts';
import { HwptNested } from '../hw-pagetable/nested.ts';
import { IommufdObject } from '../objects.ts';
import { ObjectFile, publish, READABLE } from './queue-file.ts';

/** A page request as the device makes it: the last page of its group. */
export interface PageRequest {
  pasid: number;
  grpid: number;
  perm: number;
  addr: bigint;
}

export interface Fault {
  attachment: GroupAttachment;
  request: PageRequest;
}

const PASID_VALID = 1;
const LAST_PAGE = 2;
/** struct iommu_hwpt_pgfault and struct iommu_hwpt_page_response. */
const FAULT_BYTES = 40n;
const RESPONSE_BYTES = 8n;

export class FaultQueue extends IommufdObject {
  readonly type = 'fault';
  private _unread: Fault[] = [];
  /** Faults that were read and are not answered yet, by cookie. */
  private readonly _read = new Map<number, Fault>();
  private _lowestFreeCookie = 1;

  /** Faults that are not answered yet. */
  *waiting(): Generator<Fault> {
    yield* this._unread;
    yield* this._read.values();
  }

  /** Cookies of faults that were read and are not answered yet. */
  get cookies(): Iterable<number> {
    return this._read.keys();
  }

  /** No cookie below this one is free. */
  get lowestFreeCookie(): number {
    return this._lowestFreeCookie;
  }

  /** Whether a read finds something. */
  get readable(): boolean {
    return this._unread.length > 0;
  }

  deliver(fault: Fault): void {
    this._unread.push(fault);
  }

  /** iommufd_auto_response_faults: an attachment has ended, and with it all its faults. */
  forget(attachment: GroupAttachment): void {
    this._unread = this._unread.filter((fault) => fault.attachment !== attachment);
    for (const [cookie, fault] of this._read) if (fault.attachment === attachment) this._take(cookie);
  }

  /** iommufd_fault_fops_read. ESPIPE length, EINVAL no room for the fault that waits; 0 bytes if none waits. */
  read(length: bigint): ReadOk | Refusal {
    const where = 'iommufd_fault_fops_read';
    if (length % FAULT_BYTES) return refuse('ESPIPE', where, `the length is a multiple of ${FAULT_BYTES}`);
    const room = length / FAULT_BYTES;
    if (room === 0n && this._unread.length > 0) return refuse('EINVAL', where, 'no room for the fault that waits');
    const count = room < this._unread.length ? Number(room) : this._unread.length;
    if (count === 0) return { ret: 0 };
    const faults = this._unread.splice(0, count).map((fault) => encode(fault, this._giveCookie(fault)));
    return { ret: count * Number(FAULT_BYTES), faults };
  }

  /**
   * iommufd_fault_fops_write: returns the bytes of the responses before the first wrong one. If that is the first of all:
   * EFAULT missing, EINVAL code or cookie. ESPIPE length.
   */
  write(length: bigint, responses: readonly PageResponse[]): number | Refusal {
    const where = 'iommufd_fault_fops_write';
    if (length % RESPONSE_BYTES) return refuse('ESPIPE', where, `the length is a multiple of ${RESPONSE_BYTES}`);
    let done = 0;
    for (; BigInt(done) * RESPONSE_BYTES < length; done++) {
      const response = responses[done];
      const refusal = !response
        ? refuse('EFAULT', where, `the length says more than ${responses.length} responses`)
        : this._answer(where, response);
      if (refusal) return done > 0 ? done * Number(RESPONSE_BYTES) : refusal;
    }
    return done * Number(RESPONSE_BYTES);
  }

  destroy(): void {
    this._unread = [];
    this._read.clear();
  }

  private _answer(where: string, { cookie, code }: PageResponse): Refusal | null {
    if (code !== 0 && code !== 1) return refuse('EINVAL', where, 'the code is 0 (success) or 1 (invalid)');
    if (!this._read.has(cookie))
      return refuse('EINVAL', where, `no fault with cookie ${cookie} waits: it was answered, or its attachment ended`);
    this._take(cookie);
    return null;
  }

  private _giveCookie(fault: Fault): number {
    while (this._read.has(this._lowestFreeCookie)) this._lowestFreeCookie++;
    const cookie = this._lowestFreeCookie++;
    this._read.set(cookie, fault);
    return cookie;
  }

  private _take(cookie: number): void {
    this._read.delete(cookie);
    this._lowestFreeCookie = Math.min(this._lowestFreeCookie, cookie);
  }
}

function encode({ attachment, request }: Fault, cookie: number): Record<string, unknown> {
  const { pasid, grpid, perm, addr } = request;
  // Of a group that shares the attachment the kernel names the device that made it.
  const [device] = attachment.devices;
  const flags = LAST_PAGE | (pasid === 0 ? 0 : PASID_VALID);
  return { flags, dev_id: device!.id, pasid, grpid, perm, addr: hex(addr), length: 0, cookie };
}

export class FaultQueueFile extends ObjectFile {
  readonly kind = 'fault-queue';
  private readonly _queue: FaultQueue;

  constructor(context: IommufdContext, queue: FaultQueue) {
    super(context, queue);
    this._queue = queue;
  }
  link(): string {
    return 'anon_inode:[iommufd-pgfault]';
  }
  override read(length: bigint): ReadOk | Refusal {
    return this._queue.read(length);
  }
  override write({ length, responses }: Written): number | Refusal {
    return this._queue.write(length, responses);
  }
  /** Responses are always taken. */
  override poll(): number {
    return POLL_EVENTS.POLLOUT | (this._queue.readable ? READABLE : 0);
  }
}

/** IOMMU_FAULT_QUEUE_ALLOC. EOPNOTSUPP flags, ENOMEM, EMFILE. */
export function faultQueueAlloc(
  context: IommufdContext,
  arg: ArgOf<'IOMMU_FAULT_QUEUE_ALLOC'>,
  process: Process,
): IoctlOk | Refusal {
  const where = 'iommufd_fault_alloc';
  if (arg.flags) return refuse('EOPNOTSUPP', where, 'flags must be 0');
  const injected = context.kernel.faults.refusal('allocation', where);
  if (injected) return injected;
  const queue = new FaultQueue();
  const made = publish(context, process, queue, new FaultQueueFile(context, queue));
  return 'errno' in made ? made : { arg: { out_fault_id: made.id, out_fault_fd: made.fd } };
}

/**
 * iommu_report_device_fault: the request goes to the HWPT of the device, or of the PASID. A PASID that is on none belongs to
 * the guest where the device is on a nested HWPT. Without a queue the device is told that the page is not there.
 */
export function reportPageFault({ context, group }: IommufdDevice, request: PageRequest): void {
  const own = context.attachments.get(group);
  const attachment =
    request.pasid === 0
      ? own
      : (context.pasids.get(group, request.pasid) ?? (own?.hwpt instanceof HwptNested ? own : undefined));
  attachment?.hwpt.fault?.deliver({ attachment, request });
}
