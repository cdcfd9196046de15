/** A host without service around it, as a tenant has it who means no good: calls by the thousand, as one command each. */
import type { CallInput, CallResult, Command, HostQuery } from '../../src/host/command.ts';
import { Host } from '../../src/host/host.ts';
import { buildHostSpec, type HostRequest } from '../../src/host/host-spec.ts';

/** Where its memory and the IOVAs of its mappings begin. */
export const MEMORY = 2 ** 40;
export const IOVA = 2 ** 32;
export const PAGE = 4096;
/** FIXED_IOVA, WRITEABLE, READABLE. */
export const FIXED = 7;

export const hex = (value: number): string => `0x${value.toString(16)}`;

/** An item for each number from 0 on. */
export const times = <T>(count: number, item: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => item(index));

/** Numbers from 0 to `count` - 1 in an order that is always the same and no order at all. */
export function mixed(count: number): number[] {
  const numbers = times(count, (index) => index);
  let seed = 7;
  for (let left = count - 1; left > 0; left--) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const other = Math.floor((seed / 2 ** 32) * (left + 1));
    [numbers[left], numbers[other]] = [numbers[other]!, numbers[left]!];
  }
  return numbers;
}

/** The description of `count` functions, 256 a bus. */
export function functions(count: number, of: (index: number) => Record<string, unknown> = () => ({})) {
  return times(count, (index) => {
    const byte = (value: number): string => value.toString(16).padStart(2, '0');
    const bdf = `0000:${byte((index >> 8) + 1)}:${byte((index >> 3) & 31)}.${index & 7}`;
    return { bdf, driver: 'vfio-pci', ...of(index) };
  });
}

export function makeHost(request: Record<string, unknown>): Host {
  const built = buildHostSpec({ memory: hex(2 ** 36), ...request } as HostRequest);
  if ('errors' in built) throw new Error(JSON.stringify(built.errors.slice(0, 3)));
  const host = new Host(built.spec);
  if (host.refusal) throw new Error(JSON.stringify(host.refusal).slice(0, 500));
  return host;
}

export class Tenant {
  readonly host: Host;
  readonly pid: number;

  constructor(request: Record<string, unknown> | Host = {}) {
    this.host = request instanceof Host ? request : makeHost({ devices: functions(1), ...request });
    this.pid = this.process();
  }

  execute(command: Command): unknown {
    const { answer } = this.host.execute(command);
    if (answer.kind !== 'ok') throw new Error(`${command.op}: ${JSON.stringify(answer).slice(0, 500)}`);
    return answer.value;
  }

  query(query: HostQuery): unknown {
    const answer = this.host.query(query);
    if (answer.kind !== 'ok') throw new Error(JSON.stringify(answer).slice(0, 500));
    return answer.value;
  }

  process(): number {
    return (this.execute({ op: 'process.create' }) as { pid: number }).pid;
  }

  /** Makes calls, all of which have to succeed. */
  calls(calls: CallInput[]): CallResult[] {
    const { results } = this.execute({ op: 'calls', pid: this.pid, calls }) as { results: CallResult[] };
    const at = results.findIndex(({ errno }) => errno !== undefined);
    if (at >= 0) throw new Error(`${JSON.stringify(calls[at])}: ${JSON.stringify(results[at])}`.slice(0, 500));
    return results;
  }

  call(call: CallInput): CallResult {
    return this.calls([call])[0]!;
  }

  ioctl(fd: number, request: string, arg: Record<string, unknown> = {}): Record<string, unknown> {
    return (this.call(ioctl(fd, request, arg)).arg ?? {}) as Record<string, unknown>;
  }

  open(path: string): number {
    return Number(this.call({ call: 'open', path }).ret);
  }

  /** Memory from MEMORY on. */
  memory(pages: number): void {
    this.call({ call: 'mmap', addr: hex(MEMORY), length: pages * PAGE });
  }
}

export const ioctl = (fd: number, request: string, arg: Record<string, unknown> = {}): CallInput =>
  ({ call: 'ioctl', fd, request, arg }) as CallInput;

/** A tenant with an iommufd and an IOAS. */
export class Vmm extends Tenant {
  readonly fd: number;
  readonly ioas: number;

  constructor(request: Record<string, unknown> | Host = {}, node = '/dev/iommu') {
    super(request);
    this.fd = this.open(node);
    this.ioas = this.makeIoas();
  }

  makeIoas(): number {
    return Number(this.ioctl(this.fd, 'IOMMU_IOAS_ALLOC', { flags: 0 }).out_ioas_id);
  }

  /** Opens a device and binds it. Returns its descriptor and its id. */
  bind(index = 0): { cdev: number; device: number } {
    const cdev = this.open(`/dev/vfio/devices/vfio${index}`);
    const bound = this.ioctl(cdev, 'VFIO_DEVICE_BIND_IOMMUFD', { argsz: 16, flags: 0, iommufd: this.fd });
    return { cdev, device: Number(bound.out_devid) };
  }

  attach(cdev: number, to = this.ioas): void {
    this.ioctl(cdev, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { argsz: 12, flags: 0, pt_id: to });
  }

  makeHwpt(device: number, to = this.ioas, more: Record<string, unknown> = {}): number {
    return Number(this.ioctl(this.fd, 'IOMMU_HWPT_ALLOC', hwptArg(device, to, more)).out_hwpt_id);
  }

  map(page: number, of = page, more: Record<string, unknown> = {}): CallInput {
    const arg = { flags: FIXED, ioas_id: this.ioas, user_va: hex(MEMORY + of * PAGE), length: PAGE, ...more };
    return ioctl(this.fd, 'IOMMU_IOAS_MAP', { iova: hex(IOVA + page * PAGE), ...arg });
  }

  unmap(page: number): CallInput {
    return ioctl(this.fd, 'IOMMU_IOAS_UNMAP', { ioas_id: this.ioas, iova: hex(IOVA + page * PAGE), length: PAGE });
  }

  unmapAll(): CallInput {
    return ioctl(this.fd, 'IOMMU_IOAS_UNMAP', { ioas_id: this.ioas, iova: 0, length: '0xffffffffffffffff' });
  }

  /** Maps `count` pages with as much room between them, each an area of its own. */
  mapPages(count: number): void {
    this.memory(count);
    this.calls(times(count, (index) => this.map(index * 2, index)));
  }
}

export const hwptArg = (device: number, to: number, more: Record<string, unknown> = {}) => ({
  flags: 0,
  dev_id: device,
  pt_id: to,
  ...more,
});

export const GENERIC = {
  iommus: [{ kind: 'generic', aperture: { start: '0x0', last: '0xffffffffffff' }, pageSizes: ['0x1000', '0x200000'] }],
};
/** Driver data of a nested HWPT. */
export const NESTED = { data_type: 0xdead, data_len: 4, data: 'AAAAAA==' };

/** What is done, at a size that is given: setting it up is not measured, but what comes out of that is. */
export interface Shape {
  name: string;
  /** The smaller size; the larger is four times that. */
  n: number;
  make(n: number): () => unknown;
}
