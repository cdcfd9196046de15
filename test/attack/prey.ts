/** What attacks ask for: hosts, processes in them, and calls, in few words. */
import type { Answer, Attacker } from './attacker.ts';

/** A call of the `calls` face. */
export type Call = Record<string, unknown>;

export const KIB = 2n ** 10n;
export const MIB = 2n ** 20n;
export const GIB = 2n ** 30n;
export const TIB = 2n ** 40n;
export const PAGE = 4096n;
/** Where processes map memory, and an IOVA that every unit takes. */
export const VA = 0x1000_0000_0000n;
export const IOVA = 0x1_0000_0000n;
/** The most calls of a request. */
export const MOST_CALLS = 10_000;

export const hex = (value: bigint | number): string => `0x${value.toString(16)}`;

/** So many of what `make` makes of each number. */
export const times = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => make(index));

export const ioctl = (fd: number, request: string, arg: Call = {}): Call => ({ call: 'ioctl', fd, request, arg });

/** An attack that does not do what it is meant to proves nothing: it fails. */
class Failed extends Error {}

/** The service does not let it go on, as is its right. */
export class Refused extends Error {}

const RIGHTFUL = [403, 413, 422, 429, 503];

export function granted(answer: Answer, what: string): Record<string, unknown> {
  if (RIGHTFUL.includes(answer.status)) throw new Refused(`${what}: ${answer.status}`);
  if (answer.status < 200 || answer.status > 299)
    throw new Failed(`${what}: ${answer.status} ${answer.text.slice(0, 300)}`);
  return JSON.parse(answer.text) as Record<string, unknown>;
}

/** Refusals for want of something are what a service may do; EINVAL is a mistake of the attack. */
function meant(answer: Answer): Answer {
  const at = answer.text.indexOf('"errno":"EINVAL"');
  if (at >= 0) throw new Failed(answer.text.slice(Math.max(0, at - 100), at + 200));
  return answer;
}

/** A process of a host. */
export class Process {
  readonly attacker: Attacker;
  readonly host: string;
  readonly pid: number;

  constructor(attacker: Attacker, host: string, pid: number) {
    this.attacker = attacker;
    this.host = host;
    this.pid = pid;
  }

  get path(): string {
    return `${this.host}/processes/${this.pid}`;
  }

  async calls(calls: readonly Call[]): Promise<Answer> {
    return meant(await this.attacker.post(`${this.path}/calls`, { calls }));
  }

  /** All of them are granted, and so is each; returns what they return. */
  async do(...calls: readonly Call[]): Promise<Call[]> {
    const { results } = granted(await this.calls(calls), 'calls') as { results: Call[] };
    const refused = results.findIndex((result) => result.errno !== undefined);
    if (refused >= 0)
      throw new Failed(`${JSON.stringify(calls[refused]).slice(0, 200)}: ${JSON.stringify(results[refused])}`);
    return results;
  }

  /** In as many requests as it takes. */
  async doMany(calls: readonly Call[], atATime = MOST_CALLS): Promise<void> {
    for (let from = 0; from < calls.length && this.attacker.going; from += atATime) {
      await this.do(...calls.slice(from, from + atATime));
    }
  }
}

/** The path of a new host. */
export async function newHost(attacker: Attacker, spec: unknown = { preset: 'vmm-lab' }): Promise<string> {
  const { id } = granted(await attacker.post('/v1/hosts', spec), 'a host');
  return `/v1/hosts/${id}`;
}

export async function newProcess(attacker: Attacker, host: string): Promise<Process> {
  const { pid } = granted(await attacker.post(`${host}/processes`, { name: 'vmm' }), 'a process');
  return new Process(attacker, host, pid as number);
}

export async function alone(attacker: Attacker, spec?: unknown): Promise<Process> {
  return newProcess(attacker, await newHost(attacker, spec));
}

/** A machine with much memory and one function, behind a unit whose pages are as small as can be. */
export const largeSpec = (memory: bigint, more: Call = {}): Call => ({
  memory: hex(memory),
  iommus: [{ kind: 'intel-vtd', pageSizes: [hex(PAGE)], ...more }],
  devices: [{ bdf: '0000:01:00.0', driver: 'vfio-pci' }],
});

/** The descriptors and the IOAS of a process whose device is attached. */
export interface Attached {
  process: Process;
  cdev: number;
  iommufd: number;
  device: number;
  ioas: number;
  hwpt: number;
}

export async function attached(attacker: Attacker, spec?: unknown): Promise<Attached> {
  return attach(await alone(attacker, spec));
}

export async function attach(process: Process): Promise<Attached> {
  const [cdev, iommufd] = (await process.do(
    { call: 'open', path: '/dev/vfio/devices/vfio0' },
    { call: 'open', path: '/dev/iommu' },
  )) as [Call, Call];
  const fds = { cdev: cdev.ret as number, iommufd: iommufd.ret as number };
  const [bound, allocated] = await process.do(
    ioctl(fds.cdev, 'VFIO_DEVICE_BIND_IOMMUFD', { iommufd: fds.iommufd }),
    ioctl(fds.iommufd, 'IOMMU_IOAS_ALLOC'),
  );
  const device = (bound!.arg as { out_devid: number }).out_devid;
  const ioas = (allocated!.arg as { out_ioas_id: number }).out_ioas_id;
  const [attach] = await process.do(ioctl(fds.cdev, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { pt_id: ioas }));
  return { process, ...fds, device, ioas, hwpt: (attach!.arg as { pt_id: number }).pt_id };
}

export const mmap = (length: bigint, addr = VA, more: Call = {}): Call => ({
  call: 'mmap',
  addr: hex(addr),
  length: hex(length),
  ...more,
});

export const map = ({ iommufd, ioas }: Attached, length: bigint, iova = IOVA, va = VA): Call =>
  ioctl(iommufd, 'IOMMU_IOAS_MAP', {
    flags: 7,
    ioas_id: ioas,
    user_va: hex(va),
    length: hex(length),
    iova: hex(iova),
  });

export const unmap = ({ iommufd, ioas }: Attached, length: bigint, iova = IOVA): Call =>
  ioctl(iommufd, 'IOMMU_IOAS_UNMAP', { ioas_id: ioas, iova: hex(iova), length: hex(length) });

/** A batch of `count` pages, all of the same memory, which is the first at VA. */
export async function mapPages(target: Attached, count: number): Promise<Answer> {
  const run = { op: 'map', iova: hex(IOVA), length: 4096, count, stride: 8192, userVa: hex(VA), userVaStride: 0 };
  return meant(await target.process.attacker.post(batchPath(target), { runs: [run] }));
}

export const batchPath = ({ process, iommufd, ioas }: Attached): string =>
  `${process.path}/iommufds/${iommufd}/ioases/${ioas}/batch`;
