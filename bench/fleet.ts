/** What many hosts and many mappings cost: in memory, at a start of the service, and at a live update. */
import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { encode, mapRun } from './bodies.ts';
import type { Client } from './client.ts';
import { type Benchmark, diskNote, median, now, repeat, round, temporaryDirectory, timed } from './harness.ts';
import { Service, withService } from './service.ts';
import { createVmm, encodeBatch, hex, IOVA, PAGE, sendBatch, type Vmm } from './vmm.ts';

const MANY = 1_000_000;
const MEMORY_CHILD = fileURLToPath(new URL('./memory-child.ts', import.meta.url));

/** Of an area and of an entry of a page table, as they lie in typed arrays. */
const MAPPING_FLOOR = 28 + 8;

async function measureMemory(what: 'hosts' | 'mappings'): Promise<number> {
  const values = await repeat(3, 0, async () => {
    const directory = temporaryDirectory('memory');
    const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', MEMORY_CHILD, what, directory]);
    rmSync(directory, { recursive: true, force: true });
    return Number(stdout);
  });
  return median(values);
}

async function memory() {
  const host = await measureMemory('hosts');
  const mapping = await measureMemory('mappings');
  return [
    {
      figure: 'per idle host',
      value: host,
      unit: 'bytes',
      floor: null,
      ratio: null,
      goal: '≤ 20 KiB',
      met: host <= 20 * 1024,
      note: 'resident, of 7,500 hosts with 5 functions each behind 2,500 others, after garbage collection',
    },
    {
      figure: 'per mapping',
      value: mapping,
      unit: 'bytes',
      floor: MAPPING_FLOOR,
      ratio: mapping / MAPPING_FLOOR,
      goal: '≤ 48 bytes',
      met: mapping <= 48,
      note: 'resident, of 1,000,000 mappings in a domain; floor: the bytes of an area and of a table entry',
    },
  ];
}

// ---- live update ---------------------------------------------------------------------------------------------------

const BDF = '0000:01:00.0';
const SEALS = 1 | 2 | 4;
const ALLOW_SEALING = 2;

/** A VMM with so many mappings of 4 KiB of a memfd, and all of it in a session. Answers the path of the host. */
async function preserved(client: Client, mappings: number): Promise<string> {
  const bytes = hex(mappings * PAGE);
  const created = await client.request<{ id: string }>('POST', '/v1/hosts', {
    preset: 'vmm-lab',
    memory: hex(2 ** 34),
  });
  const host = `/v1/hosts/${created.id}`;
  const { pid } = await client.request<{ pid: number }>('POST', `${host}/processes`, { name: 'vmm' });
  const process = `${host}/processes/${pid}`;
  const open = async (path: string, body: object = {}): Promise<number> =>
    (await client.request<{ fd: number }>('POST', `${process}/${path}`, body)).fd;
  const ram = await open('memfds', { name: 'ram', size: bytes, flags: ALLOW_SEALING });
  await client.request('POST', `${process}/memfds/${ram}/seals`, { seals: SEALS });
  await client.request('PUT', `${process}/memfds/${ram}/data?offset=${hex((mappings - 1) * PAGE)}`, {
    data: 'aGVsbG8=',
  });
  const iommufd = await open('iommufds');
  const cdev = await open('cdevs', { path: '/dev/vfio/devices/vfio0' });
  const bound = await client.request('PUT', `${process}/cdevs/${cdev}/iommufd`, { iommufd });
  const context = `${process}/iommufds/${iommufd}`;
  const { ioas } = await client.request('POST', `${context}/ioases`);
  const { hwpt } = await client.request('POST', `${context}/hwpts`, { device: bound.device, pageTable: ioas });
  await client.request('PUT', `${process}/cdevs/${cdev}/attachment`, { pageTable: hwpt });
  const run = { op: 'map-file', iova: hex(IOVA), length: PAGE, fd: ram, start: 0, count: mappings };
  const batch = `${context}/ioases/${ioas}/batch`;
  await sendBatch(client, encodeBatch(client, { batch }, encode({ runs: [run] })), mappings);
  const liveupdate = await open('liveupdates');
  const session = await open(`liveupdates/${liveupdate}/sessions`, { name: 'vm' });
  const files = `${process}/sessions/${session}/files`;
  await client.request('POST', files, { fd: ram, token: 1 });
  await client.request('PUT', `${context}/hwpts/${hwpt}/token`, { token: 7 });
  await client.request('POST', files, { fd: iommufd, token: 2 });
  await client.request('POST', files, { fd: cdev, token: 3 });
  return host;
}

/** Milliseconds. */
interface Update {
  preflight: number;
  copy: number;
  /** Until a host like it, with nothing in it, is made. */
  made: number;
  kexec: number;
}

/** Milliseconds in which a host is made, which is then deleted. */
async function making(client: Client, body: object): Promise<number> {
  let id = '';
  const time = await timed(async () => {
    ({ id } = await client.request<{ id: string }>('POST', '/v1/hosts', body));
  });
  await client.request('DELETE', `/v1/hosts/${id}`);
  return time;
}

/** A live update of such a host, its preflight, and a copy of it; the device reaches its memory afterwards. */
async function liveUpdate(client: Client, mappings: number): Promise<Update> {
  const host = await preserved(client, mappings);
  const preflight = await timed(() => client.request('GET', `${host}/preflight`));
  const copy = await making(client, { from: host.slice('/v1/hosts/'.length) });
  const made = await making(client, { preset: 'vmm-lab' });
  const kexec = await timed(() => client.request('POST', `${host}/kexec`, { mode: 'live-update' }));
  const accesses = [{ op: 'read', iova: hex(IOVA + (mappings - 1) * PAGE), length: 5 }];
  const { results } = await client.request<{ results: { data?: string }[] }>('POST', `${host}/devices/${BDF}/dma`, {
    accesses,
  });
  if (results[0]?.data !== 'aGVsbG8=') throw new Error(`DMA after the live update: ${JSON.stringify(results)}`);
  await client.request('DELETE', host);
  return { preflight, copy, made, kexec };
}

async function kexec() {
  return withService({}, async (_, client) => {
    const times = await repeat(5, 1, async () => ({
      many: await liveUpdate(client, MANY),
      one: await liveUpdate(client, 1),
    }));
    const of = (what: keyof Update, whose: 'many' | 'one'): number => median(times.map((time) => time[whose][what]));
    const figure = (name: string, value: number, floor: number, most: number, about: string) => ({
      figure: name,
      value,
      unit: 'ms',
      floor,
      ratio: value / floor,
      goal: `≤ ${most} ms`,
      met: value <= most,
      note: `floor: ${about}; ${diskNote()}`,
    });
    return [
      figure('', of('kexec', 'many'), of('kexec', 'one'), 60, 'the same with one mapping'),
      figure(
        'preflight',
        of('preflight', 'many'),
        of('kexec', 'many'),
        150,
        'the live update itself, which it does to a copy',
      ),
      figure('copy', of('copy', 'many'), of('copy', 'one'), 150, 'a copy of a host with one mapping'),
      figure('copy of a small host', of('copy', 'one'), of('made', 'one'), 3, 'making a host of a preset'),
    ];
  });
}

// ---- restart -------------------------------------------------------------------------------------------------------

const HOSTS = 1000;
const SMALL = 500;
const LARGE = MANY - (HOSTS - 1) * SMALL;
const AT_ONCE = 16;

export async function together<T>(
  clients: readonly Client[],
  jobs: readonly T[],
  work: (client: Client, job: T) => unknown,
): Promise<void> {
  const left = jobs.toReversed();
  await Promise.all(
    clients.map(async (client) => {
      while (left.length > 0) await work(client, left.pop()!);
    }),
  );
}

export const clientsOf = (service: Service): Promise<Client[]> =>
  Promise.all(Array.from({ length: AT_ONCE }, () => service.client()));

/** 1,000 hosts with 1,000,000 mappings in all, half of them in the first. */
async function fill(service: Service): Promise<Vmm[]> {
  const clients = await clientsOf(service);
  const vmms: Vmm[] = [];
  const sizes = Array.from({ length: HOSTS }, (_, index) => (index === 0 ? LARGE : SMALL));
  await together(clients, sizes, async (client, size) => {
    const vmm = await createVmm(client, { pages: size, attached: true });
    await sendBatch(client, encodeBatch(client, vmm, mapRun(size)), size);
    if (size === LARGE) vmms.unshift(vmm);
    else vmms.push(vmm);
  });
  for (const client of clients) client.close();
  return vmms;
}

/** Milliseconds from the start of the process. */
interface Start {
  ready: number;
  large: number;
  all: number;
}

/** Starts on this directory, asks, and ends by the signal. */
async function start(directory: string, vmms: readonly Vmm[], end: 'SIGTERM' | 'SIGKILL'): Promise<Start> {
  const begun = now();
  const service = await Service.start({ directory });
  try {
    const clients = await clientsOf(service);
    const [client] = clients as [Client];
    await client.request('GET', '/readyz');
    const ready = now() - begun;
    const look = async (asked: Client, vmm: Vmm): Promise<void> => {
      const { items } = await asked.request<{ items: unknown[] }>('GET', `${vmm.iommufd}/ioases/${vmm.ioas}/mappings`);
      if (items.length === 0) throw new Error('the mappings are gone');
    };
    if (vmms[0]) await look(client, vmms[0]);
    const large = now() - begun;
    await together(clients, vmms, look);
    const all = now() - begun;
    for (const each of clients) each.close();
    return { ready, large, all };
  } finally {
    await service.stop(end);
  }
}

async function restart() {
  const empty = temporaryDirectory('empty');
  const directory = temporaryDirectory('restart');
  const service = await Service.start({ directory });
  const vmms = await fill(service);
  await service.stop('SIGKILL');
  const killed = await repeat(3, 0, () => start(directory, vmms, 'SIGKILL'));
  await start(directory, vmms, 'SIGTERM');
  const stopped = await repeat(3, 0, () => start(directory, vmms, 'SIGTERM'));
  const floors = await repeat(3, 1, () => start(empty, [], 'SIGTERM'));
  for (const each of [empty, directory]) rmSync(each, { recursive: true, force: true });
  const floor = median(floors.map(({ ready }) => ready)) / 1000;
  const disk = diskNote();
  const figure = (how: string, starts: readonly Start[], what: 'ready' | 'large') => {
    const value = median(starts.map((each) => each[what])) / 1000;
    const all = median(starts.map((each) => each.all)) / 1000;
    return {
      figure: `${what === 'ready' ? 'ready' : 'host with 500,500 mappings answers'}, after ${how}`,
      value,
      unit: 's',
      floor,
      ratio: value / floor,
      goal: '≤ 3 s',
      met: value <= 3,
      note: `floor: ready with an empty store; all hosts have answered after ${round(all)} s; ${disk}`,
    };
  };
  return [
    figure('a clean stop', stopped, 'ready'),
    figure('a clean stop', stopped, 'large'),
    figure('kill -9', killed, 'ready'),
    figure('kill -9', killed, 'large'),
  ];
}

export const FLEET: Benchmark[] = [
  {
    name: 'kexec-1m',
    about: 'live update of a host with 1,000,000 mappings of 4 KiB, from request to answer',
    run: kexec,
  },
  { name: 'memory', about: 'resident memory', run: memory },
  {
    name: 'restart',
    about: '1,000 hosts with 1,000,000 mappings in the store, from the start of the process',
    run: restart,
  },
];
