/** Quotas of tenants: which there are, what they count, and how they are written. */
import { nearest } from './nearest.ts';

export const QUOTAS = {
  hosts: { of: 'tenant', unit: 'hosts', about: 'hosts that there are' },
  functions: { of: 'host', unit: 'functions', about: 'PCI functions of one host' },
  units: { of: 'host', unit: 'units', about: 'IOMMU units of one host' },
  memory: { of: 'tenant', unit: 'MiB', about: 'memory that all hosts together take' },
  hostMemory: { of: 'host', unit: 'MiB', about: 'memory that one host takes' },
  mappings: { of: 'host', unit: 'mappings', about: 'mappings of one host, of processes and of IO address spaces' },
  descriptors: { of: 'host', unit: 'descriptors', about: 'open descriptors of one host' },
  stored: { of: 'tenant', unit: 'MiB', about: 'what is stored of all hosts together' },
  tenants: { of: 'tenant', unit: 'tenants', about: 'throw-away tenants that there are' },
  streams: { of: 'tenant', unit: 'requests', about: 'requests that wait for events, or stream them' },
  requests: { of: 'tenant', unit: 'requests a second', about: 'requests a second; that many may come at once' },
} as const satisfies Record<string, { of: 'tenant' | 'host'; unit: string; about: string }>;

export type QuotaName = keyof typeof QUOTAS;
export const QUOTA_NAMES = Object.keys(QUOTAS) as QuotaName[];

export const UNLIMITED = 'unlimited';
export const MAX_QUOTA = 2 ** 40;

/** A limit as it is given and told: a whole number from 0 on, in the unit of the quota. */
export type GivenLimit = number | typeof UNLIMITED;
export type GivenQuotas = { [Name in QuotaName]?: GivenLimit };

/** The limit of each quota, in its unit; infinite: there is none. */
export type Quotas = Readonly<Record<QuotaName, number>>;

const limitOf = (given: GivenLimit): number => (given === UNLIMITED ? Number.POSITIVE_INFINITY : given);
export const givenOf = (limit: number): GivenLimit => (Number.isFinite(limit) ? limit : UNLIMITED);

/** Those that do not depend on anything. */
export const DEFAULTS = {
  hosts: 1000,
  functions: 4096,
  units: 64,
  mappings: 2 ** 20,
  descriptors: 65_536,
  stored: 4096,
  tenants: 100,
  streams: 64,
  requests: 5000,
} as const;

/** A tenant's hosts may take what all hosts may, as those that nobody uses leave memory; but not less than this, in MiB. */
const LEAST_MEMORY = 256;

/** `hostMemory`: what all hosts may take, in MiB. `dev`: nobody but the developer asks, as often as they like. */
export function defaultQuotas(given: GivenQuotas, { hostMemory, dev }: { hostMemory: number; dev: boolean }): Quotas {
  const usual = Math.max(hostMemory, LEAST_MEMORY);
  const memory = limitOf(given.memory ?? usual);
  const half = Math.floor((Number.isFinite(memory) ? memory : hostMemory) / 2);
  const requests = dev ? Number.POSITIVE_INFINITY : DEFAULTS.requests;
  return withQuotas({ ...DEFAULTS, requests, memory, hostMemory: half }, given);
}

/** `quotas`, but for what is given; what is none is passed over. */
export function withQuotas(quotas: Quotas, given: Readonly<Record<string, GivenLimit>>): Quotas {
  const limits = Object.entries(given).filter(([name]) => isQuotaName(name));
  return { ...quotas, ...Object.fromEntries(limits.map(([name, limit]) => [name, limitOf(limit)])) };
}

/** Reads `name=limit[,name=limit]`. Returns what is wrong as the rest of a sentence, if something is. */
export function readQuotas(text: string): GivenQuotas | { wrong: string } {
  const quotas: GivenQuotas = {};
  for (const entry of text.split(',').map((part) => part.trim())) {
    if (entry === '') continue;
    const [name = '', limit = ''] = entry.split('=', 2).map((part) => part.trim());
    if (!isQuotaName(name)) {
      const meant = nearest(name, QUOTA_NAMES);
      const advice = meant === undefined ? `there are ${QUOTA_NAMES.join(', ')}` : `did you mean ${meant}?`;
      return { wrong: `must hold name=limit pairs; ${name || 'nothing'} is no quota: ${advice}` };
    }
    if (quotas[name] !== undefined) return { wrong: `names the quota ${name} twice` };
    if (limit !== UNLIMITED && !(/^\d{1,13}$/.test(limit) && Number(limit) <= MAX_QUOTA))
      return { wrong: `must give ${name} a whole number from 0 to ${MAX_QUOTA}, or ${UNLIMITED}, not "${limit}"` };
    quotas[name] = limit === UNLIMITED ? UNLIMITED : Number(limit);
  }
  return quotas;
}

const isQuotaName = (name: string): name is QuotaName => Object.hasOwn(QUOTAS, name);
