/** Queues of events of a vIOMMU (drivers/iommu/iommufd/eventq.c): what a guest's IOMMU would report to the guest. */
import { type Refusal, refuse } from '../../errno.ts';
import type { IoctlOk, ReadOk } from '../../file.ts';
import type { Process } from '../../process.ts';
import type { ArgOf } from '../../uapi/index.ts';
import type { IommufdContext } from '../context.ts';
import { IommufdObject } from '../objects.ts';
import { Viommu } from '../viommu/viommu.ts';
import { ObjectFile, publish, READABLE } from './queue-file.ts';

interface Event {
  sequence: number;
  virtId: number;
}

const LOST_EVENTS = 1;
const MAX_SEQUENCE = 0x7fffffff;
/** struct iommufd_vevent_header, and with the data of the mock driver's events. */
const HEADER_BYTES = 8n;
const EVENT_BYTES = 12n;
const MAX_DEPTH = 2 ** 19;

export class Veventq extends IommufdObject {
  readonly type = 'veventq';
  readonly eventType: number;
  private readonly _viommu: Viommu;
  private readonly _depth: number;
  /** By the number of events before each. */
  private readonly _events = new Map<number, Event>();
  /** The number of the event that is read next. */
  private _first = 0;
  /** Sequence number of the last event that found no room, while no later event has found any; null: none is lost. */
  private _lost: number | null = null;
  private _sequence = 0;

  constructor(viommu: Viommu, eventType: number, depth: number) {
    super();
    this._viommu = viommu;
    this.eventType = eventType;
    this._depth = depth;
    viommu.veventqs.push(this);
    viommu.hold();
  }

  get viommu(): Viommu {
    return this._viommu;
  }

  /** iommufd_viommu_report_event: an event of the device that the guest knows as `virtId`. */
  report(virtId: number): void {
    const sequence = this._sequence;
    this._sequence = sequence === MAX_SEQUENCE ? 0 : sequence + 1;
    if (this._events.size === this._depth) {
      this._lost = sequence;
      return;
    }
    this._lost = null;
    this._events.set(this._first + this._events.size, { sequence, virtId });
  }

  /** Whether a read finds something. */
  get readable(): boolean {
    return this._events.size > 0 || this._lost !== null;
  }

  /** iommufd_veventq_fops_read. EINVAL no room for a header, or for what waits; 0 bytes if nothing waits. */
  read(length: bigint): ReadOk | Refusal {
    const where = 'iommufd_veventq_fops_read';
    if (length < HEADER_BYTES) return refuse('EINVAL', where, `a read has room for ${HEADER_BYTES} bytes at least`);
    const room = length / EVENT_BYTES;
    const count = room < this._events.size ? Number(room) : this._events.size;
    const events: Record<string, number>[] = [];
    for (let left = count; left > 0; left--, this._first++) {
      const { sequence, virtId } = this._events.get(this._first)!;
      events.push({ flags: 0, sequence, virt_id: virtId });
      this._events.delete(this._first);
    }
    let done = BigInt(count) * EVENT_BYTES;
    if (this._lost !== null && this._events.size === 0 && done + HEADER_BYTES <= length) {
      events.push({ flags: LOST_EVENTS, sequence: this._lost });
      this._lost = null;
      done += HEADER_BYTES;
    }
    if (done === 0n && this.readable) return refuse('EINVAL', where, 'no room for the event that waits');
    return { ret: Number(done), ...(done > 0n && { events }) };
  }

  destroy(): void {
    this._viommu.veventqs = this._viommu.veventqs.filter((other) => other !== this);
    this._viommu.drop();
  }
}

export class VeventqFile extends ObjectFile {
  readonly kind = 'event-queue';
  private readonly _queue: Veventq;

  constructor(context: IommufdContext, queue: Veventq) {
    super(context, queue);
    this._queue = queue;
  }
  link(): string {
    return 'anon_inode:[iommufd-viommu-event]';
  }
  override read(length: bigint): ReadOk | Refusal {
    return this._queue.read(length);
  }
  override poll(): number {
    return this._queue.readable ? READABLE : 0;
  }
}

/**
 * IOMMU_VEVENTQ_ALLOC. EOPNOTSUPP flags, reserved, type; EINVAL depth; ENOENT; EEXIST one of this type; ENOMEM; EMFILE.
 */
export function veventqAlloc(
  context: IommufdContext,
  arg: ArgOf<'IOMMU_VEVENTQ_ALLOC'>,
  process: Process,
): IoctlOk | Refusal {
  const where = 'iommufd_veventq_alloc';
  const { type } = arg;
  const depth = arg.veventq_depth;
  if (arg.flags || arg.__reserved || type === 0)
    return refuse('EOPNOTSUPP', where, 'flags and __reserved must be 0, type must not');
  if (depth === 0 || depth > MAX_DEPTH) return refuse('EINVAL', where, `veventq_depth is 1 to ${MAX_DEPTH}`);
  const viommu = context.objects.lookup(arg.viommu_id, Viommu, 'a vIOMMU');
  if (!(viommu instanceof Viommu)) return viommu;
  if (viommu.veventqs.some((queue) => queue.eventType === type))
    return refuse('EEXIST', where, `vIOMMU ${viommu.id} has a queue of this type`);
  const injected = context.kernel.faults.refusal('veventq.alloc', where);
  if (injected) return injected;
  const queue = new Veventq(viommu, type, depth);
  const made = publish(context, process, queue, new VeventqFile(context, queue));
  return 'errno' in made ? made : { arg: { out_veventq_id: made.id, out_veventq_fd: made.fd } };
}
