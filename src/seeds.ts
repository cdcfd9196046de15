/** Seed files (HOLDOVER_SEED_DIR): tenants and hosts that are there as soon as the service is. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { type Config, ConfigError, checkKeys, KEY, TENANT_NAME } from './config.ts';
import type { Answer, HostSpec } from './host/command.ts';
import { buildHostSpec } from './host/host-spec.ts';
import { Problem } from './http/problems.ts';
import { type Known, newIdentity } from './http/resources/hosts.ts';
import { HostInput } from './http/schemas/host.ts';
import { expected, name, strict } from './http/schemas/values.ts';
import { read } from './http/validation.ts';
import type { RunningLanes } from './lanes/lanes.ts';
import { newHostId } from './lanes/owner.ts';
import type { Log } from './log.ts';
import type { Directory } from './store/store.ts';

const SEED_FILE = /\.(json|ya?ml)$/;

function text(pattern: RegExp, rule: string) {
  const error = expected(rule);
  return z.string({ error }).regex(pattern, { error });
}

const { from: _, at: __, ...described } = HostInput.shape;
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
        ...described,
        tenant: text(TENANT_NAME, 'the name of a tenant'),
        name: name('By which it is found again.'),
      }),
    )
    .default([]),
});

interface SeedHost extends Known {
  /** The file, and where in it the host is. */
  place: string;
  tenant: string;
  name: string;
  spec: HostSpec;
}

const wrong = (place: string, reason: string): ConfigError =>
  new ConfigError(`HOLDOVER_SEED_DIR: ${place}: ${reason}.`);

/** What all files of a directory ask for, in the order of their names. */
export class Seeds {
  readonly #tenants: Config['tenants'] = [];
  readonly #hosts: SeedHost[] = [];

  /** Throws ConfigError, which names file and field. */
  constructor(directory: string) {
    for (const file of filesOf(directory)) {
      const { tenants, hosts } = readSeed(directory, file);
      this.#tenants.push(...tenants);
      for (const [index, { tenant, name, labels, ttlSeconds, ...request }] of hosts.entries()) {
        const place = `${file} /hosts/${index}`;
        const built = buildHostSpec(request);
        if ('errors' in built) throw wrong(`${place}${built.errors[0]!.pointer}`, built.errors[0]!.reason);
        if (this.#hosts.some((other) => other.tenant === tenant && other.name === name))
          throw wrong(`${place}/name`, `another host of ${tenant} is to have that name`);
        this.#hosts.push({ place, tenant, name, labels, ttlSeconds, spec: built.spec });
      }
    }
  }

  /** The configuration with their tenants. Throws ConfigError where two have the same name or key. */
  withTenants(config: Config): Config {
    const all = { ...config, tenants: [...config.tenants, ...this.#tenants] };
    checkKeys(all);
    return all;
  }

  /** Makes those hosts that are not there: one of that name stays as it is. Throws ConfigError where one cannot be made. */
  async makeHosts(
    { tenants, hosts }: Pick<Directory, 'tenants' | 'hosts'>,
    { lanes, count, log }: { lanes: Pick<RunningLanes, 'create'>; count: number; log: Log },
  ): Promise<void> {
    for (const [index, { place, tenant: owner, spec, ...seed }] of this.#hosts.entries()) {
      const tenant = await tenants.findByName(owner);
      if (tenant === undefined) throw wrong(`${place}/tenant`, `there is no tenant ${owner}`);
      const [there] = await hosts.list(tenant.id, 1, undefined, { name: seed.name });
      if (there !== undefined) continue;
      // All lanes get some.
      const identity = newIdentity(newHostId(index % count, count), seed);
      const made = await lanes.create({ ...identity, tenantId: tenant.id, spec });
      if (made.kind !== 'ok') throw wrong(place, whyNot(made));
      log.info({ host: identity.id, tenant: owner, name: seed.name }, 'host made from a seed file');
    }
  }
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

function readSeed(directory: string, file: string): z.output<typeof Seed> {
  let value: unknown;
  try {
    value = parse(readFileSync(join(directory, file), 'utf8'));
  } catch (error) {
    throw wrong(file, `it cannot be read: ${(error as Error).message.split('\n', 1)[0]}`);
  }
  try {
    return read(Seed, value, 'body');
  } catch (error) {
    const [first] = (error instanceof Problem && error.extras.errors) || [];
    if (first === undefined) throw error;
    throw wrong(`${file} ${first.pointer || '/'}`, first.reason);
  }
}
