/** More hosts than there is room for in memory: all answer, each is what it was, and the service stays small. */
import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { inOrder, mapRun, shuffled } from './bodies.ts';
import type { Client } from './client.ts';
import { clientsOf, together } from './fleet.ts';
import { type Benchmark, diskNote, now, progress, quantile, round } from './harness.ts';
import { type Service, withService } from './service.ts';
import { createVmm, encodeBatch, sendBatch, type Vmm } from './vmm.ts';

const HOSTS = 20_000;
const PAGES = 32;
/** MiB for hosts. */
const ROOM = 200;
/** What the service may take: V8 keeps half as much again until it collects what hosts were in that have left, and its own. */
const MAY_TAKE = 1.5 * ROOM + 450;

/** The most that has been resident so far, in MiB. */
function peak({ pid }: Service): number {
  const line = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line?.[1]) / 1024;
}

async function use(client: Client): Promise<Vmm> {
  const vmm = await createVmm(client, { pages: PAGES, attached: true });
  await sendBatch(client, encodeBatch(client, vmm, mapRun(PAGES)), PAGES);
  return vmm;
}

/** A digest of what is seen of it. */
async function look(client: Client, { host, iommufd, ioas }: Vmm): Promise<string> {
  const views = [];
  for (const path of [host, `${host}/devices`, `${iommufd}/ioases/${ioas}/mappings`]) {
    views.push(await client.request('GET', path));
  }
  return hash('sha256', JSON.stringify(views), 'hex');
}

async function evict() {
  return withService({ hostMemory: ROOM }, async (service) => {
    const clients = await clientsOf(service);
    const vmms: Vmm[] = [];
    const digests = new Map<Vmm, string>();
    const begun = now();
    await together(
      clients,
      Array.from({ length: HOSTS }, (_, index) => index),
      async (client) => {
        const vmm = await use(client);
        vmms.push(vmm);
        digests.set(vmm, await look(client, vmm));
      },
    );
    progress(`  made and used after ${round((now() - begun) / 1000)} s, peak ${round(peak(service))} MiB`);
    const times: number[] = [];
    const asked = now();
    const order = [...shuffled(inOrder(HOSTS))].map((index) => vmms[index]!);
    await together(clients, order, async (client, vmm) => {
      const sent = now();
      await client.request('GET', vmm.host);
      times.push(now() - sent);
      if ((await look(client, vmm)) !== digests.get(vmm)) throw new Error(`${vmm.host} is not what it was`);
    });
    const seconds = (now() - asked) / 1000;
    for (const client of clients) client.close();
    const value = peak(service);
    return {
      figure: '',
      value,
      unit: 'MiB resident',
      floor: ROOM,
      ratio: value / ROOM,
      goal: `≤ ${MAY_TAKE} MiB`,
      met: value <= MAY_TAKE,
      note: `floor: what hosts may take; all looked at in random order, and the same, in ${round(seconds)} s; the first look at each p50 ${round(quantile(times, 0.5))} ms, p99 ${round(quantile(times, 0.99))} ms with 16 at once; ${diskNote()}`,
    };
  });
}

export const EVICTION: Benchmark[] = [
  {
    name: 'eviction',
    about: `${HOSTS.toLocaleString('en')} hosts, each with a device and ${PAGES} mappings, and ${ROOM} MiB for all of them`,
    run: async () => [await evict()],
  },
];
