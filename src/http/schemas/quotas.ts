/** Quotas of tenants, as they are given and told. */
import { z } from 'zod';
import { MAX_QUOTA, QUOTA_NAMES, QUOTAS, type QuotaName, UNLIMITED } from '../../quotas.ts';
import { expected, strict } from './values.ts';

const RULE = `a whole number from 0 to ${MAX_QUOTA}, or "${UNLIMITED}"`;
const error = expected(RULE);
const Limit = z.union([z.int({ error }).min(0, { error }).max(MAX_QUOTA, { error }), z.literal(UNLIMITED)], { error });

function each<Schema extends z.ZodType>(make: (name: QuotaName) => Schema): Record<QuotaName, Schema> {
  return Object.fromEntries(QUOTA_NAMES.map((name) => [name, make(name)])) as Record<QuotaName, Schema>;
}

const aboutOf = (name: QuotaName): string => `${QUOTAS[name].about}, in ${QUOTAS[name].unit}`;

/** Those that differ from what all tenants have. */
export const OwnQuotas = strict(each((name) => Limit.meta({ description: aboutOf(name) }).optional())).meta({
  id: 'OwnQuotas',
  description: 'Those that are not as all tenants have them.',
});

export const QuotasInput = strict(
  each((name) =>
    Limit.nullable()
      .meta({ description: `${aboutOf(name)}; null: as all tenants have it.` })
      .optional(),
  ),
).meta({ id: 'QuotasInput', examples: [{ hosts: 100, requests: UNLIMITED, memory: null }] });

const use = {
  limit: Limit,
  used: z.int().nullable().meta({ description: 'Null: it is not counted, but looked at when something comes to it.' }),
  unit: z.string(),
};

const ofTenant = strict({ ...use, of: z.literal('tenant') }).meta({ id: 'TenantUse' });
const ofHost = strict({
  ...use,
  of: z.literal('host'),
  host: z.string().nullable().meta({ description: 'The host that `used` is of, which has most of it.' }),
}).meta({ id: 'HostUse', description: 'Each host may have so much.' });

export const Usage = strict({
  quotas: strict({
    ...each((name) => (QUOTAS[name].of === 'host' ? ofHost : ofTenant).meta({ description: QUOTAS[name].about })),
    bodies: ofTenant.meta({
      description: 'Bodies of requests, and large answers, that are on their way; the same limit for all tenants.',
    }),
  }),
}).meta({ id: 'Usage' });

export const USAGE_EXAMPLE = {
  quotas: {
    hosts: { of: 'tenant', limit: 1000, used: 3, unit: 'hosts' },
    functions: { of: 'host', limit: 4096, used: null, unit: 'functions', host: null },
    units: { of: 'host', limit: 64, used: null, unit: 'units', host: null },
    memory: { of: 'tenant', limit: 1024, used: 12, unit: 'MiB' },
    hostMemory: { of: 'host', limit: 512, used: 9, unit: 'MiB', host: 'h-6jx2m4vq7r3ta5cn' },
    mappings: { of: 'host', limit: 1_048_576, used: 20_480, unit: 'mappings', host: 'h-6jx2m4vq7r3ta5cn' },
    descriptors: { of: 'host', limit: 65_536, used: 14, unit: 'descriptors', host: 'h-6jx2m4vq7r3ta5cn' },
    stored: { of: 'tenant', limit: 4096, used: 2, unit: 'MiB' },
    tenants: { of: 'tenant', limit: 100, used: 2, unit: 'tenants' },
    streams: { of: 'tenant', limit: 64, used: 1, unit: 'requests' },
    requests: { of: 'tenant', limit: 5000, used: 17, unit: 'requests a second' },
    bodies: { of: 'tenant', limit: 512, used: 0, unit: 'MiB' },
  },
};
