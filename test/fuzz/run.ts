/**
 * Pieces of work, each with clients, hosts and a seed of its own, on one data directory. Behind each the service is killed
 * and started again, and every host has to be what it was.
 */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LARGE } from '../../src/limits.ts';
import { Random } from '../crash/random.ts';
import { type Service, startService } from '../support/service.ts';
import { Anybody, type Place, Programs, type Tally } from './clients.ts';
import { Outcomes } from './mirror.ts';

export interface Run {
  seed: number;
  /** How many of each, at least. */
  requests: number;
  calls: number;
  /** No piece begins later, in seconds; for ever if not given. */
  seconds?: number;
  /** The first piece. */
  from: number;
  /** How long an answer may take, in milliseconds. */
  slow: number;
  tell?: (line: string) => void;
}

const ADMIN_KEY = 'admin-key-of-the-fuzz-test';
/** Of each kind, each of them a tenant. */
const CLIENTS = 2;
const REQUESTS_OF_PIECE = 10_000;
const CALLS_OF_PIECE = 50_000;
/** Calls of a list. */
const LISTS = [100, 300, 500];
/** After so many faults nothing new is learnt. */
const ENOUGH = 20;

export async function run({
  seed,
  requests,
  calls,
  seconds = Infinity,
  from,
  slow,
  tell = () => {},
}: Run): Promise<Tally> {
  const tally: Tally = {
    requests: 0,
    calls: 0,
    statuses: new Map(),
    slowest: { milliseconds: 0, what: '' },
    outcomes: new Outcomes(),
    faults: [],
  };
  const started = performance.now();
  const directory = await mkdtemp(join(tmpdir(), 'holdover-fuzz-'));
  const bench = new Bench(directory, tally);
  let left = { requests, calls };
  try {
    for (let piece = from; left.requests > 0 || left.calls > 0; piece += 1) {
      if (performance.now() - started > seconds * 1000 || tally.faults.length >= ENOUGH) break;
      const now = { requests: Math.min(left.requests, REQUESTS_OF_PIECE), calls: Math.min(left.calls, CALLS_OF_PIECE) };
      const known = tally.faults.length;
      const how = await bench.piece(seed, piece, now, slow);
      left = { requests: left.requests - now.requests, calls: left.calls - now.calls };
      for (const [index, fault] of tally.faults.entries())
        if (index >= known) tally.faults[index] = `--seed ${seed} --from ${piece}: ${fault}`;
      tell(`piece ${piece}: ${how}; ${tally.requests} requests, ${tally.calls} calls, ${tally.faults.length} faults`);
    }
  } finally {
    await bench.end();
    await rm(directory, { recursive: true, force: true });
  }
  return tally;
}

interface HostWords {
  id: string;
  diverged: unknown;
  damage: unknown;
  setAside: unknown;
  digest?: string;
}

/** Threads start while the service serves already: who comes first waits for them. */
async function warm(url: string, key: string): Promise<void> {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  for (const body of [`{"preset":"mock"${' '.repeat(LARGE)}}`, '{"preset":"mock"}']) {
    const { id } = (await (await fetch(`${url}/v1/hosts`, { method: 'POST', headers, body })).json()) as { id: string };
    await fetch(`${url}/v1/hosts/${id}`, { method: 'DELETE', headers: { authorization: `Bearer ${key}` } });
  }
}

class Bench {
  readonly #directory: string;
  readonly #tally: Tally;
  #service: Service | undefined;
  #ends: (() => unknown)[] = [];

  constructor(directory: string, tally: Tally) {
    this.#directory = directory;
    this.#tally = tally;
  }

  async piece(seed: number, piece: number, { requests, calls }: { requests: number; calls: number }, slow: number) {
    const random = new Random(seed, 'piece', piece);
    const [lanes, check, room] = [random.pick([1, 2, 4])!, random.chance(0.3), random.chance(0.7)];
    const keys = Array.from({ length: 2 * CLIENTS }, (_, client) => `key-${seed}-${piece}-${client}`);
    const env = {
      HOLDOVER_TENANTS: keys.map((key, client) => `piece${piece}-client${client}:${key}`).join(','),
      HOLDOVER_ADMIN_KEY: ADMIN_KEY,
      HOLDOVER_LANES: String(lanes),
      HOLDOVER_CHECK: check ? '1' : '0',
      // With room for nothing hosts leave memory all the time, and come back.
      ...(room ? {} : { HOLDOVER_HOST_MEMORY: '0' }),
    };
    const { url } = await this.#start(env);
    await Promise.all(keys.map((key) => warm(url, key)));
    const clients = keys.map((key, client) => {
      const place: Place = {
        url,
        key,
        adminKey: ADMIN_KEY,
        slow,
        random: new Random(seed, piece, client),
        tally: this.#tally,
      };
      return client < CLIENTS ? new Anybody(place) : new Programs(place);
    });
    const most = random.pick(LISTS)!;
    await Promise.all(
      clients.map((client) =>
        client instanceof Anybody
          ? client.run(Math.ceil(requests / CLIENTS))
          : client.run(Math.ceil(calls / CLIENTS), most),
      ),
    );
    for (const client of clients) client.close();
    const before = await this.#hosts(url, keys);
    await this.#stop('SIGKILL');
    const again = await this.#start({ ...env, HOLDOVER_LANES: String(random.pick([1, 2, 4])) });
    this.#compare(before, await this.#hosts(again.url, keys));
    const ready = (await this.#get(again.url, '/readyz', ADMIN_KEY)) as { damage: unknown[] };
    if (ready.damage.length > 0) this.#tally.faults.push(`damage behind a kill: ${JSON.stringify(ready.damage)}`);
    for (const [index, key] of keys.entries())
      for (const { id } of before[index]!) {
        const response = await fetch(`${again.url}/v1/hosts/${id}`, {
          method: 'DELETE',
          headers: { authorization: `Bearer ${key}` },
        });
        if (response.status !== 204)
          this.#tally.faults.push(`DELETE of ${id}: ${response.status} ${await response.text()}`);
      }
    await this.#stop('SIGTERM');
    return `${lanes} lanes${check ? ', checked' : ''}${room ? '' : ', no room'}, lists of ${most}`;
  }

  async end(): Promise<void> {
    for (const end of this.#ends.splice(0)) await end();
  }

  async #start(env: Record<string, string>): Promise<Service> {
    this.#service = await startService(
      { after: (end) => void this.#ends.push(end as () => unknown) },
      this.#directory,
      { dev: false, env },
    );
    return this.#service;
  }

  async #stop(signal: NodeJS.Signals): Promise<void> {
    const service = this.#service!;
    const { code } = await service.stop(signal);
    this.#ends = [];
    const bad = service
      .output()
      .split('\n')
      .filter((line) => /"level":"(error|fatal)"|"level":[56]0/.test(line));
    for (const line of bad.slice(0, 3)) this.#tally.faults.push(`the log has: ${line.slice(0, 3000)}`);
    if (signal === 'SIGTERM' && code !== 0) this.#tally.faults.push(`a clean stop ended with ${code}`);
  }

  async #get(url: string, path: string, key: string): Promise<unknown> {
    const response = await fetch(`${url}${path}`, { headers: { authorization: `Bearer ${key}` } });
    const text = await response.text();
    if (response.status !== 200) this.#tally.faults.push(`GET ${path}: ${response.status} ${text}`);
    return response.status === 200 ? JSON.parse(text) : {};
  }

  /** Of each tenant. */
  #hosts(url: string, keys: readonly string[]): Promise<HostWords[][]> {
    return Promise.all(
      keys.map(async (key) => {
        const { items = [] } = (await this.#get(url, '/v1/hosts?limit=1000', key)) as { items?: HostWords[] };
        const hosts: HostWords[] = [];
        for (const { id } of items) hosts.push((await this.#get(url, `/v1/hosts/${id}`, key)) as HostWords);
        return hosts;
      }),
    );
  }

  #compare(before: HostWords[][], after: HostWords[][]): void {
    const [was, is] = [before, after].map((all) => new Map(all.flat().map((host) => [host.id, host])));
    if (was!.size !== is!.size)
      this.#tally.faults.push(`there were ${was!.size} hosts before a kill, and are ${is!.size}`);
    for (const [id, { digest }] of was!) {
      const host = is!.get(id);
      const sound =
        host && host.digest === digest && host.diverged === null && host.damage === null && host.setAside === null;
      if (!sound) this.#tally.faults.push(`${id} was ${digest}, and is behind a kill ${JSON.stringify(host)}`);
    }
  }
}
