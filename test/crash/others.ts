/** Clients that are no processes: devices that go on whatever the software does, and whoever runs the machine. */
import type { HostView } from '../../src/host/views.ts';
import { IOVA, IOVA_PAGES, PAGE } from './guest.ts';
import { type Client, command, type Operation } from './operations.ts';
import type { Random } from './random.ts';

export const DEVICES = ['0000:01:00.0', '0000:02:00.0', '0000:03:00.0', '0000:03:00.1', '0000:04:00.0'] as const;
const KERNEL_DRIVER_GROUP = 3;

/** Reads and writes memory, from devices. */
export class Hardware implements Client {
  readonly name: string;
  readonly #random: Random;
  #number = 0;

  constructor(name: string, random: Random) {
    this.name = name;
    this.#random = random;
  }

  next(): Operation {
    const bdf = this.#random.pick(DEVICES)!;
    if (this.#random.chance(0.02)) return this.#reset(bdf);
    return this.#dma(bdf, this.#random.chance(0.6));
  }

  inspect(): Operation[] {
    return DEVICES.map((bdf) => this.#dma(bdf, false));
  }

  #dma(bdf: string, writes: boolean): Operation {
    const accesses = Array.from({ length: this.#random.between(1, 3) }, () => {
      const iova = `0x${(IOVA + this.#random.below(IOVA_PAGES) * PAGE).toString(16)}`;
      const data = Buffer.from(`${this.name} ${this.#number++}`);
      const access = { op: 'read', iova, length: data.length };
      return writes ? { ...access, op: 'write', data: data.toString('base64') } : access;
    });
    const request = { method: 'POST', path: `/devices/${bdf}/dma`, body: { accesses } } as const;
    return command(request, { op: 'device.dma', bdf, accesses });
  }

  #reset(bdf: string): Operation {
    return command({ method: 'POST', path: `/devices/${bdf}/flr` }, { op: 'device.flr', bdf });
  }
}

/** Who hears that another kernel runs. */
interface Forgetful {
  forget(liveUpdate: boolean): void;
}

/** Reboots, moves the clock, arms faults. */
export class Operator implements Client {
  readonly name: string;
  readonly #guests: readonly Forgetful[];
  readonly #random: Random;
  #state: HostView['state'] = 'running';
  #kernel = 1;
  #faults: number[] = [];
  #groupType = 'DMA';

  constructor(name: string, guests: readonly Forgetful[], random: Random) {
    this.name = name;
    this.#guests = guests;
    this.#random = random;
  }

  next(): Operation {
    const random = this.#random;
    if (this.#state !== 'running' && random.chance(0.5)) return this.#reset();
    return random.weighted<() => Operation>([
      [3, () => this.#kexec()],
      [0.3, () => this.#crash()],
      [0.2, () => this.#reset()],
      [20, () => this.#clock()],
      [4, () => this.#arm()],
      [this.#faults.length > 0 ? 4 : 0, () => this.#disarm()],
      [3, () => this.#group()],
      [3, () => this.#update()],
    ])();
  }

  #kexec(): Operation {
    const mode = this.#random.chance(0.85) ? 'live-update' : 'plain';
    const image = this.#random.chance(0.9) ? 'loaded' : 'none';
    const request = { method: 'POST', path: '/kexec', body: { mode, image } } as const;
    return this.#reboot(request, { op: 'kexec.freeze', mode, image }, mode === 'live-update');
  }

  #crash(): Operation {
    return this.#reboot({ method: 'POST', path: '/crash' }, { op: 'crash' }, false);
  }

  #reset(): Operation {
    return this.#reboot({ method: 'POST', path: '/reset' }, { op: 'reset' }, false);
  }

  #reboot(request: Operation['request'], journaled: Record<string, unknown>, liveUpdate: boolean): Operation {
    return command(request, journaled, ({ status, body }) => {
      if (status !== 200) return;
      const { state, kernel, kexecCount } = body as HostView;
      const booted = kernel !== this.#kernel;
      this.#state = state;
      this.#kernel = kernel;
      this.#groupType = 'DMA';
      // After a loss of power there is no kexec behind it.
      if (booted || state === 'panic') for (const guest of this.#guests) guest.forget(liveUpdate && kexecCount > 0);
    });
  }

  #clock(): Operation {
    const nanoseconds = String(this.#random.between(1, 10 ** 9));
    const request = { method: 'POST', path: '/clock', body: { advance: nanoseconds } } as const;
    return command(request, { op: 'clock.advance', nanoseconds });
  }

  #arm(): Operation {
    const point = this.#random.weighted([
      [6, 'allocation'],
      [2, 'memfd.preserve'],
      [1, 'memfd.freeze'],
      [1, 'iommufd.preserve'],
      [1, 'vfio.retrieve'],
      [2, 'iommu.attach'],
      [1, 'kexec.power-loss'],
    ] as const);
    const nth = this.#random.between(1, 20);
    const request = { method: 'POST', path: '/faults', body: { point, nth } } as const;
    return command(request, { op: 'fault.arm', point, nth }, ({ status, body }) => {
      if (status < 300) this.#faults.push((body as { id: number }).id);
    });
  }

  #disarm(): Operation {
    const id = this.#faults.shift()!;
    return command({ method: 'DELETE', path: `/faults/${id}` }, { op: 'fault.disarm', id });
  }

  #group(): Operation {
    this.#groupType = this.#groupType === 'DMA' ? 'identity' : 'DMA';
    const request = {
      method: 'PUT',
      path: `/groups/${KERNEL_DRIVER_GROUP}/type`,
      body: { type: this.#groupType },
    } as const;
    return command(request, { op: 'group.type', group: KERNEL_DRIVER_GROUP });
  }

  #update(): Operation {
    const bdf = this.#random.pick(DEVICES)!;
    const interruptsEnabled = this.#random.chance(0.5);
    const request = { method: 'PATCH', path: `/devices/${bdf}`, body: { interruptsEnabled } } as const;
    return command(request, { op: 'device.update', bdf, interruptsEnabled });
  }
}
