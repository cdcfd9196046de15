/**
 * Devices of the traced kernel's mock IOMMU: a function that is plugged in behind the host's unit, and a process of the
 * replayer's own that opens, binds and attaches it, as a VMM would.
 */
import { ReplayError } from './api.ts';
import type { Context } from './contexts.ts';
import { pluggedBody } from './header.ts';
import type { Result, TraceHost } from './host.ts';
import type { Geometry, Json } from './trace.ts';

type Fields = { [field: string]: Json };

interface PluggedFunction {
  bdf: string;
  cdev: string;
  /** Which kind of function it is; one that is free again serves the next device of this kind. */
  kind: string;
}

export interface MockDevice {
  context: Context;
  function: PluggedFunction;
  /** Descriptor of the cdev. */
  fd: number;
  /** Object of the iommufd. */
  id: Json;
  /** On a HWPT itself, PASIDs apart. */
  attached: boolean;
}

export interface AttachCall {
  /** Process and descriptor that the trace names. */
  pid: number;
  fd: Json;
  pt: Json;
  noDirty: boolean;
  pasid: boolean;
}

const FUNCTIONS_PER_BUS = 256;
/** Flag of ATTACH and DETACH. */
const PASID = 1;
/** Types of objects that a device can be attached to. */
const ATTACHABLE = new Set(['ioas', 'hwpt-paging', 'hwpt-nested']);
/** A request that no descriptor knows: says whether one is open, without an effect. */
const UNKNOWN_REQUEST = '0x3bf0';

export class MockDevices {
  readonly #host: TraceHost;
  readonly #geometry: Geometry;
  /** The process that opens cdevs. */
  #keeper: number | undefined;
  /** The keeper's own descriptor of each iommufd. */
  readonly #descriptors = new Map<Context, number>();
  readonly #devices = new Map<string, MockDevice>();
  readonly #free: PluggedFunction[] = [];
  #plugged = 0;

  constructor(host: TraceHost, geometry: Geometry) {
    this.#host = host;
    this.#geometry = geometry;
  }

  /** `symbol` names the device in the trace. */
  get(symbol: unknown): MockDevice {
    const device = this.#devices.get(String(symbol));
    if (device === undefined) throw new ReplayError(`no device ${symbol} is attached`);
    return device;
  }

  async attach(symbol: string | null, call: AttachCall, context: Context | undefined): Promise<Result> {
    this.#keeper ??= await this.#host.startProcess('devices');
    const keeper = this.#keeper;
    if (context === undefined) {
      const request = { call: 'ioctl', fd: call.fd, request: UNKNOWN_REQUEST, arg: {} };
      return this.#host.call(call.pid, request);
    }
    const iommufd = await this.#descriptorOf(context, keeper, call);
    const plugged = await this.#plug(call);
    const fd = await this.#number(keeper, { call: 'open', path: plugged.cdev });
    const bound = await this.#ioctl(keeper, fd, 'VFIO_DEVICE_BIND_IOMMUFD', { iommufd });
    const attached = bound.errno
      ? bound
      : await this.#ioctl(keeper, fd, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { pt_id: call.pt });
    const device = { context, function: plugged, fd, id: argument(bound, 'out_devid'), attached: true };
    if (attached.errno !== undefined || symbol === null) {
      await this.#release(device);
      return attached;
    }
    this.#devices.set(symbol, device);
    return { ret: 0, arg: { dev_id: device.id, hwpt_id: argument(attached, 'pt_id') } };
  }

  replace(symbol: unknown, pt: Json): Promise<Result> {
    return this.#change(this.get(symbol), 0, pt, true);
  }

  pasidAttach(symbol: unknown, pasid: Json, pt: Json): Promise<Result> {
    return this.#change(this.get(symbol), pasid, pt, false);
  }

  pasidReplace(symbol: unknown, pasid: Json, pt: Json): Promise<Result> {
    return this.#change(this.get(symbol), pasid, pt, true);
  }

  /** PASID 0 is the device itself. */
  async pasidDetach(symbol: unknown, pasid: Json): Promise<Result> {
    const device = this.get(symbol);
    if (pasid === 0) device.attached = false;
    const arg: Fields = pasid === 0 ? {} : { size: 12, flags: PASID, pasid };
    return this.#ioctl(this.#keeper!, device.fd, 'VFIO_DEVICE_DETACH_IOMMUFD_PT', arg);
  }

  async pasidCheck(symbol: unknown, pasid: Json, hwpt: Json): Promise<Result> {
    const { context, id } = this.get(symbol);
    const fd = this.#descriptors.get(context)!;
    return this.#host.call(this.#keeper!, { call: 'pasid_check', fd, device: id, pasid, hwpt });
  }

  async detach(symbol: unknown): Promise<Result> {
    const device = this.get(symbol);
    this.#devices.delete(String(symbol));
    await this.#release(device);
    return { ret: 0 };
  }

  /** The last descriptor that the trace knows of is closed: what is left of the iommufd goes. */
  async contextClosed(context: Context): Promise<void> {
    for (const [symbol, device] of this.#devices) if (device.context === context) await this.detach(symbol);
    const fd = this.#descriptors.get(context);
    this.#descriptors.delete(context);
    if (fd !== undefined) await this.#number(this.#keeper!, { call: 'close', fd });
  }

  /** After a kexec. The functions are still there, but nothing that was opened is. */
  forget(): void {
    this.#keeper = undefined;
    this.#descriptors.clear();
    this.#devices.clear();
    this.#free.length = 0;
  }

  /** On a cdev one call attaches, or replaces; the traced kernel's calls are two. */
  async #change(device: MockDevice, pasid: Json, pt: Json, replaces: boolean): Promise<Result> {
    const attached = pasid === 0 ? device.attached : await this.#isAttached(device, pasid);
    if (attached !== replaces) return this.#refuse(device, pt, replaces ? 'EINVAL' : 'EBUSY');
    const arg: Fields = pasid === 0 ? { pt_id: pt } : { size: 16, flags: PASID, pt_id: pt, pasid };
    const result = await this.#ioctl(this.#keeper!, device.fd, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', arg);
    if (result.errno !== undefined) return result;
    if (pasid === 0) device.attached = true;
    return { ret: 0, arg: { hwpt_id: argument(result, 'pt_id') } };
  }

  async #isAttached({ context, id }: MockDevice, pasid: Json): Promise<boolean> {
    const fd = this.#descriptors.get(context)!;
    const { errno } = await this.#host.call(this.#keeper!, { call: 'pasid_check', fd, device: id, pasid, hwpt: 0 });
    return errno === 'EINVAL';
  }

  /** What the traced kernel says where the cdev would do the other thing: the HWPT is looked up before. */
  async #refuse({ context }: MockDevice, pt: Json, errno: string): Promise<Result> {
    const fd = this.#descriptors.get(context)!;
    const { objects } = await this.#host.ask('GET', `/processes/${this.#keeper}/iommufds/${fd}`);
    const target = (objects as { id: number; type: string }[]).find(({ id }) => id === pt);
    if (target === undefined) return { ret: -1, errno: 'ENOENT' };
    return { ret: -1, errno: ATTACHABLE.has(target.type) ? errno : 'EINVAL' };
  }

  /** The cdev is closed, the function is free for the next device. */
  async #release(device: MockDevice): Promise<void> {
    await this.#number(this.#keeper!, { call: 'close', fd: device.fd });
    this.#free.push(device.function);
  }

  async #descriptorOf(context: Context, keeper: number, { pid, fd }: AttachCall): Promise<number> {
    const known = this.#descriptors.get(context);
    if (known !== undefined) return known;
    const sent = await this.#number(pid, { call: 'send_fd', fd, to: keeper });
    this.#descriptors.set(context, sent);
    return sent;
  }

  async #plug({ noDirty, pasid }: AttachCall): Promise<PluggedFunction> {
    const kind = JSON.stringify({ noDirty, pasid });
    const free = this.#free.findIndex((candidate) => candidate.kind === kind);
    if (free >= 0) return this.#free.splice(free, 1)[0]!;
    const number = this.#plugged++;
    const bus = Math.floor(number / FUNCTIONS_PER_BUS) + 1;
    const devfn = number % FUNCTIONS_PER_BUS;
    const bdf = `0000:${twoDigits(bus)}:${twoDigits(devfn >> 3)}.${devfn & 7}`;
    const view = await this.#host.ask('POST', '/devices', pluggedBody(this.#geometry, bdf, { noDirty, pasid }));
    return { bdf, cdev: String(view.cdev), kind };
  }

  async #ioctl(pid: number, fd: number, request: string, arg: Fields): Promise<Result> {
    return this.#host.call(pid, { call: 'ioctl', fd, request, arg });
  }

  /** A call that has to succeed. */
  async #number(pid: number, call: { call: string; [parameter: string]: Json }): Promise<number> {
    const result = await this.#host.call(pid, call);
    if (result.errno !== undefined)
      throw new ReplayError(`${JSON.stringify(call)} on behalf of a device: ${JSON.stringify(result)}`);
    return result.ret as number;
  }
}

const twoDigits = (value: number): string => value.toString(16).padStart(2, '0');

function argument(result: Result, field: string): Json {
  return (result.arg as Fields | undefined)?.[field] ?? null;
}
