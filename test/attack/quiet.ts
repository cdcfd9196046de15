/**
 * The thread of the quiet tenant: it asks every 50 ms, whether or not it has been answered, the state of its host and, in
 * turn with that, a small `calls` that writes a number. So a stall of a second counts as twenty late answers, not as one.
 */
import { Agent, request } from 'node:http';
import { parentPort, workerData } from 'node:worker_threads';
import { percentile } from './percentile.ts';
import { NUMBER_BYTES, WITNESS_BYTES, type Witness } from './witness.ts';

export interface QuietData {
  url: string;
  key: string;
}

/** `begin`: it counts from now on. `tell`: what it has found since then. `stop`: it ends. */
export type ToQuiet = 'begin' | 'tell' | 'stop';
export type FromQuiet = { is: 'ready' } | { is: 'found'; found: Found } | { is: 'ended'; witness: Witness };

export interface Found {
  answers: number;
  p50: number;
  p99: number;
  max: number;
  /** Of what was not answered 200: status or error, and how often. */
  errors: Record<string, number>;
  /** What is not answered yet, and for how many milliseconds at most. */
  waiting: number;
  /** By how many milliseconds this thread itself awoke late (p99): the machine had no core for it. */
  late: number;
}

const EVERY_MS = 50;
const WARM_UP = 200;
const port = parentPort!;
const { url, key } = workerData as QuietData;
const agent = new Agent({ keepAlive: true });

function ask(method: string, path: string, body?: unknown): Promise<{ status: number; text: string }> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>();
  const headers = {
    authorization: `Bearer ${key}`,
    ...(text !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
  };
  const asking = request(`${url}${path}`, { method, agent, headers }, (answer) => {
    let received = '';
    answer.on('data', (part: Buffer) => {
      received += part.toString();
    });
    answer.on('error', reject);
    answer.on('end', () => resolve({ status: answer.statusCode!, text: received }));
  });
  asking.on('error', (error: NodeJS.ErrnoException) => {
    // The service may close a connection that was idle just as it is used again, which clients repeat.
    if (asking.reusedSocket && error.code === 'ECONNRESET') ask(method, path, body).then(resolve, reject);
    else reject(error);
  });
  asking.end(text);
  return promise;
}

const made = await ask('POST', '/v1/hosts', { preset: 'vmm-lab' });
const host = `/v1/hosts/${JSON.parse(made.text).id}`;
const { pid } = JSON.parse((await ask('POST', `${host}/processes`, { name: 'quiet' })).text);
const calls = `${host}/processes/${pid}/calls`;
await ask('POST', calls, { calls: [{ call: 'memfd_create', name: 'witness', flags: 0, size: WITNESS_BYTES }] });

// What is asked for the first time is slow in a service that has just started, whoever attacks it.
for (let round = 0; round < WARM_UP; round++) {
  await ask('GET', host);
  await ask('POST', calls, { calls: [write(0)] });
}

let times: number[] = [];
let lates: number[] = [];
let errors: Record<string, number> = {};
const begun = new Map<number, number>();
let number = 0;
const acknowledged: number[] = [];

async function turn(): Promise<void> {
  const mine = ++number;
  const started = performance.now();
  begun.set(mine, started);
  const counted = errors;
  const error = (what: string | number): void => {
    counted[what] = (counted[what] ?? 0) + 1;
  };
  try {
    const { status } = await (mine % 2 === 0 ? ask('GET', host) : ask('POST', calls, { calls: [write(mine)] }));
    if (counted === errors) times.push(performance.now() - started);
    if (status !== 200) error(status);
    else if (mine % 2 === 1) acknowledged.push(mine);
  } catch (thrown) {
    error((thrown as NodeJS.ErrnoException).code ?? String(thrown));
  } finally {
    begun.delete(mine);
  }
}

function write(value: number): Record<string, unknown> {
  const data = Buffer.alloc(NUMBER_BYTES);
  data.writeUInt32LE(value);
  return { call: 'pwrite', fd: 3, offset: value * NUMBER_BYTES, data: data.toString('base64') };
}

let due = performance.now();
const timer = setInterval(() => {
  const now = performance.now();
  for (; due <= now; due += EVERY_MS) {
    lates.push(now - due);
    void turn();
  }
}, EVERY_MS / 10);

function found(): Found {
  const now = performance.now();
  const waiting = [...begun.values()].map((since) => now - since);
  // What waits takes at least as long as it has waited.
  const all = [...times, ...waiting.filter((ms) => ms > EVERY_MS)];
  return {
    answers: times.length,
    p50: percentile(all, 50),
    p99: percentile(all, 99),
    max: percentile(all, 100),
    errors,
    waiting: waiting.length,
    late: percentile(lates, 99),
  };
}

port.on('message', (message: ToQuiet) => {
  if (message === 'begin') {
    times = [];
    lates = [];
    errors = {};
  } else if (message === 'tell') port.postMessage({ is: 'found', found: found() } satisfies FromQuiet);
  else {
    clearInterval(timer);
    agent.destroy();
    port.postMessage({ is: 'ended', witness: { path: calls, acknowledged } } satisfies FromQuiet);
    port.close();
  }
});
port.postMessage({ is: 'ready' } satisfies FromQuiet);
