/** A case from the field: what somebody reported or pasted, and what Linux answers to it, step by step. */
import { readdirSync, readFileSync } from 'node:fs';
import type { Client } from './client.ts';
import { differences } from './differences.ts';

const FOLDER = new URL('cases/', import.meta.url);

/** One thing that is done, or looked at. Numbers, names and paths may hold `{name}` or be `$name` of a former `save`. */
interface Step {
  /** What the creation of the host answers; 201 if no step says. */
  create?: unknown;
  /** Exact members of groups, by number. */
  groups?: Record<string, string[]>;
  group_count?: number;
  /** A device that is looked at. */
  device?: string;
  /** Method, path below the host, and body. */
  http?: [method: string, path: string, body?: unknown];
  /** Calls, and the process that makes them: `new` begins another one of that name. */
  calls?: unknown[];
  as?: string;
  new?: boolean;
  max_ms?: number;
  expect?: unknown;
  /** What later steps need, by name: the path to it in the answer. */
  save?: Record<string, string>;
}

export interface Case {
  name: string;
  title: string;
  source: string;
  right?: string;
  /** Where a refusal of the host, or its creation, is as good as what is expected. */
  orRefused?: boolean;
  orAccepted?: boolean;
  host?: Record<string, unknown>;
  topology?: { format: string; file: string };
  steps: Step[];
}

export function readCases(): Case[] {
  const files = readdirSync(FOLDER).filter((file) => file.endsWith('.json'));
  return files
    .sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10))
    .map((file) => ({
      name: file,
      ...(JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8')) as Omit<Case, 'name'>),
    }));
}

/** What differs from what Linux does, a line each. */
export async function runCase(which: Case, client: Client): Promise<string[]> {
  const { topology, steps } = which;
  const pasted = topology && {
    topology: { format: topology.format, text: readFileSync(new URL(topology.file, FOLDER), 'utf8') },
  };
  const created = await client.request('POST', '/v1/hosts', { ...which.host, ...pasted });
  const refused = created.status >= 400 && created.status < 500;
  if ((which.orRefused && refused) || (which.orAccepted && created.status === 201)) return [];
  const wanted = steps[0]?.create ?? { status: 201 };
  const found = differences(wanted, created, 'creation');
  if (created.status !== 201) return found;
  const host = new FieldHost(client, `/v1/hosts/${(created.body as { id: string }).id}`);
  for (const [index, step] of steps.entries())
    found.push(...(await host.take(step)).map((difference) => `step ${index} ${difference}`));
  return found;
}

type Saved = Record<string, unknown>;

class FieldHost {
  readonly #client: Client;
  readonly #path: string;
  readonly #saved: Saved = {};
  readonly #pids: Record<string, number> = {};

  constructor(client: Client, path: string) {
    this.#client = client;
    this.#path = path;
  }

  async take(written: Step): Promise<string[]> {
    const step = filled(written, this.#saved) as Step;
    if (step.groups !== undefined || step.group_count !== undefined) return await this.#groups(step);
    if (step.device !== undefined) {
      const { body } = await this.#ask('GET', `/devices/${step.device}`);
      return differences(step.expect, body, step.device);
    }
    if (step.http !== undefined) return await this.#http(step, step.http);
    return step.calls === undefined && !step.new ? [] : await this.#calls(step);
  }

  #ask(method: string, path: string, body?: unknown) {
    return this.#client.request(method, this.#path + path, body);
  }

  async #groups({ groups = {}, group_count }: Step): Promise<string[]> {
    const { body } = await this.#ask('GET', '/groups');
    const { items } = body as { items: { group: number; devices: string[] }[] };
    const found = Object.fromEntries(items.map(({ group, devices }) => [group, devices]));
    const counted = group_count === undefined ? [] : differences(group_count, items.length, 'number of groups');
    // Both ways, so that the members are exactly these.
    const members = Object.entries(groups).flatMap(([group, devices]) => [
      ...differences(devices, found[group], `group ${group}`),
      ...differences(found[group], devices, `group ${group}`),
    ]);
    return [...counted, ...members];
  }

  async #http({ expect, save = {} }: Step, [method, path, body]: NonNullable<Step['http']>): Promise<string[]> {
    const answer = await this.#ask(method, path, body);
    const { errno } = (answer.body ?? {}) as { errno?: string };
    for (const [name, where] of Object.entries(save)) this.#saved[name] = pick(answer.body, where);
    return differences(expect, { ...answer, errno }, `${method} ${path}`);
  }

  async #calls({ as = 'vmm', new: another, calls, expect, max_ms, save = {} }: Step): Promise<string[]> {
    if (another || this.#pids[as] === undefined) {
      const { body } = await this.#ask('POST', '/processes', { name: as });
      this.#pids[as] = (body as { pid: number }).pid;
      this.#saved[`pid_${as}`] = this.#pids[as];
    }
    if (another || calls === undefined) return [];
    const begun = performance.now();
    const { status, body } = await this.#ask('POST', `/processes/${this.#pids[as]}/calls`, { calls });
    const took = performance.now() - begun;
    if (status !== 200) return [`calls answered ${status}: ${JSON.stringify(body)}`];
    const { results } = body as { results: unknown[] };
    for (const [name, where] of Object.entries(save)) this.#saved[name] = pick(results, where);
    const slow = max_ms !== undefined && took > max_ms ? [`took ${took} ms of ${max_ms}`] : [];
    return [...slow, ...differences(expect, results, 'calls')];
  }
}

/** With what was saved in its place. */
function filled(value: unknown, saved: Saved): unknown {
  if (typeof value === 'string') {
    if (value.startsWith('$') && value.slice(1) in saved) return saved[value.slice(1)];
    return value.replaceAll(/\{(\w+)\}/g, (whole, name: string) => (name in saved ? String(saved[name]) : whole));
  }
  if (Array.isArray(value)) return value.map((each) => filled(each, saved));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, filled(each, saved)]));
}

function pick(value: unknown, path: string): unknown {
  return path.split('.').reduce((at, part) => (at as Record<string, unknown>)[part], value);
}
