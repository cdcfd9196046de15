/** Reads the configuration: environment variables and `--dev`, checked before anything starts. */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { getHeapStatistics } from 'node:v8';
import { z } from 'zod';
import { COMMAND_SECONDS } from './limits.ts';
import { nearest } from './nearest.ts';
import { defaultQuotas, type Quotas, readQuotas } from './quotas.ts';
import { readTraces, type Traces } from './traces.ts';

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

export interface TenantKey {
  name: string;
  key: string;
}

export interface Config {
  /** Development mode: loopback only, with a tenant whose key is printed. */
  dev: boolean;
  host: string;
  /** TCP port; 0: any free one. */
  port: number;
  dataDir: string;
  adminKey: string | null;
  /** Key of the tenant `dev` of the development mode. */
  devKey: string;
  /** Tenants that are created at start if absent; in development mode `dev` is the first. */
  tenants: TenantKey[];
  durability: 'process' | 'power';
  logLevel: (typeof LOG_LEVELS)[number];
  /** Largest request body, in bytes. */
  bodyLimit: number;
  /** Largest body of a batch in JSON, in bytes. */
  batchLimit: number;
  /** What the bodies of a tenant, and those of all, may take at a time until their requests are answered, in bytes. */
  tenantBodies: number;
  allBodies: number;
  /** How long nothing of a body, or no line of a batch, may arrive, in milliseconds. */
  bodyIdle: number;
  /** How long a body may take that is not lines, in milliseconds. */
  bodyTimeout: number;
  /** How many threads run hosts and serve HTTP. */
  lanes: number;
  /** How long a lane may work on one command, in milliseconds. */
  commandTime: number;
  /** What all hosts together may take of memory, in bytes; those that nobody uses leave it where it is not enough. */
  hostMemory: number;
  /** What a tenant may have that is not given other quotas. */
  quotas: Quotas;
  /** Signs files of hosts; null: that of the data directory does. */
  fileKey: string | null;
  /** Origins whose pages may use the service from a browser, or `*`; null: none may. */
  corsOrigins: string[] | null;
  /** Says where the service is, as long as it can be used; null: there is none. */
  readyFile: string | null;
  /** Directory with files of what is to be there from the start on; null: nothing is. */
  seedDir: string | null;
  /** Of which requests a collector of OpenTelemetry is told; null: of none. */
  traces: Traces | null;
  allowServiceDeath: boolean;
  /** Each host is looked at after each command. */
  check: boolean;
  /** Sentences about what was given and is not used. */
  warnings: string[];
}

/** Key of the development mode unless another one is chosen; clients look for the service with it. */
export const WELL_KNOWN_KEY = 'dev-key';

/**
 * The most lanes by default: one less than there are processors, as what is beside them needs one, and with two lanes two processors do no
 * more than with one. But not more than this: each takes some 90 MiB before it has done anything.
 */
const MOST_LANES = 4;
export const DEFAULT_LANES = Math.min(Math.max(availableParallelism() - 1, 1), MOST_LANES);

const MEBIBYTE = 2 ** 20;
/** With it all of the service takes about 1 GiB; and the hosts of one lane alone do not fill the heap that a thread may have. */
const USUAL_HOST_MEMORY = 512;
const DEFAULT_HOST_MEMORY = Math.min(USUAL_HOST_MEMORY, Math.floor(getHeapStatistics().heap_size_limit / 2 / MEBIBYTE));

/** A variable or argument that is not allowed; the message is one sentence that names it. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** The name of a tenant, as it may stand in HOLDOVER_TENANTS and in the API. */
export const TENANT_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
/** What a bearer token may consist of (RFC 6750). */
export const KEY = /^[A-Za-z0-9._~+/=-]+$/;
const LOOPBACK = /^(localhost|::1|127(\.\d{1,3}){3})$/;

const key = z.string().regex(KEY, 'must consist of A-Z a-z 0-9 - . _ ~ + / =');

function integer(least: number, most: number) {
  const rule = `must be a whole number from ${least} to ${most}`;
  return z
    .string()
    .regex(/^\d{1,12}$/, rule)
    .transform(Number)
    .refine((value) => value >= least && value <= most, rule);
}

const tenants = z.string().transform((text, context) => {
  const entries = text.split(/[,\n]/).map((entry) => entry.trim());
  return entries
    .filter((entry) => entry !== '')
    .map((entry, index) => {
      const colon = entry.indexOf(':');
      const tenant = { name: entry.slice(0, Math.max(colon, 0)), key: entry.slice(colon + 1) };
      if (TENANT_NAME.test(tenant.name) && KEY.test(tenant.key)) return tenant;
      // The entry itself is not shown: it holds a key.
      const message = `must hold name:key pairs (name: up to 63 of A-Z a-z 0-9 . _ -; key: A-Z a-z 0-9 - . _ ~ + / =); number ${index + 1} is not one`;
      context.addIssue({ code: 'custom', message });
      return z.NEVER;
    });
});

const quotas = z
  .string()
  .default('')
  .transform((text, context) => {
    const read = readQuotas(text);
    if (!('wrong' in read)) return read;
    context.addIssue({ code: 'custom', message: read.wrong });
    return z.NEVER;
  });

const origins = z.string().transform((text, context) => {
  const given = text.split(',').map((entry) => entry.trim());
  for (const origin of given) {
    if (origin === '*' || (URL.canParse(origin) && new URL(origin).origin === origin)) continue;
    const message = `must hold origins such as https://lab.example:8443, or *; ${origin} is none`;
    context.addIssue({ code: 'custom', message });
  }
  return given;
});

const environment = z.object({
  HOLDOVER_HOST: z.string().default('127.0.0.1'),
  HOLDOVER_PORT: integer(0, 65535).default(8080),
  HOLDOVER_DATA_DIR: z.string().default('./data'),
  HOLDOVER_ADMIN_KEY: key.optional(),
  HOLDOVER_TENANTS: tenants.default([]),
  HOLDOVER_TENANTS_FILE: z.string().optional(),
  HOLDOVER_DEV_KEY: key.default(WELL_KNOWN_KEY),
  HOLDOVER_DURABILITY: z.enum(['process', 'power'], 'must be process or power').default('process'),
  HOLDOVER_LOG_LEVEL: z.enum(LOG_LEVELS, `must be one of ${LOG_LEVELS.join(', ')}`).default('info'),
  HOLDOVER_BODY_LIMIT: integer(1024, 1 << 30).default(4 << 20),
  HOLDOVER_BATCH_LIMIT: integer(1024, 1 << 30).default(256 << 20),
  HOLDOVER_TENANT_BODIES: integer(4, 2 ** 20).default(512),
  HOLDOVER_ALL_BODIES: integer(4, 2 ** 20).default(1024),
  HOLDOVER_BODY_IDLE: integer(1, 3600).default(30),
  HOLDOVER_BODY_TIMEOUT: integer(1, 86_400).default(300),
  HOLDOVER_LANES: integer(1, 64).default(DEFAULT_LANES),
  HOLDOVER_COMMAND_SECONDS: integer(1, 3600).default(COMMAND_SECONDS),
  HOLDOVER_HOST_MEMORY: integer(0, 2 ** 24).default(DEFAULT_HOST_MEMORY),
  HOLDOVER_QUOTAS: quotas,
  HOLDOVER_FILE_KEY: key.optional(),
  HOLDOVER_CORS_ORIGINS: origins.optional(),
  HOLDOVER_READY_FILE: z.string().optional(),
  HOLDOVER_SEED_DIR: z.string().optional(),
  HOLDOVER_ALLOW_SERVICE_DEATH: z.enum(['0', '1'], 'must be 0 or 1').default('0'),
  HOLDOVER_CHECK: z.enum(['0', '1'], 'must be 0 or 1').default('0'),
});

const PREFIX = 'HOLDOVER_';
/** Variables of clients (examples/) and of compose.yaml, which the service ignores without a warning. */
const OF_OTHERS = ['HOLDOVER_URL', 'HOLDOVER_KEY', 'HOLDOVER_PUBLISHED_PORT'];

/** Reads the arguments after the script's name, and the environment. Throws ConfigError. */
export function readConfig(args: readonly string[], variables: Record<string, string | undefined>): Config {
  const unknown = args.find((argument) => argument !== '--dev');
  if (unknown !== undefined) throw new ConfigError(`Unknown argument ${unknown}: the only one is --dev.`);
  // An empty variable is how compose files leave one out.
  const given = Object.fromEntries(Object.entries(variables).filter(([, value]) => value?.trim() !== ''));
  const parsed = environment.safeParse(given);
  if (!parsed.success) throw new ConfigError(sentence(parsed.error.issues[0]!));
  const values = parsed.data;
  const dev = args.includes('--dev');
  if (dev && !LOOPBACK.test(values.HOLDOVER_HOST)) {
    throw new ConfigError(
      `HOLDOVER_HOST is ${values.HOLDOVER_HOST}, but development mode (--dev) has a well-known key and serves loopback only: leave it out, or start without --dev.`,
    );
  }
  const told = readTraces(given);
  if ('wrong' in told) throw new ConfigError(told.wrong);
  const config: Config = {
    dev,
    host: values.HOLDOVER_HOST,
    port: values.HOLDOVER_PORT,
    dataDir: values.HOLDOVER_DATA_DIR,
    adminKey: values.HOLDOVER_ADMIN_KEY ?? null,
    devKey: values.HOLDOVER_DEV_KEY,
    tenants: [
      ...(dev ? [{ name: 'dev', key: values.HOLDOVER_DEV_KEY }] : []),
      ...values.HOLDOVER_TENANTS,
      ...tenantsOfFile(values.HOLDOVER_TENANTS_FILE),
    ],
    durability: values.HOLDOVER_DURABILITY,
    logLevel: values.HOLDOVER_LOG_LEVEL,
    bodyLimit: values.HOLDOVER_BODY_LIMIT,
    batchLimit: values.HOLDOVER_BATCH_LIMIT,
    tenantBodies: values.HOLDOVER_TENANT_BODIES * MEBIBYTE,
    allBodies: values.HOLDOVER_ALL_BODIES * MEBIBYTE,
    bodyIdle: values.HOLDOVER_BODY_IDLE * 1000,
    bodyTimeout: values.HOLDOVER_BODY_TIMEOUT * 1000,
    lanes: values.HOLDOVER_LANES,
    commandTime: values.HOLDOVER_COMMAND_SECONDS * 1000,
    hostMemory: values.HOLDOVER_HOST_MEMORY * MEBIBYTE,
    quotas: defaultQuotas(values.HOLDOVER_QUOTAS, { hostMemory: values.HOLDOVER_HOST_MEMORY, dev }),
    fileKey: values.HOLDOVER_FILE_KEY ?? null,
    corsOrigins: values.HOLDOVER_CORS_ORIGINS ?? null,
    readyFile: values.HOLDOVER_READY_FILE ?? null,
    seedDir: values.HOLDOVER_SEED_DIR ?? null,
    traces: told.traces,
    allowServiceDeath: values.HOLDOVER_ALLOW_SERVICE_DEATH === '1',
    check: values.HOLDOVER_CHECK === '1',
    warnings: [...unknownVariables(Object.keys(given)), ...told.warnings],
  };
  checkKeys(config);
  checkBodies(config);
  return config;
}

function unknownVariables(names: readonly string[]): string[] {
  const known = Object.keys(environment.shape);
  const unknown = names.filter((name) => /^holdover_/i.test(name) && ![...known, ...OF_OTHERS].includes(name));
  // Names are compared without their common prefix, which would make all of them near.
  const endings = known.map((name) => name.slice(PREFIX.length));
  return unknown.map((name) => {
    const meant = nearest(name.slice(PREFIX.length), endings);
    const advice = meant === undefined ? `there are ${known.join(', ')}` : `did you mean ${PREFIX}${meant}?`;
    return `${name} is not a variable of Holdover's: ${advice}`;
  });
}

function tenantsOfFile(path: string | undefined): TenantKey[] {
  if (path === undefined) return [];
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const reason = (error as { code?: string }).code ?? 'unknown error';
    throw new ConfigError(`HOLDOVER_TENANTS_FILE must name a file that can be read; ${path} cannot (${reason}).`);
  }
  const parsed = tenants.safeParse(text);
  if (!parsed.success) throw new ConfigError(`HOLDOVER_TENANTS_FILE ${parsed.error.issues[0]!.message}.`);
  return parsed.data;
}

/** Throws ConfigError if two keys are the same: a key identifies who calls. */
export function checkKeys({ tenants, adminKey }: Pick<Config, 'tenants' | 'adminKey'>): void {
  const names = new Set<string>();
  const keys = new Set<string>(adminKey === null ? [] : [adminKey]);
  for (const { name, key } of tenants) {
    if (names.has(name)) throw new ConfigError(`HOLDOVER_TENANTS names the tenant ${name} twice (--dev brings dev).`);
    if (keys.has(key)) {
      throw new ConfigError(
        `HOLDOVER_TENANTS gives ${name} a key that is also another tenant's or HOLDOVER_ADMIN_KEY.`,
      );
    }
    names.add(name);
    keys.add(key);
  }
}

/** Throws ConfigError if a body that is allowed could never be received. */
function checkBodies({ bodyLimit, batchLimit, tenantBodies, allBodies }: Config): void {
  if (tenantBodies > allBodies)
    throw new ConfigError('HOLDOVER_TENANT_BODIES must be at most HOLDOVER_ALL_BODIES: both are in MiB.');
  for (const [name, bytes] of [
    ['HOLDOVER_BODY_LIMIT', bodyLimit],
    ['HOLDOVER_BATCH_LIMIT', batchLimit],
  ] as const) {
    if (bytes <= tenantBodies) continue;
    const room = `${tenantBodies / MEBIBYTE} MiB for the bodies of a tenant`;
    throw new ConfigError(`${name} is ${bytes} bytes, but there are ${room}: raise HOLDOVER_TENANT_BODIES.`);
  }
}

function sentence(issue: z.core.$ZodIssue): string {
  return `${String(issue.path[0])} ${issue.message}.`;
}
