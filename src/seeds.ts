/** Seed files (HOLDOVER_SEED_DIR): tenants and hosts that are there as soon as the service is, as they are described, or prepared by a scenario. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, normalize } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { type Config, ConfigError, checkKeys, KEY, TENANT_NAME } from './config.ts';
import type { Answer } from './host/command.ts';
import { buildHostSpec, type HostRequest } from './host/host-spec.ts';
import { Problem } from './http/problems.ts';
import { type Known, newIdentity } from './http/resources/hosts.ts';
import { HostInput } from './http/schemas/host.ts';
import { expected, name, strict } from './http/schemas/values.ts';
import { read } from './http/validation.ts';
import type { RunningLanes } from './lanes/lanes.ts';
import type { Log } from './log.ts';
import type { Directory, Tenant } from './store/store.ts';

const SEED_FILE = /\.(json|ya?ml)$/;

function text(pattern: RegExp, rule: string) {
  const error = expected(rule);
  return z.string({ error }).regex(pattern, { error });
}

const { from: _, at: __, ...machine } = HostInput.shape;
const Seed = strict({
  tenants: z
    .array(
      strict({
        name: text(TENANT_NAME, 'up to 63 of A-Z a-z 0-9 . _ -'),
        key: text(KEY, 'A-Z a-z 0-9 - . _ ~ + / ='),
      }),
    )
    .default([]),
  hosts: z
    .array(
      strict({
        ...machine,
        tenant: text(TENANT_NAME, 'the name of a tenant'),
        name: name('By which it is found again.'),
        scenario: text(/./, 'the path of a scenario file, from the directory on').optional(),
      }),
    )
    .default([]),
});

type SeedKnown = Known & { name: string };
/** Makes it for the tenant, and gives its id. Throws ConfigError. */
type Make = (known: SeedKnown, tenant: Tenant, service: Service) => Promise<string>;

interface SeedHost {
  /** The file, and where in it the host is. */
  place: string;
  tenant: string;
  known: SeedKnown;
  make: Make;
}

interface Service {
  config: Config;
  fileKey: string;
  directory: Directory;
  lanes: RunningLanes;
  log: Log;
}

/** A host that has this label is being prepared. A start that finds one comes after one that was killed meanwhile. */
const UNFINISHED = 'holdover/unfinished';

const wrong = (place: string, reason: string): ConfigError =>
  new ConfigError(`HOLDOVER_SEED_DIR: ${place}: ${reason}.`);

/** What all files of a directory ask for, in the order of their names. */
export class Seeds {
  readonly #tenants: Config['tenants'] = [];
  readonly #hosts: SeedHost[] = [];
  /** The scenarios that hosts have, from the directory on. */
  readonly #named = new Set<string>();

  private constructor() {}

  /** Throws ConfigError, which names file and field. */
  static async read(directory: string): Promise<Seeds> {
    const seeds = new Seeds();
    const scenarios: string[] = [];
    for (const file of filesOf(directory)) {
      const value = parsed(directory, file);
      if (isScenario(value)) scenarios.push(file);
      else await seeds.#add(directory, file, checked(file, value));
    }
    const unnamed = scenarios.find((file) => !seeds.#named.has(file));
    if (unnamed === undefined) return seeds;
    throw wrong(
      unnamed,
      `it is a scenario, and no host of a seed file has it: {tenant: …, name: …, scenario: ${unnamed}}`,
    );
  }

  async #add(directory: string, file: string, { tenants, hosts }: z.output<typeof Seed>): Promise<void> {
    this.#tenants.push(...tenants);
    for (const [index, { tenant, name, labels, ttlSeconds, scenario, ...request }] of hosts.entries()) {
      const place = `${file} /hosts/${index}`;
      if (scenario !== undefined) this.#named.add(normalize(scenario));
      const make =
        scenario === undefined
          ? described(place, request)
          : await prepared(place, join(directory, scenario), Object.keys(request));
      if (this.#hosts.some((other) => other.tenant === tenant && other.known.name === name))
        throw wrong(`${place}/name`, `another host of ${tenant} is to have that name`);
      this.#hosts.push({ place, tenant, known: { name, labels, ttlSeconds }, make });
    }
  }

  /** The configuration with their tenants. Throws ConfigError where two have the same name or key. */
  withTenants(config: Config): Config {
    const all = { ...config, tenants: [...config.tenants, ...this.#tenants] };
    checkKeys(all);
    return all;
  }

  /** Makes those hosts that are not there: one of that name stays as it is. Throws ConfigError where one cannot be made. */
  async makeHosts(service: Service): Promise<void> {
    const { tenants, hosts } = service.directory;
    for (const { place, tenant: owner, known, make } of this.#hosts) {
      const tenant = await tenants.findByName(owner);
      if (tenant === undefined) throw wrong(`${place}/tenant`, `there is no tenant ${owner}`);
      const [there] = await hosts.list(tenant.id, 1, undefined, { name: known.name });
      if (there !== undefined) {
        if (there.labels[UNFINISHED] === undefined) continue;
        await service.lanes.remove(there.id);
        hosts.forget(there.id);
      }
      const host = await make(known, tenant, service);
      service.log.info({ host, tenant: owner, name: known.name }, 'host made from a seed file');
    }
  }
}

function described(place: string, request: HostRequest): Make {
  const built = buildHostSpec(request);
  if ('errors' in built) throw wrong(`${place}${built.errors[0]!.pointer}`, built.errors[0]!.reason);
  return async (known, { id: tenantId }, { lanes }) => {
    const identity = newIdentity(lanes.newHostId(), known);
    const made = await lanes.create({ ...identity, tenantId, spec: built.spec });
    if (made.kind !== 'ok') throw wrong(place, whyNot(made));
    return identity.id;
  };
}

/** The host has the labels that it is to have when all has been done, and not before. */
async function prepared(place: string, file: string, others: readonly string[]): Promise<Make> {
  if (others[0] !== undefined) throw wrong(`${place}/${others[0]}`, 'what machine it is says the scenario');
  const { NotPrepared, Preparation } = await import('./scenarios/preparation.ts');
  const explain = (error: unknown): never => {
    throw error instanceof NotPrepared ? wrong(`${place}/scenario`, error.message) : error;
  };
  const preparation = await Preparation.read(file).catch(explain);
  return async ({ labels = {}, ...known }, tenant, service) => {
    const { asTenant } = await import('./within.ts');
    const unfinished = { ...known, labels: { [UNFINISHED]: 'seed' } };
    const id = await asTenant(tenant, service, (send) => preparation.run(send, unfinished)).catch(explain);
    await service.directory.hosts.setLabels(id, labels);
    return id;
  };
}

function whyNot(answer: Exclude<Answer, { kind: 'ok' }>): string {
  if (answer.kind !== 'refused') return `it cannot be made (${answer.kind})`;
  const [first = answer] = answer.functions ?? [];
  const driver = 'bdf' in first ? `the driver of ${first.bdf} cannot be bound: ` : '';
  return `${driver}${first.errno}, ${first.why}`;
}

function filesOf(directory: string): string[] {
  try {
    return readdirSync(directory)
      .filter((name) => SEED_FILE.test(name))
      .sort();
  } catch (error) {
    const reason = (error as { code?: string }).code ?? 'unknown error';
    throw new ConfigError(`HOLDOVER_SEED_DIR must name a directory that can be read; ${directory} cannot (${reason}).`);
  }
}

function parsed(directory: string, file: string): unknown {
  try {
    return parse(readFileSync(join(directory, file), 'utf8'));
  } catch (error) {
    throw wrong(file, `it cannot be read: ${(error as Error).message.split('\n', 1)[0]}`);
  }
}

/** Seed files have no `steps`. */
const isScenario = (value: unknown): boolean => typeof value === 'object' && value !== null && 'steps' in value;

function checked(file: string, value: unknown): z.output<typeof Seed> {
  try {
    return read(Seed, value, 'body');
  } catch (error) {
    const [first] = (error instanceof Problem && error.extras.errors) || [];
    if (first === undefined) throw error;
    throw wrong(`${file} ${first.pointer || '/'}`, first.reason);
  }
}
