/** A host that tells very much: whether others in its lane notice, and whether the service grows. */
import { readFileSync } from 'node:fs';
import { type Client, Connection, encodeRequest } from './client.ts';
import { type Benchmark, diskNote, median, now, quantile, round } from './harness.ts';
import { MOST_AT_ONCE, paced } from './lanes.ts';
import { KEY, OTHER_KEY, withService } from './service.ts';
import { createVmm } from './vmm.ts';

const D1 = '0000:01:00.0';
/** As many as a request may have. */
const MOST_ACCESSES = 1000;
const MEBIBYTE = 2 ** 20;

/** A command whose accesses all fault: as many events. */
function faults(host: string, key: string, count: number): Buffer {
  const accesses = Array.from({ length: count }, (_, index) => ({
    op: 'read',
    iova: `0x${(0x1000 * (index + 1)).toString(16)}`,
    length: 1,
  }));
  return encodeRequest('POST', `${host}/devices/${D1}/dma`, key, Buffer.from(JSON.stringify({ accesses })));
}

async function newHost(client: Client): Promise<string> {
  const { id } = await client.request<{ id: string }>('POST', '/v1/hosts', { preset: 'vmm-lab' });
  return `/v1/hosts/${id}`;
}

async function send(connection: Connection, request: Buffer): Promise<void> {
  const { status, body } = await connection.send(request);
  if (status !== 200) throw new Error(`an access is answered ${status}: ${body}`);
}

/** One after the other, until it is told to stop. Returns how many. */
async function keepSending(port: number, request: Buffer, until: { stop: boolean }): Promise<number> {
  const connection = await Connection.open(port);
  let sent = 0;
  for (; !until.stop; sent++) await send(connection, request);
  connection.close();
  return sent;
}

async function beside() {
  return withService({ lanes: 1 }, async (service, client) => {
    const BEFORE = 95_000;
    const EACH = 100;
    const small = await createVmm(client, { pages: MOST_AT_ONCE, attached: true });
    const other = await service.client(OTHER_KEY);
    const loud = await newHost(other);
    const connection = await Connection.open(service.port);
    const request = faults(loud, OTHER_KEY, MOST_ACCESSES);
    for (let told = 0; told < BEFORE; told += MOST_ACCESSES) await send(connection, request);
    connection.close();
    const alone = await paced(service.port, small);
    const until = { stop: false };
    const sending = keepSending(service.port, faults(loud, OTHER_KEY, EACH), until);
    const times = await paced(service.port, small);
    until.stop = true;
    const commands = await sending;
    other.close();
    const p99 = quantile(times, 0.99);
    const floor = quantile(alone, 0.99);
    return {
      figure: 'another host meanwhile',
      value: p99,
      unit: 'ms p99',
      floor,
      ratio: p99 / floor,
      goal: '≤ 30 ms',
      met: p99 <= 30,
      note: `floor: the host with ${BEFORE} events does nothing; then it has ${commands} commands with ${EACH} events each, and its snapshots; max ${round(Math.max(...times))} ms; ${diskNote()}`,
    };
  });
}

function residentBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1024;
}

async function growth() {
  return withService({}, async (service, client) => {
    const EVENTS = 1_000_000;
    const WARM = 300_000;
    const request = faults(await newHost(client), KEY, MOST_ACCESSES);
    const connection = await Connection.open(service.port);
    /** So many; resident bytes meanwhile. They go up and down as garbage comes and goes. */
    const tell = async (events: number): Promise<number> => {
      const bytes: number[] = [];
      for (let told = 0; told < events; told += MOST_ACCESSES) {
        await send(connection, request);
        bytes.push(residentBytes(service.pid));
      }
      return median(bytes);
    };
    // Requests of this size take their room in four heaps, with events or without.
    await tell(WARM);
    const start = now();
    const before = await tell(EVENTS / 10);
    await tell((EVENTS * 8) / 10);
    const after = await tell(EVENTS / 10);
    const each = ((now() - start) * 1000) / EVENTS;
    const grown = (after - before) / MEBIBYTE;
    connection.close();
    return {
      figure: 'growth of the service',
      value: grown,
      unit: 'MiB',
      floor: null,
      ratio: null,
      goal: '≤ 64 MiB',
      met: grown <= 64,
      note: `by ${EVENTS} events of one host, the last tenth to the first, behind ${WARM} others; ${round(each)} µs each; ${diskNote()}`,
    };
  });
}

export const EVENTS: Benchmark[] = [
  {
    name: 'events',
    about: 'a host that tells very much, beside others and by itself',
    run: async () => [await beside(), await growth()],
  },
];
