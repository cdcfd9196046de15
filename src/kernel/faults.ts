/** Failures on demand: a named point in the kernel can be armed to refuse its nth pass from now on, once. */

import { type Errno, type Refusal, refuse } from './errno.ts';
import type { EventSink } from './events.ts';
import { Heap } from './heap.ts';
import { LazyMap } from './lazy-map.ts';

export const FAULT_POINTS = {
  allocation: { errno: 'ENOMEM', about: 'an allocation of the kernel: an object, a domain, a session' },
  'memfd.preserve': { errno: 'EIO', about: 'PRESERVE_FD of a memfd' },
  'memfd.freeze': { errno: 'EIO', about: 'the freeze of a memfd during reboot()' },
  'memfd.retrieve': { errno: 'EIO', about: 'the first RETRIEVE_FD of a memfd' },
  'iommufd.preserve': { errno: 'EIO', about: 'PRESERVE_FD of an iommufd' },
  'iommufd.freeze': { errno: 'EIO', about: 'the freeze of an iommufd during reboot()' },
  'iommufd.retrieve': { errno: 'EIO', about: 'the first RETRIEVE_FD of an iommufd' },
  'vfio.preserve': { errno: 'EIO', about: 'PRESERVE_FD of a cdev' },
  'vfio.freeze': { errno: 'EIO', about: 'the freeze of a cdev during reboot()' },
  'vfio.retrieve': { errno: 'EIO', about: 'the first RETRIEVE_FD of a cdev' },
  'vfio.open': { errno: 'EIO', about: "the driver's open of a device, in VFIO_DEVICE_BIND_IOMMUFD" },
  'pci.link': {
    errno: 'ENOTTY',
    about: 'the wait for the link after a hot reset, which has reset the functions all the same',
  },
  'iommu.attach': { errno: 'ENOMEM', about: 'the attach of a group to a domain' },
  'iommu.replace': { errno: 'ENOMEM', about: 'the replacement of the domain of a group' },
  'kexec.power-loss': { errno: 'EIO', about: 'the machine loses power between freeze and boot: cold boot' },
  'service.death': { errno: 'EIO', about: 'the service is killed between freeze and boot' },
} as const satisfies Record<string, { errno: Errno; about: string }>;

export type FaultPoint = keyof typeof FAULT_POINTS;

/** So many faults that are no longer armed may be in a queue, beside as many as are. */
const FEW = 64;

export interface ArmedFault {
  id: number;
  point: FaultPoint;
  /** How many passes are left, including the one that fails. */
  nth: number;
  errno: Errno;
}

/** A fault that is armed; it strikes with the pass through its point that has the number `due`. */
interface DueFault {
  id: number;
  point: FaultPoint;
  due: number;
  errno: Errno;
}

export class Faults {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = { _queues: () => null };

  /** By id, ascending. */
  private readonly _armed = new LazyMap<number, DueFault>();
  /** How often each point was passed while something was armed. */
  private readonly _passes = new LazyMap<FaultPoint, number>();
  private _nextId = 1;
  /** Gets an event for each fault that strikes. */
  private readonly _sink: EventSink;
  /** The faults of each point, those that strike next first; some of them are no longer armed. Null: nothing was armed yet. */
  private _queues: Map<FaultPoint, Heap<DueFault>> | null = null;

  constructor(sink: EventSink) {
    this._sink = sink;
  }

  /** All that are armed, the oldest first. */
  get armed(): ArmedFault[] {
    return [...this._armed.values()].map((fault) => this._told(fault));
  }

  /** Arms a fault: the `nth` pass through `point` from now on, 1 being the next, is refused with `errno`, once. */
  arm(point: FaultPoint, nth: number, errno: Errno): ArmedFault {
    const queue = this._queueOf(point);
    const fault = { id: this._nextId++, point, due: this._passed(point) + nth, errno };
    this._armed.set(fault.id, fault);
    queue.add(fault);
    return this._told(fault);
  }

  /** False: no such fault is armed. */
  disarm(id: number): boolean {
    const fault = this._armed.get(id);
    if (!fault) return false;
    this._armed.delete(id);
    const queue = this._queues?.get(fault.point);
    if (queue && queue.size > 2 * this._armed.size + FEW) this._queues?.delete(fault.point);
    return true;
  }

  /** Counts one pass through a point. Returns the fault that strikes, or null. */
  strike(point: FaultPoint): ArmedFault | null {
    if (this._armed.size === 0) return null;
    const pass = this._passed(point) + 1;
    this._passes.set(point, pass);
    const queue = this._queueOf(point);
    let struck: DueFault | null = null;
    for (let next = queue.first; next !== undefined; next = queue.first) {
      const isArmed = this._armed.get(next.id) === next;
      if (isArmed && next.due > pass) break;
      queue.removeFirst();
      if (!isArmed) continue;
      struck ??= next;
      this._armed.delete(next.id);
    }
    if (!struck) return null;
    const { id, errno } = struck;
    this._sink.emit('fault.injected', `fault ${id} strikes at ${point}: ${errno}`, { fault: id, point, errno });
    return this._told(struck);
  }

  /**
   * Counts one pass through a point, in the kernel function `where`. Returns the refusal of a fault that strikes, or
   * null.
   */
  refusal(point: FaultPoint, where: string): Refusal | null {
    const struck = this.strike(point);
    return struck && refuse(struck.errno, where, `fault ${struck.id} at ${point} was armed`);
  }

  /** What is armed and how soon it strikes, however often points were passed before. */
  *canonical(): Generator<unknown> {
    yield this._nextId;
    for (const { id, point, nth, errno } of this.armed) yield [id, point, nth, errno];
  }

  private _passed(point: FaultPoint): number {
    return this._passes.get(point) ?? 0;
  }

  private _told({ id, point, due, errno }: DueFault): ArmedFault {
    return { id, point, nth: due - this._passed(point), errno };
  }

  private _queueOf(point: FaultPoint): Heap<DueFault> {
    this._queues ??= new Map();
    let queue = this._queues.get(point);
    if (!queue) {
      // Of those that strike together the oldest comes first.
      queue = new Heap((a, b) => a.due < b.due || (a.due === b.due && a.id < b.id));
      for (const fault of this._armed.values()) if (fault.point === point) queue.add(fault);
      this._queues.set(point, queue);
    }
    return queue;
  }
}
