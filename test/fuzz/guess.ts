/** What is probably there: ids that answers have told, and what ids are like where none has. */
import type { Random } from '../crash/random.ts';

/** By the name of a field or parameter: which ids it takes. */
const TAKES: Record<string, string> = {
  pid: 'pid',
  fd: 'fd',
  access: 'fd',
  iommufd: 'fd',
  container: 'fd',
  eventfd: 'fd',
  eventfds: 'fd',
  bdf: 'bdf',
  group: 'group',
  ioas: 'object',
  sourceIoas: 'object',
  pageTable: 'object',
  hwpt: 'object',
  object: 'object',
  device: 'object',
  viommu: 'object',
  faultQueue: 'object',
  ioas_id: 'object',
  dst_ioas_id: 'object',
  src_ioas_id: 'object',
  hwpt_id: 'object',
  pt_id: 'object',
  dev_id: 'object',
  viommu_id: 'object',
  fault_id: 'object',
  object_id: 'object',
  id: 'object',
  address: 'address',
  addr: 'address',
  userVa: 'address',
  user_va: 'address',
  vaddr: 'address',
  iova: 'iova',
  src_iova: 'iova',
  dst_iova: 'iova',
  sourceIova: 'iova',
  length: 'length',
  size: 'length',
  oldLength: 'length',
  newLength: 'length',
  offset: 'offset',
  start: 'offset',
  token: 'token',
  fault: 'small',
  pin: 'small',
  bar: 'small',
  region: 'small',
  irq: 'small',
  index: 'small',
  extension: 'small',
  feature: 'small',
  pasid: 'small',
  driver: 'driver',
  path: 'path',
  capabilities: 'capabilities',
  preset: 'preset',
};

const USUAL: Record<string, readonly unknown[]> = {
  pid: [1, 2],
  fd: [0, 1, 2, 3, 4, 5, 6, 7, 8],
  bdf: ['0000:01:00.0', '0000:02:00.0', '0000:03:00.0', '0000:04:00.0'],
  group: [0, 1, 2, 3],
  object: [1, 2, 3, 4, 5, 6],
  address: ['0x7f0000000000', '0x7f0000001000', '0x7f0000200000'],
  iova: ['0x100000000', '0x100001000', '0x100200000', '0x1000', '0x0'],
  length: ['0x1000', '0x2000', '0x10000', '0x200000', 4096, 1],
  offset: ['0x0', 0, '0x1000', 8],
  token: [1, 2, 3, '0x7'],
  small: [0, 1, 2, 3, 5, 7],
  driver: ['vfio-pci', 'vfio-pci', 'nvme', 'pci-stub'],
  path: [
    '/dev/iommu',
    '/dev/iommu',
    '/dev/vfio/devices/vfio0',
    '/dev/vfio/devices/vfio1',
    '/dev/vfio/vfio',
    '/dev/vfio/1',
    '/dev/liveupdate',
    '/dev/null',
  ],
  preset: ['vmm-lab', 'vmm-lab', 'mock'],
};

/** What answers tell, by the name of the field. */
const TELLS: Record<string, string> = {
  pid: 'pid',
  fd: 'fd',
  ret: 'fd',
  bdf: 'bdf',
  ioas: 'object',
  hwpt: 'object',
  device: 'object',
  id: 'object',
  out_ioas_id: 'object',
  out_hwpt_id: 'object',
  out_devid: 'object',
  out_viommu_id: 'object',
  out_fault_id: 'object',
  address: 'address',
};
/** So many of a kind are remembered. */
const MOST = 6;
/** Longer answers are lists of what is known. */
const LONGEST = 20_000;

export class Guess {
  readonly #random: Random;
  #host = 'h-none';
  readonly #known = new Map<string, unknown[]>();

  constructor(random: Random) {
    this.#random = random;
  }

  /** Another host: of what was known nothing holds. */
  moveTo(host: string): void {
    this.#host = host;
    this.#known.clear();
  }

  get host(): string {
    return this.#host;
  }

  /** Undefined where nothing is known of such a name. */
  of(name: string): unknown {
    const random = this.#random;
    if (name === 'host') return random.chance(0.01) ? 'h-abcdefghijklmnop' : this.#host;
    const kind = TAKES[name];
    if (kind === undefined) return undefined;
    const known = this.#known.get(kind);
    return random.pick(known !== undefined && random.chance(0.7) ? known : (USUAL[kind] ?? []));
  }

  learn(text: string): void {
    if (text.length <= LONGEST) this.#walk(JSON.parse(text));
  }

  #walk(value: unknown): void {
    if (typeof value !== 'object' || value === null) return;
    for (const [name, one] of Object.entries(value)) {
      if (typeof one === 'object') this.#walk(one);
      const kind = TELLS[name];
      const is = kind === 'bdf' || kind === 'address' ? typeof one === 'string' : typeof one === 'number' && one >= 0;
      if (kind !== undefined && is) this.#note(kind, one);
    }
  }

  #note(kind: string, value: unknown): void {
    const known = this.#known.get(kind) ?? [];
    if (known.includes(value)) return;
    known.push(value);
    this.#known.set(kind, known.slice(-MOST));
  }
}
