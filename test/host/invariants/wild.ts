/**
 * Whatever can be asked of a host, in any order: calls, hot plug, drivers, faults, live updates, crashes. It looks into
 * the host to ask for what is there, most of the time.
 */
import type { Answer, Command } from '../../../src/host/command.ts';
import { Host } from '../../../src/host/host.ts';
import { buildHostSpec, type HostRequest } from '../../../src/host/host-spec.ts';
import { FAULT_POINTS, type FaultPoint } from '../../../src/kernel/faults.ts';
import type { OpenFile } from '../../../src/kernel/file.ts';
import { IommufdContext } from '../../../src/kernel/iommufd/context.ts';
import type { ObjectType } from '../../../src/kernel/iommufd/objects.ts';
import { POLICY_VALUES } from '../../../src/kernel/policies.ts';
import type { Process } from '../../../src/kernel/process.ts';
import type { CallInput } from '../../../src/kernel/uapi/calls.ts';
import { withEarlier, withHazards } from '../../../src/lanes/hazards.ts';
import type { Random } from '../../crash/random.ts';

export const PAGE = 4096;
const MEMORY = 0x7f0000000000;
export const IOVA = 0x1000000;
const HUGE = 0x200000;
const DRIVERS = ['vfio-pci', 'nvme', 'pci-stub'] as const;
const DRIVER_DATA = Buffer.from(Uint32Array.from([7, 0, 0, 0, 0, 0]).buffer).toString('base64');
const MOST_PROCESSES = 2;
const NO_FD = 999;

/** Groups of one and of two, with and without PASIDs; behind a VMD; two kinds of IOMMU. */
export const FUNCTIONS = [
  { bdf: '0000:01:00.0', iommu: 'mock0', group: 0, pasid: true },
  { bdf: '0000:02:00.0', iommu: 'mock0', group: 1 },
  { bdf: '0000:03:00.0', iommu: 'mock0', group: 2, pasid: true },
  { bdf: '0000:03:00.1', iommu: 'mock0', group: 2 },
  { bdf: '0000:04:00.0', iommu: 'vtd0', group: 3 },
  { bdf: '10000:00:00.0', iommu: 'vtd0', group: 3, realDmaDevice: '0000:04:00.0' },
  { bdf: '0000:05:00.0', iommu: 'vtd0', group: 4 },
];

export class Wild {
  /** What it was made from, and the host. */
  readonly body: HostRequest;
  readonly host: Host;
  readonly #random: Random;
  /** What is to be asked for next, now and then. */
  #plan: ((process: Process) => Command)[] = [];
  /** How often something ends that others build on. */
  readonly #unrest: number;
  readonly #plans: number;

  /** `plans`: how often something is begun that leads somewhere, where nothing is for ever. */
  constructor(random: Random, plans = 0.01) {
    this.#random = random;
    this.#plans = plans;
    this.#unrest = random.pick([0, 0.2, 1])!;
    const pick = <T>(list: readonly T[]): T => random.pick(list)!;
    const policies = Object.fromEntries(
      Object.entries(POLICY_VALUES).map(([name, values]) => [name, pick<unknown>(values)]),
    );
    const body = {
      memory: '0x10000000',
      policies,
      iommus: [
        { id: 'mock0', kind: 'generic', nesting: true, dirtyTracking: true, maxPasidLog2: 20 },
        { id: 'vtd0', kind: 'intel-vtd', dirtyTracking: random.chance(0.5), nesting: random.chance(0.5) },
      ],
      devices: FUNCTIONS.map((fn) => ({ ...fn, driver: random.chance(0.7) ? 'vfio-pci' : null })),
    };
    this.body = body as HostRequest;
    const built = buildHostSpec(this.body);
    if ('errors' in built) throw new Error(JSON.stringify(built.errors));
    this.host = new Host(built.spec);
  }

  /** Whether something leads somewhere, if not too much comes in between. */
  get hasPlan(): boolean {
    return this.#plan.length > 0;
  }

  /** Executes something; returns what. */
  step(): Command {
    const command = this.next();
    this.execute(command);
    return command;
  }

  /** A freeze goes on to the boot of the next kernel; the answer is that of the boot then. */
  execute(command: Command): Answer {
    const { answer, records, events } = this.host.execute(command);
    const told = withHazards(answer, 0, events);
    for (const record of records)
      if (record.kind === 'handover')
        return withEarlier(this.execute({ op: 'kexec.boot', handover: record.text }), told);
    return told;
  }

  /** What could be asked next. */
  next(): Command {
    const random = this.#random;
    const { kernel } = this.host;
    const process = random.pick([...(kernel?.processes.values() ?? [])]);
    if (!kernel || (this.host.state !== 'running' && random.chance(0.2))) return { op: 'reset' };
    if (!process) return { op: 'process.create', ...(random.chance(0.5) && { capabilities: ['CAP_SYS_RESOURCE'] }) };
    if (this.#plan.length === 0 && random.chance(this.#plans * this.#unrest)) this.#plan = this.#planOf(process);
    if (this.#plan.length > 0 && random.chance(0.7)) return this.#plan.shift()!(process);
    const bdf = random.pick([...this.host.machine.functions.keys()]) ?? FUNCTIONS[0]!.bdf;
    const pid = process.pid;
    return random.weighted<() => Command>([
      [160, () => ({ op: 'calls', pid, calls: [this.call(process)] })],
      [kernel.processes.size < MOST_PROCESSES ? 2 : 0, () => ({ op: 'process.create' })],
      [this.#unrest, () => ({ op: 'process.kill', pid })],
      [2, () => ({ op: 'driver.bind', bdf, driver: random.pick(DRIVERS)! })],
      [this.#unrest, () => ({ op: 'driver.unbind', bdf })],
      [this.#unrest, () => ({ op: 'device.remove', bdf })],
      [2, () => this.#plugIn(bdf)],
      [1, () => ({ op: 'group.type', group: random.below(5), type: random.pick(['DMA', 'DMA-FQ', 'identity'])! })],
      [
        2,
        () => ({
          op: 'fault.arm',
          point: random.pick(Object.keys(FAULT_POINTS) as FaultPoint[])!,
          nth: random.between(1, 4),
        }),
      ],
      [
        4,
        () => ({
          op: 'device.dma',
          bdf,
          accesses: [{ op: 'write', iova: `0x${this.#iova().toString(16)}`, length: 64 }],
        }),
      ],
      [
        this.#unrest,
        () => ({ op: 'kexec.freeze', mode: random.chance(0.9) ? 'live-update' : 'plain', image: 'loaded' }),
      ],
      [this.#unrest / 10, () => ({ op: 'crash' })],
    ])();
  }

  /** What leads somewhere: a VMM that is handed over, and what comes of it in the next kernel. */
  #planOf({ pid }: Process): ((process: Process) => Command)[] {
    const random = this.#random;
    const { bdf } = random.pick(FUNCTIONS)!;
    const calls = (make: (process: Process) => CallInput) => (): Command => {
      const process = this.host.kernel?.processes.get(pid);
      return process ? { op: 'calls', pid, calls: [make(process)] } : { op: 'process.create' };
    };
    const ioctl = (
      kind: OpenFile['kind'],
      request: string,
      arg: (process: Process) => Record<string, string | number>,
    ) => calls((process) => this.#ioctl(this.#fd(process, kind), request, arg(process)));
    const idOf = (process: Process, ...types: ObjectType[]): number =>
      this.#id(process.descriptors.get(this.#fd(process, 'iommufd')), ...types);
    const name = `vm${random.below(2)}`;
    const open = (path: string) => calls(() => ({ call: 'open', path }));
    const cdev = calls(() => {
      const device = this.host.kernel!.vfio.devices.get(bdf);
      return { call: 'open', path: device?.path ?? '/dev/null' };
    });
    const bind = ioctl('vfio-cdev', 'VFIO_DEVICE_BIND_IOMMUFD', (process) => ({
      iommufd: this.#fd(process, 'iommufd'),
    }));
    const attach = ioctl('vfio-cdev', 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', (process) => ({
      pt_id: idOf(process, 'hwpt-paging', 'ioas'),
    }));
    const map = ioctl('iommufd', 'IOMMU_IOAS_MAP_FILE', (process) => ({
      flags: 7,
      ioas_id: idOf(process, 'ioas'),
      fd: this.#fd(process, 'memfd'),
      start: 0,
      length: 16 * PAGE,
      iova: IOVA,
    }));
    const hwpt = ioctl('iommufd', 'IOMMU_HWPT_ALLOC', (process) => ({
      flags: random.pick([0, 0, 2])!,
      dev_id: idOf(process, 'device'),
      pt_id: idOf(process, 'ioas'),
    }));
    const preserve = (kind: OpenFile['kind'], token: number) =>
      ioctl('session', 'LIVEUPDATE_SESSION_PRESERVE_FD', (process) => ({ fd: this.#fd(process, kind), token }));
    const retrieve = (token: number) => ioctl('session', 'LIVEUPDATE_SESSION_RETRIEVE_FD', () => ({ token }));
    return [
      () => ({ op: 'driver.bind', bdf, driver: 'vfio-pci' }),
      calls(() => ({ call: 'memfd_create', name: 'ram', flags: 2, size: 16 * PAGE })),
      calls((process) => ({ call: 'add_seals', fd: this.#fd(process, 'memfd'), seals: 7 })),
      open('/dev/iommu'),
      cdev,
      bind,
      ioctl('iommufd', 'IOMMU_IOAS_ALLOC', () => ({})),
      map,
      hwpt,
      attach,
      open('/dev/liveupdate'),
      ioctl('liveupdate', 'LIVEUPDATE_IOCTL_CREATE_SESSION', () => ({ name })),
      ioctl('iommufd', 'IOMMU_HWPT_LU_SET_PRESERVE', (process) => ({
        hwpt_id: idOf(process, 'hwpt-paging'),
        token: 1,
      })),
      preserve('memfd', 1),
      preserve('iommufd', 2),
      preserve('vfio-cdev', 3),
      () => ({ op: 'kexec.freeze', mode: 'live-update', image: 'loaded' }),
      () => ({ op: 'process.create' }),
      () => ({ op: 'driver.bind', bdf, driver: 'vfio-pci' }),
      open('/dev/liveupdate'),
      ioctl('liveupdate', 'LIVEUPDATE_IOCTL_RETRIEVE_SESSION', () => ({ name })),
      ...[1, 2, 3].map(retrieve),
      ...(random.chance(0.3) ? [(): Command => ({ op: 'device.remove', bdf })] : []),
      bind,
      ioctl('iommufd', 'IOMMU_IOAS_ALLOC', () => ({})),
      map,
      hwpt,
      attach,
      ioctl('iommufd', 'IOMMU_DESTROY', (process) => ({ id: idOf(process, 'hwpt-paging') })),
      ioctl('session', 'LIVEUPDATE_SESSION_FINISH', () => ({})),
    ];
  }

  /** A function that was taken out, or one that is there. */
  #plugIn(there: string): Command {
    const gone = this.host.spec.machine.functions.filter(({ bdf }) => !this.host.machine.functions.has(bdf));
    const spec = this.#random.pick(gone) ?? this.host.machine.functions.get(there)!.spec;
    return { op: 'device.add', device: { ...spec, driver: this.#random.chance(0.5) ? 'vfio-pci' : null } };
  }

  #iova(): number {
    const page = this.#random.below(this.#random.chance(0.4) ? 4 : 48);
    return IOVA + page * PAGE + (this.#random.chance(0.1) ? 0x800 : 0);
  }

  #length(): number {
    return this.#random.weighted([
      [10, PAGE * this.#random.between(1, 6)],
      [1, PAGE / 2],
      [1, HUGE],
    ]);
  }

  #count(process: Process, kind: OpenFile['kind']): number {
    return [...process.descriptors.values()].filter((file) => file.kind === kind).length;
  }

  #fd(process: Process, kind?: OpenFile['kind']): number {
    const fds = [...process.descriptors].filter(([, file]) => kind === undefined || file.kind === kind);
    // Of iommufds that one where something is, most of the time.
    const rich = fds.find(([, file]) => file instanceof IommufdContext && !file.objects.empty);
    if (rich && this.#random.chance(0.8)) return rich[0];
    // A file that is no memfd can be mapped until somebody looks: an iommufd that maps itself is never released, as in Linux.
    return this.#random.pick(fds)?.[0] ?? (kind === 'memfd' ? NO_FD : this.#random.below(12));
  }

  /** An object of an iommufd: of a type, if there is one. */
  #id(file: OpenFile | undefined, ...types: ObjectType[]): number {
    if (!(file instanceof IommufdContext) || this.#random.chance(0.03)) return this.#random.between(1, 12);
    const objects = [...file.objects.visible()].filter(({ type }) => types.length === 0 || types.includes(type));
    return this.#random.pick(objects)?.id ?? this.#random.between(1, 12);
  }

  call(process: Process): CallInput {
    const random = this.#random;
    const memfd = this.#fd(process, 'memfd');
    const addr = MEMORY + random.below(3) * 2 * HUGE;
    return random.weighted<() => CallInput>([
      [this.#count(process, 'iommufd') < 2 ? 6 : 0.1, () => ({ call: 'open', path: '/dev/iommu' })],
      [6, () => ({ call: 'open', path: `/dev/vfio/devices/vfio${random.below(7)}` })],
      [2, () => ({ call: 'open', path: `/dev/vfio/${random.below(5)}` })],
      [this.#count(process, 'liveupdate') < 1 ? 3 : 0.1, () => ({ call: 'open', path: '/dev/liveupdate' })],
      [1, () => ({ call: 'open', path: `/proc/self/fd/${memfd}` })],
      [1 + 3 * this.#unrest, () => ({ call: 'close', fd: this.#fd(process) })],
      [2, () => ({ call: 'dup', fd: this.#fd(process) })],
      [
        2,
        () => ({ call: 'send_fd', fd: this.#fd(process), to: random.pick([...this.host.kernel!.processes.keys()])! }),
      ],
      [
        3,
        () => ({
          call: 'mmap',
          addr,
          length: random.pick([8 * PAGE, HUGE])!,
          ...(random.chance(0.3) && { huge: '2M' }),
        }),
      ],
      [
        2,
        () => ({
          call: 'mmap',
          addr,
          length: 4 * PAGE,
          fd: memfd,
          shared: random.chance(0.7),
          prot: random.pick([1, 3])!,
        }),
      ],
      [
        1,
        () => ({ call: 'mmap', addr, length: 2 * PAGE, fd: this.#fd(process, 'iommufd'), offset: PAGE, shared: true }),
      ],
      [1, () => ({ call: 'munmap', addr: addr + random.below(3) * PAGE, length: random.between(1, 8) * PAGE })],
      [
        5,
        () => ({
          call: 'memfd_create',
          name: 'ram',
          flags: random.weighted([
            [8, 2],
            [1, 6],
          ]),
          size: random.chance(0.8) ? 16 * PAGE : HUGE,
        }),
      ],
      [
        3,
        () => ({
          call: 'add_seals',
          fd: memfd,
          seals: random.weighted([
            [4, 7],
            [1, 8],
            [1, 6],
          ]),
        }),
      ],
      [1, () => ({ call: 'ftruncate', fd: memfd, length: random.below(20) * PAGE })],
      [
        1,
        () => ({
          call: 'fallocate',
          fd: memfd,
          mode: random.pick([0, 1, 3])!,
          offset: random.below(8) * PAGE,
          length: random.between(1, 20) * PAGE,
        }),
      ],
      [1, () => ({ call: 'setrlimit', memlock: random.pick([8, 64, 4096])! * PAGE })],
      [70, () => this.#iommufd(process, memfd)],
      [30, () => this.#vfio(process)],
      [22, () => this.#liveupdate(process, memfd)],
    ])();
  }

  #ioctl(fd: number, request: string, arg: Record<string, string | number>): CallInput {
    return { call: 'ioctl', fd, request, arg };
  }

  #iommufd(process: Process, memfd: number): CallInput {
    const random = this.#random;
    const fd = this.#fd(process, 'iommufd');
    const file = process.descriptors.get(fd);
    const ioctl = (request: string, arg: Record<string, string | number>): CallInput => this.#ioctl(fd, request, arg);
    const ioas_id = this.#id(file, 'ioas');
    const dev_id = this.#id(file, 'device');
    const flags = random.weighted([
      [8, 7],
      [2, 6],
      [1, 3],
    ]);
    const map = { flags, ioas_id, iova: this.#iova(), length: this.#length() };
    const offset = random.chance(0.1) ? 0x800 : 0;
    const nested = { data_type: 0xdead, data_len: 4, data: DRIVER_DATA };
    const access = { fd, access: this.#fd(process, 'access') };
    return random.weighted<() => CallInput>([
      [5, () => ioctl('IOMMU_IOAS_ALLOC', {})],
      [
        14,
        () =>
          ioctl('IOMMU_IOAS_MAP', {
            ...map,
            user_va: MEMORY + random.below(3) * 2 * HUGE + random.below(8) * PAGE + offset,
          }),
      ],
      [10, () => ioctl('IOMMU_IOAS_MAP_FILE', { ...map, fd: memfd, start: random.below(8) * PAGE + offset })],
      [
        6,
        () =>
          ioctl('IOMMU_IOAS_COPY', {
            flags,
            dst_ioas_id: this.#id(file, 'ioas'),
            src_ioas_id: ioas_id,
            length: random.between(1, 3) * PAGE,
            src_iova: this.#iova(),
            dst_iova: this.#iova(),
          }),
      ],
      [6, () => ioctl('IOMMU_IOAS_UNMAP', { ioas_id, iova: this.#iova(), length: random.between(1, 24) * PAGE })],
      [1, () => ioctl('IOMMU_IOAS_UNMAP', { ioas_id, iova: 0, length: '0xffffffffffffffff' })],
      [6, () => ioctl('IOMMU_DESTROY', { id: this.#id(file) })],
      [10, () => ioctl('IOMMU_HWPT_ALLOC', { flags: random.pick([0, 1, 1, 2, 8, 8])!, dev_id, pt_id: ioas_id })],
      [
        3,
        () =>
          ioctl('IOMMU_HWPT_ALLOC', {
            flags: random.pick([0, 4])!,
            dev_id,
            pt_id: this.#id(file, 'viommu', 'hwpt-paging'),
            fault_id: this.#id(file, 'fault'),
            ...nested,
          }),
      ],
      [
        2,
        () =>
          ioctl('IOMMU_HWPT_SET_DIRTY_TRACKING', { hwpt_id: this.#id(file, 'hwpt-paging'), flags: random.below(2) }),
      ],
      [1, () => ioctl('IOMMU_OPTION', { option_id: 1, op: 0, object_id: ioas_id, val64: random.below(2) })],
      [1, () => ioctl('IOMMU_OPTION', { option_id: 0, op: 0, val64: random.below(2) })],
      [1, () => ioctl('IOMMU_IOAS_CHANGE_PROCESS', {})],
      [1, () => ioctl('IOMMU_VFIO_IOAS', { op: random.below(3), ioas_id })],
      [
        2,
        () =>
          ioctl('VFIO_IOMMU_MAP_DMA', { argsz: 32, flags: 3, vaddr: MEMORY, iova: this.#iova(), size: this.#length() }),
      ],
      [2, () => ioctl('VFIO_IOMMU_UNMAP_DMA', { argsz: 24, flags: 0, iova: this.#iova(), size: this.#length() })],
      [1, () => ioctl('VFIO_SET_IOMMU', { type: random.pick([1, 3])! })],
      [2, () => ioctl('IOMMU_FAULT_QUEUE_ALLOC', {})],
      [
        3,
        () =>
          ioctl('IOMMU_VIOMMU_ALLOC', {
            type: 0xdeadbeef,
            dev_id,
            hwpt_id: this.#id(file, 'hwpt-paging'),
            ...(random.chance(0.5) && { data_len: 24, data: DRIVER_DATA }),
          }),
      ],
      [
        2,
        () => ioctl('IOMMU_VDEVICE_ALLOC', { viommu_id: this.#id(file, 'viommu'), dev_id, virt_id: random.below(3) }),
      ],
      [
        2,
        () => ioctl('IOMMU_VEVENTQ_ALLOC', { viommu_id: this.#id(file, 'viommu'), type: 0xbeefbeef, veventq_depth: 2 }),
      ],
      [
        2,
        () =>
          ioctl('IOMMU_HW_QUEUE_ALLOC', {
            viommu_id: this.#id(file, 'viommu'),
            type: 0xdeadbeef,
            index: random.below(2),
            nesting_parent_iova: this.#iova(),
            length: PAGE,
          }),
      ],
      [3, () => ({ call: 'access_create', fd, ioas: ioas_id, pin: random.chance(0.8) })],
      [
        4,
        () => ({
          call: 'access_pin',
          ...access,
          iova: this.#iova(),
          length: random.between(1, 3) * PAGE,
          write: random.chance(0.5),
        }),
      ],
      [2, () => ({ call: 'access_unpin', ...access, pin: random.below(3) })],
      [1, () => ({ call: 'access_replace', ...access, ioas: ioas_id })],
      [1, () => ({ call: 'access_rw', ...access, iova: this.#iova(), length: 100, write: false })],
      [1, () => ({ call: 'page_fault', fd, device: dev_id, pasid: random.below(3), grpid: 1, perm: 1, addr: 0 })],
      [1, () => ({ call: 'trigger_event', fd, device: dev_id })],
      [
        1,
        () => ({
          call: 'read',
          fd: this.#fd(process, random.pick(['fault-queue', 'event-queue'] as const)),
          length: 80,
        }),
      ],
      [
        1,
        () => ({
          call: 'write',
          fd: this.#fd(process, 'fault-queue'),
          length: 8,
          responses: [{ cookie: random.between(1, 2), code: 0 }],
        }),
      ],
    ])();
  }

  #vfio(process: Process): CallInput {
    const random = this.#random;
    const fd = this.#fd(process, 'vfio-cdev');
    const group = this.#fd(process, 'vfio-group');
    const iommufd = this.#fd(process, 'iommufd');
    const pt_id = this.#id(process.descriptors.get(iommufd), 'ioas', 'hwpt-paging', 'hwpt-nested');
    const pasid = { size: 16, flags: 1, pasid: random.below(3) };
    return random.weighted<() => CallInput>([
      [10, () => this.#ioctl(fd, 'VFIO_DEVICE_BIND_IOMMUFD', { iommufd })],
      [12, () => this.#ioctl(fd, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { pt_id })],
      [3, () => this.#ioctl(fd, 'VFIO_DEVICE_DETACH_IOMMUFD_PT', {})],
      [3, () => this.#ioctl(fd, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { ...pasid, pt_id })],
      [1, () => this.#ioctl(fd, 'VFIO_DEVICE_DETACH_IOMMUFD_PT', pasid)],
      [1, () => this.#ioctl(fd, 'VFIO_DEVICE_RESET', {})],
      [3, () => this.#ioctl(group, 'VFIO_GROUP_SET_CONTAINER', { container: iommufd })],
      [1, () => this.#ioctl(group, 'VFIO_GROUP_UNSET_CONTAINER', {})],
      [3, () => this.#ioctl(group, 'VFIO_GROUP_GET_DEVICE_FD', { name: random.pick(FUNCTIONS)!.bdf })],
    ])();
  }

  #liveupdate(process: Process, memfd: number): CallInput {
    const random = this.#random;
    const device = this.#fd(process, 'liveupdate');
    const session = this.#fd(process, 'session');
    const iommufd = this.#fd(process, 'iommufd');
    const name = `vm${random.below(2)}`;
    const fd = random.weighted([
      [3, memfd],
      [2, iommufd],
      [2, this.#fd(process, 'vfio-cdev')],
    ]);
    const file = process.descriptors.get(iommufd);
    return random.weighted<() => CallInput>([
      [2, () => this.#ioctl(device, 'LIVEUPDATE_IOCTL_CREATE_SESSION', { name })],
      [4, () => this.#ioctl(device, 'LIVEUPDATE_IOCTL_RETRIEVE_SESSION', { name })],
      [
        5,
        () =>
          this.#ioctl(iommufd, 'IOMMU_HWPT_LU_SET_PRESERVE', {
            hwpt_id: this.#id(file, 'hwpt-paging'),
            token: random.below(3),
          }),
      ],
      [1, () => this.#ioctl(iommufd, 'IOMMU_HWPT_LU_RESTORE', { token: random.below(3) })],
      [10, () => this.#ioctl(session, 'LIVEUPDATE_SESSION_PRESERVE_FD', { fd, token: random.below(12) })],
      [8, () => this.#ioctl(session, 'LIVEUPDATE_SESSION_RETRIEVE_FD', { token: random.below(12) })],
      [1, () => this.#ioctl(session, 'LIVEUPDATE_SESSION_FINISH', {})],
    ])();
  }
}
