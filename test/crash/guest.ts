/**
 * A client that is a process on the host: memory, memfds, iommufds, a device of its own, sessions. It knows what it was
 * answered, chooses by chance what to do next, and does much that is refused. A live update ends the process; the next
 * one retrieves what was preserved.
 */
import type { CallResult } from '../../src/kernel/uapi/calls.ts';
import { batchOf, type IoasPlace, linesOf } from './batches.ts';
import { type Client, command, includes, type Operation, operation } from './operations.ts';
import type { Random } from './random.ts';

export const PAGE = 4096;
export const IOVA = 0x1_0000_0000;
/** All that is mapped is so many pages from there on. */
export const IOVA_PAGES = 2048;
const MEMORY = 0x7f00_0000_0000;
const MEMORY_BYTES = 1 << 20;
const MEMFD_PAGES = 64;

const SIZE_SEALS = 7;
const READABLE_WRITEABLE = 2 | 4;
const FIXED = 1;

interface Iommufd {
  fd: number;
  ioases: number[];
  hwpts: number[];
}

/** What a process has. */
interface Belongings {
  memory: number[];
  memfds: number[];
  iommufds: Iommufd[];
  cdev: number | null;
  /** Of the cdev in an iommufd. */
  bound: { iommufd: Iommufd; device: number } | null;
  liveupdate: number | null;
  /** `incoming`: to be retrieved from, and finished. */
  session: { fd: number; incoming: boolean } | null;
}

/** What the next process may retrieve. */
interface Luggage {
  tokens: { token: number; kind: 'memfd' | 'iommufd' | 'cdev' }[];
  hwpts: number[];
}

interface Call {
  call: Record<string, unknown>;
  learn?: (result: CallResult) => void;
}

const nothing = (): Belongings => ({
  memory: [],
  memfds: [],
  iommufds: [],
  cdev: null,
  bound: null,
  liveupdate: null,
  session: null,
});

const noLuggage = (): Luggage => ({ tokens: [], hwpts: [] });

export class Guest implements Client {
  readonly name: string;
  readonly #bdf: string;
  readonly #random: Random;
  #number = 0;
  #pid: number | null = null;
  #has = nothing();
  /** Preserved so far, and what the kernel before this one has handed over. */
  #packed = noLuggage();
  #arrived = noLuggage();
  #cdevPath: string | null;
  #token = 1;

  constructor(name: string, bdf: string, cdevPath: string | null, random: Random) {
    this.name = name;
    this.#bdf = bdf;
    this.#cdevPath = cdevPath;
    this.#random = random;
  }

  /** Another kernel runs: its processes are gone. */
  forget(liveUpdate: boolean): void {
    this.#arrived = liveUpdate ? this.#packed : noLuggage();
    this.#packed = noLuggage();
    this.#pid = null;
    this.#has = nothing();
    this.#cdevPath = null;
  }

  next(): Operation {
    if (this.#pid === null) return this.#create();
    const random = this.#random;
    if (this.#cdevPath === null && random.chance(0.2)) return this.#bindDriver();
    const choice = random.weighted([
      [300, 'calls'],
      [30, 'batch'],
      [4, 'lines'],
      [3, 'driver'],
      [3, 'kill'],
    ] as const);
    const place = this.#place();
    if (choice === 'kill') return this.#kill();
    if (choice === 'driver') return random.chance(0.5) ? this.#bindDriver() : this.#unbindDriver();
    if (choice === 'batch' && place) return batchOf(place, random);
    if (choice === 'lines' && place) return linesOf(place, random);
    return this.#calls(Array.from({ length: random.between(1, 3) }, () => this.#call()));
  }

  /** Reads what can be read without changing it. */
  inspect(): Operation | null {
    if (this.#pid === null) return null;
    return this.#calls([
      ...this.#has.memfds.map((fd) => ({ call: { call: 'pread', fd, offset: 0, length: MEMFD_PAGES * PAGE } })),
      ...this.#has.memory.map((addr) => ({ call: { call: 'peek', addr, length: MEMORY_BYTES / 8 } })),
    ]);
  }

  /** The first call names the request, and does nothing. */
  #calls(calls: Call[]): Operation {
    const tag = { call: 'open', path: `/asked/${this.name}/${this.#number++}` };
    const pid = this.#pid!;
    return operation({
      kind: 'calls',
      request: {
        method: 'POST',
        path: `/processes/${pid}/calls`,
        body: { calls: [tag, ...calls.map(({ call }) => call)] },
      },
      expects: (stored) =>
        includes(stored, { op: 'calls', pid }) && includes((stored as { calls: object[] }).calls[0]!, tag),
      learn: ({ status, body }) => {
        if (status === 404) return this.#end();
        if (status !== 200) return;
        const { results } = body as { results: CallResult[] };
        for (const [index, { learn }] of calls.entries()) {
          const result = results[index + 1]!;
          if (result.errno === undefined) learn?.(result);
        }
      },
    });
  }

  #create(): Operation {
    const name = `${this.name}-${this.#number++}`;
    const request = { method: 'POST', path: '/processes', body: { name } } as const;
    return command(request, { op: 'process.create', name }, ({ status, body }) => {
      if (status === 201) this.#pid = (body as { pid: number }).pid;
    });
  }

  #kill(): Operation {
    const pid = this.#pid!;
    const request = { method: 'DELETE', path: `/processes/${pid}` } as const;
    return command(request, { op: 'process.kill', pid }, ({ status }) => {
      if (status === 204) this.#end();
    });
  }

  #end(): void {
    this.#pid = null;
    this.#has = nothing();
    // The sessions are gone with it, unless they came from the kernel before.
    this.#packed = noLuggage();
  }

  #bindDriver(): Operation {
    const bdf = this.#bdf;
    const request = { method: 'PUT', path: `/devices/${bdf}/driver`, body: { driver: 'vfio-pci' } } as const;
    return command(request, { op: 'driver.bind', bdf }, ({ status, body }) => {
      if (status === 200) this.#cdevPath = (body as { cdev: string | null }).cdev;
    });
  }

  #unbindDriver(): Operation {
    const bdf = this.#bdf;
    return command({ method: 'DELETE', path: `/devices/${bdf}/driver` }, { op: 'driver.unbind', bdf });
  }

  #place(): IoasPlace | null {
    const iommufd = this.#random.pick(this.#has.iommufds);
    const ioas = this.#random.pick(iommufd?.ioases ?? []);
    if (!iommufd || ioas === undefined) return null;
    const { memory, memfds } = this.#has;
    return { pid: this.#pid!, fd: iommufd.fd, ioas, memory, memfds };
  }

  #call(): Call {
    const has = this.#has;
    const random = this.#random;
    const few = (list: unknown[], most: number, weight: number): number => (list.length < most ? weight : 0);
    const iommufd = random.pick(has.iommufds);
    const choose = random.weighted<(() => Call) | null>([
      [few(has.memfds, 3, 10), () => this.#memfd()],
      [few(has.memory, 3, 8), () => this.#mmap()],
      [
        few(has.iommufds, 2, 8),
        () => this.#open('/dev/iommu', (fd) => has.iommufds.push({ fd, ioases: [], hwpts: [] })),
      ],
      [has.memfds.length > 0 ? 12 : 0, () => this.#useMemfd(random.pick(has.memfds)!)],
      [has.memory.length > 0 ? 5 : 0, () => this.#poke(random.pick(has.memory)!)],
      [iommufd ? 60 : 0, () => this.#useIommufd(iommufd!)],
      [this.#cdevPath ? 20 : 1, () => this.#useDevice()],
      [15, () => this.#useLiveupdate()],
      [2, () => this.#close()],
      [1, null],
    ]);
    return choose === null ? { call: { call: 'fstat', fd: random.below(12) } } : choose();
  }

  #open(path: string, learn: (fd: number) => void): Call {
    return { call: { call: 'open', path }, learn: ({ ret }) => learn(ret as number) };
  }

  #ioctl(fd: number, request: string, arg: object, learn?: (arg: Record<string, unknown>) => void): Call {
    return { call: { call: 'ioctl', fd, request, arg }, ...(learn && { learn: (result) => learn(result.arg ?? {}) }) };
  }

  #memfd(): Call {
    const size = this.#random.between(1, MEMFD_PAGES) * PAGE;
    const call = { call: 'memfd_create', name: 'ram', flags: 2, size };
    return { call, learn: ({ ret }) => this.#has.memfds.push(ret as number) };
  }

  #data(): string {
    return Buffer.from(`${this.name} ${this.#number} `.repeat(this.#random.between(1, 100))).toString('base64');
  }

  #useMemfd(fd: number): Call {
    const random = this.#random;
    const offset = random.below(MEMFD_PAGES * PAGE);
    const call = random.weighted([
      [6, { call: 'pwrite', fd, offset, data: this.#data() }],
      [2, { call: 'pread', fd, offset, length: 512 }],
      [2, { call: 'add_seals', fd, seals: SIZE_SEALS }],
      [1, { call: 'ftruncate', fd, length: offset }],
    ] as const);
    return { call };
  }

  #mmap(): Call {
    const addr = MEMORY + this.#random.below(4) * MEMORY_BYTES;
    return { call: { call: 'mmap', addr, length: MEMORY_BYTES }, learn: () => this.#has.memory.push(addr) };
  }

  #poke(area: number): Call {
    return { call: { call: 'poke', addr: area + this.#random.below(MEMORY_BYTES / 2), data: this.#data() } };
  }

  #useIommufd(iommufd: Iommufd): Call {
    const random = this.#random;
    const { fd, ioases, hwpts } = iommufd;
    const ioas = random.pick(ioases);
    if (ioas === undefined || (ioases.length < 3 && random.chance(0.1))) {
      return this.#ioctl(fd, 'IOMMU_IOAS_ALLOC', {}, (arg) => ioases.push(arg.out_ioas_id as number));
    }
    const iova = IOVA + random.below(IOVA_PAGES) * PAGE;
    const length = random.between(1, 32) * PAGE;
    const flags = READABLE_WRITEABLE | (random.chance(0.8) ? FIXED : 0);
    const { memory, memfds } = this.#has;
    const user_va = (random.pick(memory) ?? MEMORY) + random.below(200) * PAGE;
    const map = { flags, ioas_id: ioas, length, iova };
    const copy = {
      dst_ioas_id: random.pick(ioases)!,
      src_ioas_id: ioas,
      dst_iova: IOVA + random.below(IOVA_PAGES) * PAGE,
    };
    return random.weighted<() => Call>([
      [8, () => this.#ioctl(fd, 'IOMMU_IOAS_MAP', { ...map, user_va })],
      [
        8,
        () =>
          this.#ioctl(fd, 'IOMMU_IOAS_MAP_FILE', {
            ...map,
            fd: random.pick(memfds) ?? 99,
            start: random.below(16) * PAGE,
          }),
      ],
      [
        6,
        () =>
          this.#ioctl(fd, 'IOMMU_IOAS_UNMAP', {
            ioas_id: ioas,
            iova,
            length: random.chance(0.5) ? length : 256 * PAGE,
          }),
      ],
      [2, () => this.#ioctl(fd, 'IOMMU_IOAS_COPY', { flags, length: PAGE, src_iova: iova, ...copy })],
      [1, () => this.#ioctl(fd, 'IOMMU_IOAS_UNMAP', { ioas_id: ioas, iova: 0, length: '0xffffffffffffffff' })],
      [1, () => this.#ioctl(fd, 'IOMMU_DESTROY', { id: random.between(1, 9) })],
      [hwpts.length > 0 ? 2 : 0, () => this.#mark(iommufd)],
    ])();
  }

  #useDevice(): Call {
    const has = this.#has;
    const random = this.#random;
    const { cdev, bound } = has;
    const iommufd = random.pick(has.iommufds);
    if (cdev === null || iommufd === undefined) {
      return this.#open(this.#cdevPath ?? '/dev/vfio/devices/vfio0', (fd) => {
        has.cdev = fd;
      });
    }
    if (bound === null) {
      return this.#ioctl(cdev, 'VFIO_DEVICE_BIND_IOMMUFD', { iommufd: iommufd.fd }, (arg) => {
        has.bound = { iommufd, device: arg.out_devid as number };
      });
    }
    const { ioases, hwpts } = bound.iommufd;
    const pt_id = random.pick(ioases) ?? 1;
    return random.weighted<() => Call>([
      [fewer(hwpts), () => this.#hwpt(bound.iommufd, bound.device, pt_id)],
      [4, () => this.#ioctl(cdev, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { pt_id: random.pick(hwpts) ?? pt_id })],
      [1, () => this.#ioctl(cdev, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { pt_id })],
      [1, () => this.#ioctl(cdev, 'VFIO_DEVICE_DETACH_IOMMUFD_PT', {})],
      [1, () => this.#ioctl(cdev, 'VFIO_DEVICE_RESET', {})],
    ])();
  }

  #hwpt({ fd, hwpts }: Iommufd, dev_id: number, pt_id: number): Call {
    return this.#ioctl(fd, 'IOMMU_HWPT_ALLOC', { dev_id, pt_id }, (arg) => hwpts.push(arg.out_hwpt_id as number));
  }

  #mark({ fd, hwpts }: Iommufd): Call {
    const token = this.#token++;
    const mark = { hwpt_id: this.#random.pick(hwpts)!, token };
    return this.#ioctl(fd, 'IOMMU_HWPT_LU_SET_PRESERVE', mark, () => this.#packed.hwpts.push(token));
  }

  #useLiveupdate(): Call {
    const has = this.#has;
    const random = this.#random;
    const { liveupdate, session } = has;
    const name = this.name;
    if (liveupdate === null) {
      return this.#open('/dev/liveupdate', (fd) => {
        has.liveupdate = fd;
      });
    }
    if (session === null) {
      const incoming = this.#arrived.tokens.length > 0 && random.chance(0.7);
      const request = `LIVEUPDATE_IOCTL_${incoming ? 'RETRIEVE' : 'CREATE'}_SESSION`;
      return this.#ioctl(liveupdate, request, { name }, (arg) => {
        has.session = { fd: arg.fd as number, incoming };
      });
    }
    return session.incoming ? this.#retrieve(session.fd) : this.#preserve(session.fd);
  }

  #preserve(session: number): Call {
    const { memfds, iommufds, cdev } = this.#has;
    const token = this.#token++;
    const kind = this.#random.weighted([
      [4, 'memfd'],
      [2, 'iommufd'],
      [2, 'cdev'],
    ] as const);
    const of = { memfd: this.#random.pick(memfds), iommufd: this.#random.pick(iommufds)?.fd, cdev };
    const preserve = { fd: of[kind] ?? 99, token };
    return this.#ioctl(session, 'LIVEUPDATE_SESSION_PRESERVE_FD', preserve, () =>
      this.#packed.tokens.push({ token, kind }),
    );
  }

  #retrieve(session: number): Call {
    const has = this.#has;
    const { tokens, hwpts } = this.#arrived;
    const wanted = this.#random.pick(tokens);
    const iommufd = this.#random.pick(has.iommufds);
    const token = this.#random.pick(hwpts);
    if (iommufd && token !== undefined && this.#random.chance(0.2)) {
      return this.#ioctl(iommufd.fd, 'IOMMU_HWPT_LU_RESTORE', { token }, (arg) =>
        iommufd.hwpts.push(arg.hwpt_id as number),
      );
    }
    if (wanted === undefined || this.#random.chance(0.15)) {
      return this.#ioctl(session, 'LIVEUPDATE_SESSION_FINISH', {}, () => {
        this.#arrived = noLuggage();
        has.session = null;
      });
    }
    return this.#ioctl(session, 'LIVEUPDATE_SESSION_RETRIEVE_FD', { token: wanted.token }, (arg) => {
      const fd = arg.fd as number;
      if (wanted.kind === 'memfd') has.memfds.push(fd);
      else if (wanted.kind === 'iommufd') has.iommufds.push({ fd, ioases: [], hwpts: [] });
      else has.cdev = fd;
    });
  }

  /** Whatever it is; what it was is then used in vain, or is something else. */
  #close(): Call {
    const fd = this.#random.below(12);
    return { call: { call: this.#random.chance(0.3) ? 'dup' : 'close', fd } };
  }
}

/** The first is worth more than further ones. */
const fewer = (list: unknown[]): number => (list.length === 0 ? 8 : list.length < 4 ? 1 : 0);
