/**
 * Failures on demand, as the kernel's fail_nth: a named point in the kernel can be armed to refuse its nth pass from now on,
 * or so many passes from that one on.
 */

import { type Errno, type Refusal, refuse } from './errno.ts';
import type { EventSink } from './events.ts';
import { Heap } from './heap.ts';
import { LazyMap } from './lazy-map.ts';

/** Points of the class `allocation`, which is armed by this name: a pass through any of them is one of that, too. */
const allocation = (about: string) => ({ errno: 'ENOMEM', about, of: 'allocation' }) as const;

export const FAULT_POINTS = {
  allocation: { errno: 'ENOMEM', about: 'an allocation of any of the points that are of it' },
  'iommufd.open': allocation('the open of /dev/iommu'),
  'ioas.alloc': allocation('an IOAS'),
  'hwpt.alloc': allocation('the domain of a HWPT, which an attach to an IOAS makes, too'),
  'hwpt.nested': allocation('a nested HWPT'),
  'hwpt.adopt': allocation('the HWPT of a restored domain, in VFIO_DEVICE_BIND_IOMMUFD'),
  'device.bind': allocation('the device of an iommufd, in VFIO_DEVICE_BIND_IOMMUFD'),
  'access.create': allocation('an access, which only tests of the kernel make'),
  'viommu.alloc': allocation('a vIOMMU'),
  'vdevice.alloc': allocation('a vDEVICE'),
  'hw-queue.alloc': allocation('a hardware queue of a vIOMMU'),
  'fault-queue.alloc': allocation('a queue of page faults'),
  'veventq.alloc': allocation('a queue of events of a vIOMMU'),
  'session.create': allocation('LIVEUPDATE_IOCTL_CREATE_SESSION'),
  'session.preserve': allocation('the entry of a file in a session, in PRESERVE_FD'),
  'ioas.map': { errno: 'ENOMEM', about: 'the pages of a map: IOMMU_IOAS_MAP, MAP_FILE, VFIO_IOMMU_MAP_DMA' },
  'process.create': { errno: 'ENOMEM', about: 'a fork' },
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
} as const satisfies Record<string, { errno: Errno; about: string; of?: string }>;

export type FaultPoint = keyof typeof FAULT_POINTS;

export const FAULT_POINT_NAMES = Object.keys(FAULT_POINTS) as [FaultPoint, ...FaultPoint[]];

/** So many faults that are no longer armed may be in a queue, beside as many as are. */
const FEW = 64;

export interface ArmedFault {
  id: number;
  point: FaultPoint;
  /** How many passes are left until the next one that fails, including that one; null: none fails any more. */
  nth: number | null;
  /** How many passes in a row are to fail yet. */
  times: number;
  /** How many have failed. */
  struck: number;
  errno: Errno;
}

/** A fault that is armed; it strikes with the pass through its point that has the number `due`, and with those behind it. */
interface DueFault {
  id: number;
  point: FaultPoint;
  due: number;
  errno: Errno;
  /** Passes that are to fail yet, and those that have; what an earlier version has stored is without them: 1, and 0. */
  left?: number;
  struck?: number;
}

/** Those that are over and are told of yet. */
const MOST_OVER = 64;

export class Faults {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = { _queues: () => null, _tally: () => null };

  /** By id, ascending. */
  private readonly _armed = new LazyMap<number, DueFault>();
  /** How often each point was passed while something was armed. */
  private readonly _passes = new LazyMap<FaultPoint, number>();
  private _nextId = 1;
  /** Those that are over, the newest last. */
  private readonly _over: ArmedFault[] = [];
  /** How often each point is passed, while somebody counts; null: nobody does. */
  private _tally: Map<FaultPoint, number> | null = null;
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

  /** Those that are over, the oldest first. */
  get over(): readonly ArmedFault[] {
    return this._over;
  }

  /** Whether a pass through the point may be refused. */
  isArmed(point: FaultPoint): boolean {
    return this._armed.size > 0 && this.armed.some((fault) => fault.point === point || fault.point === classOf(point));
  }

  /** Counts passes from now on, whether anything is armed or not: the map is where. */
  tally(counts: Map<FaultPoint, number>): void {
    this._tally = counts;
  }

  /** Arms a fault: the `nth` pass through `point` from now on, 1 being the next, is refused with `errno`, and `times` in all. */
  arm(point: FaultPoint, nth: number, errno: Errno, times = 1): ArmedFault {
    const queue = this._queueOf(point);
    const fault: DueFault = {
      id: this._nextId++,
      point,
      due: this._passed(point) + nth,
      errno,
      left: times,
      struck: 0,
    };
    this._armed.set(fault.id, fault);
    queue.add(fault);
    return this._told(fault);
  }

  /** False: no such fault is armed. */
  disarm(id: number): boolean {
    const fault = this._armed.get(id);
    const over = this._over.findIndex((one) => one.id === id);
    if (over >= 0) this._over.splice(over, 1);
    if (!fault) return over >= 0;
    this._armed.delete(id);
    const queue = this._queues?.get(fault.point);
    if (queue && queue.size > 2 * this._armed.size + FEW) this._queues?.delete(fault.point);
    return true;
  }

  /** Counts one pass through a point, and of its class. Returns the fault that strikes, or null. */
  strike(point: FaultPoint): ArmedFault | null {
    if (this._tally !== null) this._tally.set(point, (this._tally.get(point) ?? 0) + 1);
    if (this._armed.size === 0) return null;
    const own = this._strikeAt(point);
    const of = classOf(point);
    const struck = own ?? (of === null ? null : this._strikeAt(of));
    if (own !== null && of !== null) this._strikeAt(of);
    if (!struck) return null;
    const { id, errno } = struck;
    this._sink.emit('fault.injected', `fault ${id} strikes at ${point}: ${errno}`, { fault: id, point, errno });
    return this._told(struck);
  }

  private _strikeAt(point: FaultPoint): DueFault | null {
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
      this._hit(next, pass, queue);
    }
    return struck;
  }

  /** Of several that strike together each has struck. */
  private _hit(fault: DueFault, pass: number, queue: Heap<DueFault>): void {
    fault.struck = (fault.struck ?? 0) + 1;
    fault.left = (fault.left ?? 1) - 1;
    fault.due = pass + 1;
    if (fault.left > 0) {
      queue.add(fault);
      return;
    }
    this._armed.delete(fault.id);
    this._over.push(this._told(fault));
    if (this._over.length > MOST_OVER) this._over.shift();
  }

  /**
   * Counts one pass through a point, in the kernel function `where`. Returns the refusal of a fault that strikes, or
   * null.
   */
  refusal(point: FaultPoint, where: string): Refusal | null {
    const struck = this.strike(point);
    return struck && refuse(struck.errno, where, `fault ${struck.id} at ${point} was armed`).by(struck.id);
  }

  /** What is armed and how soon it strikes, however often points were passed before. */
  *canonical(): Generator<unknown> {
    yield this._nextId;
    for (const { id, point, nth, errno, times, struck } of this.armed) yield [id, point, nth, errno, times, struck];
    yield this._over;
  }

  private _passed(point: FaultPoint): number {
    return this._passes.get(point) ?? 0;
  }

  private _told({ id, point, due, errno, left = 1, struck = 0 }: DueFault): ArmedFault {
    return { id, point, nth: left > 0 ? due - this._passed(point) : null, times: left, struck, errno };
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

/** The class of a point, which is armed like one; null: it is of none. */
function classOf(point: FaultPoint): FaultPoint | null {
  const known = FAULT_POINTS[point];
  return 'of' in known ? known.of : null;
}
