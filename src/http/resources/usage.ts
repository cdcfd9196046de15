/** What a tenant uses of its quotas. */
import { givenOf, QUOTA_NAMES, QUOTAS } from '../../quotas.ts';
import { accountOf, type Tenant } from '../../store/store.ts';
import { type Context, type Route, route } from '../route.ts';
import { USAGE_EXAMPLE, Usage } from '../schemas/quotas.ts';

const MIB = 2 ** 20;

export const usageAnswer = { description: 'Each quota.', schema: Usage, example: USAGE_EXAMPLE };

export async function usageOf(context: Context, tenant: Tenant): Promise<unknown> {
  const { quotas, watchers, budget, config, directory } = context;
  const account = accountOf(tenant);
  const limits = quotas.of(tenant);
  const used = {
    ...(await quotas.used(tenant)),
    tenants: { used: (await directory.tenants.children(account)).length },
    streams: { used: watchers.count(account) },
  };
  const each = QUOTA_NAMES.map((name) => {
    const { of, unit } = QUOTAS[name];
    const has: { used: number | null; host?: string } = used[name];
    const host = of === 'host' && { host: has.host ?? null };
    return [name, { of, limit: givenOf(limits[name]), used: has.used, unit, ...host }];
  });
  const bodies = {
    of: 'tenant',
    limit: config.tenantBodies / MIB,
    used: Math.ceil(budget.of(account) / MIB),
    unit: 'MiB',
  };
  return { quotas: { ...Object.fromEntries(each), bodies } };
}

export const USAGE_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/v1/usage',
    operationId: 'getUsage',
    tag: 'Service',
    summary: 'What is used of the quotas',
    description:
      'All quotas of the tenant that asks, which its throw-away tenants use with it. Memory, mappings and descriptors are as last found out, which is soon after they have changed.',
    access: 'tenant',
    success: { 200: usageAnswer },
    handle: (context, { tenant }) => usageOf(context, tenant),
  }),
];
