/** The memory of a whole guest in one call: what it takes, and whether others wait for it. */
import { type Client, encodeRequest } from './client.ts';
import { type Benchmark, diskNote, median, quantile, repeat, round, timed } from './harness.ts';
import { MOST_AT_ONCE, paced } from './lanes.ts';
import { OTHER_KEY, type Service, withService } from './service.ts';
import { createVmm, hex, PAGE } from './vmm.ts';

const GUEST = 2 ** 36;
/** Memory above 4 GiB of a guest of 16 GiB, which a VMM asks about as a whole. */
const REGION = 12 * 2 ** 30;
const IOVA = 2 ** 40;
const RUNS = 9;
const BDF = '0000:01:00.0';
const MAP_FIXED = 1 | 2 | 4;
const DIRTY_TRACKING = 2;

interface Guest {
  /** Maps, or unmaps, so many bytes. */
  map(bytes: number): Promise<void>;
  unmap(bytes: number): Promise<void>;
  bitmap(bytes: number): Promise<void>;
}

/** A device on a domain of an AMD-Vi that is empty, and a memfd of 64 GiB. */
async function createGuest(client: Client, flags: number): Promise<Guest> {
  const { id } = await client.request<{ id: string }>('POST', '/v1/hosts', {
    memory: hex(GUEST * 2),
    iommus: [{ kind: 'amd-vi' }],
    devices: [{ bdf: BDF, driver: 'vfio-pci' }],
  });
  const { pid } = await client.request<{ pid: number }>('POST', `/v1/hosts/${id}/processes`, { name: 'vmm' });
  const path = `/v1/hosts/${id}/processes/${pid}/calls`;
  const encode = (calls: object[]): Buffer =>
    encodeRequest('POST', path, client.key, Buffer.from(JSON.stringify({ calls })));
  const send = async (request: Buffer): Promise<void> => {
    const { results } = await client.send<{ results: { errno?: string }[] }>(request);
    const refused = results.find(({ errno }) => errno !== undefined);
    if (refused) throw new Error(`a call is refused: ${JSON.stringify(refused)}`);
  };
  const ioctl = (fd: number, request: string, arg: object): object => ({ call: 'ioctl', fd, request, arg });
  await send(
    encode([
      { call: 'open', path: '/dev/iommu' },
      { call: 'open', path: '/dev/vfio/devices/vfio0' },
      { call: 'memfd_create', name: 'ram', flags: 0, size: hex(GUEST) },
      ioctl(4, 'VFIO_DEVICE_BIND_IOMMUFD', { iommufd: 3 }),
      ioctl(3, 'IOMMU_IOAS_ALLOC', {}),
      ioctl(3, 'IOMMU_HWPT_ALLOC', { flags, dev_id: 1, pt_id: 2 }),
      ioctl(4, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { pt_id: 3 }),
    ]),
  );
  const mapFile = { flags: MAP_FIXED, ioas_id: 2, fd: 5, start: 0, iova: hex(IOVA) };
  const read = { hwpt_id: 3, flags: 0, iova: hex(IOVA), page_size: PAGE };
  return {
    map: (length) => send(encode([ioctl(3, 'IOMMU_IOAS_MAP_FILE', { ...mapFile, length })])),
    unmap: (length) => send(encode([ioctl(3, 'IOMMU_IOAS_UNMAP', { ioas_id: 2, iova: hex(IOVA), length })])),
    bitmap: (length) => send(encode([ioctl(3, 'IOMMU_HWPT_GET_DIRTY_BITMAP', { ...read, length })])),
  };
}

async function map(client: Client, figure: string, flags: number, most: number) {
  const guest = await createGuest(client, flags);
  const one = async (bytes: number): Promise<number> => {
    const took = await timed(() => guest.map(bytes));
    await guest.unmap(bytes);
    return took;
  };
  const times = await repeat(RUNS, 2, async () => ({ all: await one(GUEST), page: await one(PAGE) }));
  const value = median(times.map(({ all }) => all));
  const floor = median(times.map(({ page }) => page));
  return {
    figure,
    value,
    unit: 'ms',
    floor,
    ratio: value / floor,
    goal: `≤ ${most} ms`,
    met: value <= most,
    note: `floor: a map of 4 KiB; ${diskNote()}`,
  };
}

async function beside(service: Service, client: Client) {
  const small = await createVmm(client, { pages: MOST_AT_ONCE, attached: true });
  const alone = await paced(service.port, small);
  const other = await service.client(OTHER_KEY);
  const guest = await createGuest(other, DIRTY_TRACKING);
  let rounds = 0;
  let running = true;
  const load = async (): Promise<void> => {
    for (; running; rounds++) {
      await guest.map(GUEST);
      await guest.bitmap(REGION);
      await guest.unmap(GUEST);
    }
  };
  const loading = load();
  const times = await paced(service.port, small);
  running = false;
  await loading;
  other.close();
  const value = quantile(times, 0.99);
  const floor = quantile(alone, 0.99);
  return {
    figure: 'another host meanwhile',
    value,
    unit: 'ms p99',
    floor,
    ratio: value / floor,
    goal: '≤ 30 ms',
    met: value <= 30,
    note: `floor: nobody else is there; max ${round(Math.max(...times))} ms; maps of 64 GiB, bitmaps of 12 GiB and unmaps without pause, ${rounds} of each`,
  };
}

export const LARGE: Benchmark[] = [
  {
    name: 'map-large',
    about: '64 GiB in one IOMMU_IOAS_MAP_FILE on AMD-Vi',
    run: () =>
      withService({ lanes: 1 }, async (service, client) => [
        await map(client, 'large pages', 0, 50),
        await map(client, 'with dirty tracking', DIRTY_TRACKING, 1000),
        await beside(service, client),
      ]),
  },
];
