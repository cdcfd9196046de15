/** Failures on demand: a named point in the kernel can be armed to refuse its nth pass from now on, once. */

import { type Errno, type Refusal, refuse } from './errno.ts';
import type { EventSink } from './events.ts';

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

export interface ArmedFault {
  id: number;
  point: FaultPoint;
  /** How many passes are left, including the one that fails. */
  nth: number;
  errno: Errno;
}

export class Faults {
  armed: ArmedFault[] = [];
  private _nextId = 1;
  /** Gets an event for each fault that strikes. */
  private readonly _sink: EventSink;

  constructor(sink: EventSink) {
    this._sink = sink;
  }

  /** Arms a fault: the `nth` pass through `point` from now on, 1 being the next, is refused with `errno`, once. */
  arm(point: FaultPoint, nth: number, errno: Errno): ArmedFault {
    const fault = { id: this._nextId++, point, nth, errno };
    this.armed.push(fault);
    return fault;
  }

  /** False: no such fault is armed. */
  disarm(id: number): boolean {
    const before = this.armed.length;
    this.armed = this.armed.filter((fault) => fault.id !== id);
    return this.armed.length < before;
  }

  /** Counts one pass through a point. Returns the fault that strikes, or null. */
  strike(point: FaultPoint): ArmedFault | null {
    if (this.armed.length === 0) return null;
    let struck: ArmedFault | null = null;
    for (const fault of this.armed) {
      if (fault.point !== point || --fault.nth > 0) continue;
      struck ??= fault;
    }
    if (!struck) return null;
    this.armed = this.armed.filter((fault) => fault.nth > 0);
    const { id, errno } = struck;
    this._sink.emit('fault.injected', `fault ${id} strikes at ${point}: ${errno}`, { fault: id, point, errno });
    return struck;
  }

  /**
   * Counts one pass through a point, in the kernel function `where`. Returns the refusal of a fault that strikes, or
   * null.
   */
  refusal(point: FaultPoint, where: string): Refusal | null {
    const struck = this.strike(point);
    return struck && refuse(struck.errno, where, `fault ${struck.id} at ${point} was armed`);
  }
}
