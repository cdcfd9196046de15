/**
 * The kernel's mock IOMMU as its selftests use it: a host with one `generic` unit, a process with an iommufd, and
 * devices that appear bound and attached (IOMMU_TEST_OP_MOCK_DOMAIN there, a function that is plugged in here).
 */
import assert from 'node:assert/strict';
import type { DeviceView } from '../../src/host/views.ts';
import type { CallResult } from '../../src/kernel/uapi/calls.ts';
import type { TestApp } from '../support/app.ts';
import type { Host } from '../support/client.ts';
import { expectErrno, hex, KernelError } from '../support/kernel-error.ts';
import type { Process } from '../support/process.ts';

export const PAGE = 4096;
/** The mock's smallest page. */
export const HALF = 2048;
export const APERTURE_START = 0x1000000;
export const APERTURE_LAST = 0x7fffffff;
/** Memory of the process: on a border of 2 MiB. */
export const BUFFER = 0x100000200000;
export const BUFFER_BYTES = 16 * PAGE;
export const UMAX = '0xffffffffffffffff';

export const FIXED = 1;
const WRITEABLE = 2;
const READABLE = 4;
export const READ_WRITE = WRITEABLE | READABLE;

export const NEST_PARENT = 1;
export const DIRTY_TRACKING = 2;
export const FAULT_ID_VALID = 4;
export const PASID = 8;

/** What the mock driver takes: driver data of HWPTs, invalidations. */
export const DATA_SELFTEST = 0xdead;
export const INVALIDATE_SELFTEST = 0xdeadbeef;

export const HW_INFO = { type: 0xfeedbeef, bytes: Buffer.from('00000000efbeadde', 'hex') };

const POWERS_OF_TWO = Array.from({ length: 26 }, (_, i) => hex(2 ** (11 + i)));

/** A device on the mock IOMMU, alone in its group. */
export interface MockDevice {
  bdf: string;
  cdev: number;
  /** Id of the device in the iommufd. */
  id: number;
  /** Id of the HWPT that it came to when it appeared. */
  hwpt: number;
}

export interface Features {
  noDirty?: boolean;
  pasid?: boolean;
}

type Arg = Record<string, unknown>;

/** Words of 32 bits as driver data. */
export const words = (...values: number[]): string => Buffer.from(Uint32Array.from(values).buffer).toString('base64');

export class Mock {
  readonly host: Host;
  readonly process: Process;
  readonly iommufd: number;
  #plugged = 0;

  private constructor(host: Host, process: Process, iommufd: number) {
    this.host = host;
    this.process = process;
    this.iommufd = iommufd;
  }

  static async open(app: TestApp): Promise<Mock> {
    const host = await app.host({
      profile: 'linux-7.3',
      iommus: [
        {
          id: 'mock0',
          kind: 'generic',
          pageSizes: POWERS_OF_TWO,
          hwInfo: { type: HW_INFO.type, length: HW_INFO.bytes.length, data: HW_INFO.bytes.toString('base64') },
        },
      ],
      devices: [],
    });
    const process = await host.process();
    return new Mock(host, process, await process.open('/dev/iommu'));
  }

  // Requests of the iommufd.

  ask(request: string, arg: Arg = {}): Promise<Arg> {
    return this.process.ioctl(this.iommufd, request, arg);
  }

  async refuses(errno: string, request: string, arg: Arg = {}): Promise<void> {
    await expectErrno(errno, this.ask(request, arg));
  }

  /** The answer as it is: outputs may be there on failure, too. */
  async answer(request: string, arg: Arg): Promise<CallResult> {
    const [result] = await this.calls([{ call: 'ioctl', fd: this.iommufd, request, arg }]);
    return result!;
  }

  /** Many calls at once. */
  calls(calls: Record<string, unknown>[]): Promise<CallResult[]> {
    return this.host.runCalls(this.process.pid, calls);
  }

  allocIoas(): Promise<number> {
    return this.process.allocIoas(this.iommufd);
  }

  destroy(id: number): Promise<void> {
    return this.process.destroy(this.iommufd, id);
  }

  destroyRefused(errno: string, id: number): Promise<void> {
    return this.refuses(errno, 'IOMMU_DESTROY', { id });
  }

  /** At exactly this IOVA. */
  mapFixed(ioas: number, address: number, length: number, iova: number): Promise<Arg> {
    return this.ask('IOMMU_IOAS_MAP', mapArg(ioas, address, length, iova));
  }

  mapFixedRefused(errno: string, ioas: number, address: number, length: number, iova: number): Promise<void> {
    return this.refuses(errno, 'IOMMU_IOAS_MAP', mapArg(ioas, address, length, iova));
  }

  /** The IOVA that the kernel chooses. */
  async map(ioas: number, address: number, length: number): Promise<number> {
    return Number((await this.ask('IOMMU_IOAS_MAP', mapArg(ioas, address, length))).iova);
  }

  mapRefused(errno: string, ioas: number, address: number, length: number): Promise<void> {
    return this.refuses(errno, 'IOMMU_IOAS_MAP', mapArg(ioas, address, length));
  }

  /** Bytes that were unmapped. */
  async unmap(ioas: number, iova: number, length: number): Promise<number> {
    return Number((await this.ask('IOMMU_IOAS_UNMAP', { ioas_id: ioas, iova: hex(iova), length: hex(length) })).length);
  }

  unmapRefused(errno: string, ioas: number, iova: number, length: number): Promise<void> {
    return this.refuses(errno, 'IOMMU_IOAS_UNMAP', { ioas_id: ioas, iova: hex(iova), length: hex(length) });
  }

  async unmapAll(ioas: number): Promise<number> {
    return Number((await this.ask('IOMMU_IOAS_UNMAP', { ioas_id: ioas, iova: 0, length: UMAX })).length);
  }

  async allowIovas(ioas: number, ranges: readonly (readonly [number, number])[]): Promise<Arg> {
    return this.ask('IOMMU_IOAS_ALLOW_IOVAS', allowArg(ioas, ranges));
  }

  /** IOMMU_TEST_OP_ADD_RESERVED; the errno, or null. */
  async reserve(ioas: number, start: number, length: number | string): Promise<string | null> {
    const path = `/processes/${this.process.pid}/iommufds/${this.iommufd}/ioases/${ioas}/reserved-ranges`;
    const body = { start: hex(start), length: typeof length === 'string' ? length : hex(length) };
    return this.host.request('post', path, body).then(
      () => null,
      (error: unknown) => {
        if (error instanceof KernelError) return error.errno;
        throw error;
      },
    );
  }

  async setHugePages(ioas: number, value: number): Promise<void> {
    await this.ask('IOMMU_OPTION', { option_id: 1, op: 0, object_id: ioas, val64: value });
  }

  async hugePages(ioas: number): Promise<number> {
    return Number((await this.ask('IOMMU_OPTION', { option_id: 1, op: 1, object_id: ioas })).val64);
  }

  allocHwpt(device: number, pt: number, flags = 0, more: Arg = {}): Promise<number> {
    return this.process.allocHwpt(this.iommufd, device, pt, { flags, ...more });
  }

  hwptRefused(errno: string, device: number, pt: number, flags = 0, more: Arg = {}): Promise<void> {
    return this.refuses(errno, 'IOMMU_HWPT_ALLOC', { dev_id: device, pt_id: pt, flags, ...more });
  }

  // Devices.

  /** A new device, bound to the iommufd and attached. What fails leaves none. */
  async attach(pt: number, features: Features = {}): Promise<MockDevice> {
    const number = this.#plugged++;
    const bdf = `0000:01:${(number >> 3).toString(16).padStart(2, '0')}.${number & 7}`;
    const { noDirty = false, pasid = false } = features;
    const function_ = { bdf, iommu: 'mock0', driver: 'vfio-pci', dirtyTracking: !noDirty, pasid };
    const { cdev: path } = (await this.host.request('post', '/devices', function_)) as DeviceView;
    const cdev = await this.process.open(path!);
    const id = await this.process.bind(cdev, this.iommufd);
    try {
      return { bdf, cdev, id, hwpt: await this.process.attach(cdev, pt) };
    } catch (error) {
      await this.process.close(cdev);
      throw error;
    }
  }

  attachRefused(errno: string, pt: number, features: Features = {}): Promise<unknown> {
    return expectErrno(errno, this.attach(pt, features));
  }

  /** The HWPT that the device is then on. */
  replace(device: MockDevice, pt: number): Promise<number> {
    return this.process.attach(device.cdev, pt);
  }

  replaceRefused(errno: string, device: MockDevice, pt: number): Promise<unknown> {
    return expectErrno(errno, this.replace(device, pt));
  }

  /** Detached, unbound and gone. */
  async remove(device: MockDevice): Promise<void> {
    await this.process.close(device.cdev);
    await this.host.unbindDriver(device.bdf);
    await this.host.request('delete', `/devices/${device.bdf}`);
  }

  /** IOMMU_TEST_OP_MD_CHECK_MAP: does the device reach the very pages that the process has there? */
  async checkMap(device: MockDevice, iova: number, address: number, length: number): Promise<void> {
    assert.deepEqual(await this.#translation(device, iova, length), await this.#memory(address, length));
  }

  async checkUnmapped(device: MockDevice, iova: number, length: number): Promise<void> {
    assert.deepEqual(await this.#translation(device, iova, length), []);
  }

  #translation(device: MockDevice, iova: number, length: number): Promise<string[]> {
    return this.#runs(`/devices/${device.bdf}/translation?iova=${hex(iova)}&length=${length}`, iova);
  }

  #memory(address: number, length: number): Promise<string[]> {
    return this.#runs(`/processes/${this.process.pid}/memory-map?address=${hex(address)}&length=${length}`, address);
  }

  /** Physical pieces by their distance from the start. */
  async #runs(path: string, start: number): Promise<string[]> {
    const { items } = (await this.host.request('get', path)) as { items: Record<string, string>[] };
    return items.map(({ address, length, physical }) => `${Number(address) - start}+${Number(length)}: ${physical}`);
  }

  /** Closes everything that the process has open, and fails unless all memory is given back. */
  async closeAll(): Promise<void> {
    await this.process.kill();
    const { owners } = (await this.host.view()).memory;
    assert.deepEqual(Object.keys(owners), ['context-table']);
  }
}

export function mapArg(ioas: number, address: number, length: number, iova?: number): Arg {
  const fixed = iova === undefined ? {} : { iova: hex(iova) };
  const flags = READ_WRITE | (iova === undefined ? 0 : FIXED);
  return { flags, ioas_id: ioas, user_va: hex(address), length: hex(length), ...fixed };
}

export function allowArg(ioas: number, ranges: readonly (readonly [number, number])[]): Arg {
  const allowed_iovas = ranges.map(([start, last]) => ({ start: hex(start), last: hex(last) }));
  return { ioas_id: ioas, num_iovas: ranges.length, allowed_iovas };
}
