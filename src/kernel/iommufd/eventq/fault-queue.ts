/**
 * Page faults of devices (drivers/iommu/iommufd/eventq.c, drivers/iommu/io-pgfault.c): the request of a device goes to
 * the queue of the HWPT that it is on, is read there with a cookie, and answered by it. An attachment that ends answers
 * all its faults by itself.
 */
import { hex } from '../../../machine/address.ts';
import { type Refusal, refuse } from '../../errno.ts';
import type { IoctlOk, ReadOk, Written } from '../../file.ts';
import type { Process } from '../../process.ts';
import { TakenNumbers } from '../../taken-numbers.ts';
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
  /** What can be found again; see `src/host/state`. */
  static readonly caches = { _taken: () => null, _of: () => null };

  readonly type = 'fault';
  /** By the number of faults before each. */
  private readonly _unread = new Map<number, Fault>();
  /** The number of the fault that is read next, unless it is gone, and that of the next one to come. */
  private _first = 0;
  private _next = 0;
  /** Faults that were read and are not answered yet, by cookie. */
  private readonly _read = new Map<number, Fault>();
  private _lowestFreeCookie = 1;
  /** Cookies in use; null: not asked for yet. */
  private _taken: TakenNumbers | null = null;
  /** Numbers of unread faults, and cookies of the others, by attachment; null: not asked for yet. */
  private _of: Map<GroupAttachment, Own> | null = null;

  /** Faults that are not answered yet. */
  *waiting(): Generator<Fault> {
    yield* this._unread.values();
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
    return this._unread.size > 0;
  }

  deliver(fault: Fault): void {
    const number = this._next++;
    this._unread.set(number, fault);
    if (this._of) ownOf(this._of, fault.attachment).unread.add(number);
  }

  /** iommufd_auto_response_faults: an attachment has ended, and with it all its faults. */
  forget(attachment: GroupAttachment): void {
    if (this._of === null) {
      this._of = new Map();
      for (const [number, fault] of this._unread) ownOf(this._of, fault.attachment).unread.add(number);
      for (const [cookie, fault] of this._read) ownOf(this._of, fault.attachment).read.add(cookie);
    }
    const own = this._of.get(attachment);
    for (const number of own?.unread ?? []) this._unread.delete(number);
    for (const cookie of [...(own?.read ?? [])]) this._take(cookie);
    this._of.delete(attachment);
  }

  /** iommufd_fault_fops_read. ESPIPE length, EINVAL no room for the fault that waits; 0 bytes if none waits. */
  read(length: bigint): ReadOk | Refusal {
    const where = 'iommufd_fault_fops_read';
    if (length % FAULT_BYTES) return refuse('ESPIPE', where, `the length is a multiple of ${FAULT_BYTES}`);
    const room = length / FAULT_BYTES;
    if (room === 0n && this._unread.size > 0) return refuse('EINVAL', where, 'no room for the fault that waits');
    const count = room < this._unread.size ? Number(room) : this._unread.size;
    if (count === 0) return { ret: 0 };
    const faults: Record<string, unknown>[] = [];
    for (; faults.length < count; this._first++) {
      const fault = this._unread.get(this._first);
      if (!fault) continue;
      this._unread.delete(this._first);
      this._of?.get(fault.attachment)?.unread.delete(this._first);
      faults.push(encode(fault, this._giveCookie(fault)));
    }
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
    this._unread.clear();
    this._read.clear();
    this._taken = null;
    this._of = null;
  }

  private _answer(where: string, { cookie, code }: PageResponse): Refusal | null {
    if (code !== 0 && code !== 1) return refuse('EINVAL', where, 'the code is 0 (success) or 1 (invalid)');
    if (!this._read.has(cookie))
      return refuse('EINVAL', where, `no fault with cookie ${cookie} waits: it was answered, or its attachment ended`);
    this._take(cookie);
    return null;
  }

  private _giveCookie(fault: Fault): number {
    this._taken ??= new TakenNumbers(this._read.keys());
    const cookie = this._taken.firstFree(this._lowestFreeCookie);
    this._lowestFreeCookie = cookie + 1;
    this._taken.take(cookie);
    this._read.set(cookie, fault);
    if (this._of) ownOf(this._of, fault.attachment).read.add(cookie);
    return cookie;
  }

  private _take(cookie: number): void {
    const fault = this._read.get(cookie)!;
    this._of?.get(fault.attachment)?.read.delete(cookie);
    this._read.delete(cookie);
    this._taken?.give(cookie);
    this._lowestFreeCookie = Math.min(this._lowestFreeCookie, cookie);
  }
}

/** What a queue has of an attachment. */
interface Own {
  unread: Set<number>;
  read: Set<number>;
}

function ownOf(all: Map<GroupAttachment, Own>, attachment: GroupAttachment): Own {
  const own = all.get(attachment) ?? { unread: new Set(), read: new Set() };
  all.set(attachment, own);
  return own;
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
  const injected = context.kernel.faults.refusal('fault-queue.alloc', where);
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
