/** A machine whose D1 has every kind of interrupt, D1 open in a process, and what its VMM does with them. */
import assert from 'node:assert/strict';
import type { TestApp } from './app.ts';
import { D1, type Host, type HostBody } from './client.ts';
import { hex, KernelError } from './kernel-error.ts';
import type { Process } from './process.ts';

export const INTX = 0;
export const MSI = 1;
export const MSIX = 2;
export const ERR = 3;
export const REQ = 4;

export const NONE = 1;
export const BOOL = 2;
export const EVENTFD = 4;
export const MASK = 8;
export const UNMASK = 16;
export const TRIGGER = 32;

const NONBLOCK = 0x800;

/** BAR 0 has the table of MSI-X in its third page, and the pending bits in its fourth. */
export const TABLE = 0x2000;
export const PENDING = 0x3000;
const DEVICE = {
  bdf: D1,
  class: '0108',
  driver: 'vfio-pci',
  config: {
    size: 4096,
    interruptPin: 1,
    bars: [{ index: 0, kind: 'mem64', address: '0xfe000000', size: '0x4000' }],
    capabilities: [
      { offset: 0x40, id: 1 },
      { offset: 0x50, id: 5, msiVectors: 8, address64: true, maskable: false },
      { offset: 0x70, id: 16 },
      { offset: 0xb0, id: 17, msixVectors: 16, tableBar: 0, tableOffset: TABLE, pbaBar: 0, pbaOffset: PENDING },
    ],
    extendedCapabilities: [],
  },
};

export const MACHINE: HostBody = { devices: [DEVICE] };

export interface Raised {
  delivered: boolean;
  pending: boolean;
  reason: string | null;
}

const CONFIG = 0x700_0000_0000;
const COMMAND = 4;
export const PM_CONTROL = 0x44;
export const MSI_FLAGS = 0x52;

export class Interrupting {
  readonly host: Host;
  readonly vmm: Process;
  readonly iommufd: number;
  readonly cdev: number;

  constructor(host: Host, vmm: Process, iommufd: number, cdev: number) {
    this.host = host;
    this.vmm = vmm;
    this.iommufd = iommufd;
    this.cdev = cdev;
  }

  /** Bound, with memory and bus mastering on. */
  static async open(app: TestApp, body: HostBody = {}): Promise<Interrupting> {
    return Interrupting.bind(await app.host({ ...MACHINE, ...body }));
  }

  static async bind(host: Host): Promise<Interrupting> {
    const vmm = await host.process({ name: 'vmm' });
    const iommufd = await vmm.open('/dev/iommu');
    const cdev = await vmm.openCdev(D1);
    await vmm.bind(cdev, iommufd);
    const device = new Interrupting(host, vmm, iommufd, cdev);
    await device.command(0x0106);
    return device;
  }

  /** The program writes a word of the configuration space. */
  async writeConfig(at: number, value: number): Promise<void> {
    const data = Buffer.from([value & 0xff, value >> 8]).toString('base64');
    await this.vmm.call('pwrite', { fd: this.cdev, offset: hex(CONFIG + at), data });
  }

  /** The program writes the command register. */
  command(bits: number): Promise<void> {
    return this.writeConfig(COMMAND, bits);
  }

  async eventfd(initval = 0, flags = NONBLOCK): Promise<number> {
    return (await this.vmm.call('eventfd', { initval, flags })).ret as number;
  }

  async setIrqs(index: number, flags: number, start: number, count: number, more: object = {}): Promise<void> {
    await this.vmm.ioctl(this.cdev, 'VFIO_DEVICE_SET_IRQS', { index, flags, start, count, ...more });
  }

  /** Vectors from `start` on signal these descriptors. */
  async setTriggers(index: number, start: number, eventfds: number[]): Promise<void> {
    await this.setIrqs(index, EVENTFD | TRIGGER, start, eventfds.length, { eventfds });
  }

  async disable(index: number): Promise<void> {
    await this.setIrqs(index, NONE | TRIGGER, 0, 0);
  }

  async raise(type: 'intx' | 'msi' | 'msix', vector = 0): Promise<Raised> {
    return (await this.host.request('post', `/devices/${D1}/interrupts`, { type, vector })) as Raised;
  }

  /** What a descriptor of an eventfd reads: 0 where it is EAGAIN. */
  count(fd: number): Promise<bigint> {
    return countOf(this.vmm, fd);
  }

  async isEnabled(): Promise<boolean> {
    return (await this.host.device(D1)).interruptsEnabled;
  }
}

export async function countOf(process: Process, fd: number): Promise<bigint> {
  try {
    const { ret, data } = await process.call('read', { fd, length: 8 });
    assert.equal(ret, 8);
    return Buffer.from(data!, 'base64').readBigUInt64LE();
  } catch (error) {
    if (error instanceof KernelError && error.errno === 'EAGAIN') return 0n;
    throw error;
  }
}

export const TOLD: Raised = { delivered: true, pending: false, reason: null };
export const masked: Raised = { delivered: false, pending: true, reason: 'masked' };
export const unheard = (reason: string): Raised => ({ delivered: false, pending: false, reason });
