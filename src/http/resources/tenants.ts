/** Tenants and their quotas, made with the admin key. A tenant's key is shown once, when it is made. */
import { z } from 'zod';
import { TENANT_NAME } from '../../config.ts';
import type { GivenQuotas } from '../../quotas.ts';
import type { Tenant as StoredTenant } from '../../store/store.ts';
import { notFound } from '../answers.ts';
import { withNewKey } from '../made-keys.ts';
import { limit } from '../parameters.ts';
import { type Context, type Route, route } from '../route.ts';
import { ExpiresAt } from '../schemas/labels.ts';
import { OwnQuotas, QuotasInput } from '../schemas/quotas.ts';
import { expected, listOf, strict, Time, whole } from '../schemas/values.ts';
import { invalid } from '../validation.ts';
import { usageAnswer, usageOf } from './usage.ts';

const TENANTS = '/v1/admin/tenants';
const TENANT = `${TENANTS}/{tenant}` as const;
const tag = 'Administration';
const access = 'admin';

export const NAME_RULE = 'a name of 1 to 63 of the characters A-Z a-z 0-9 . _ -, the first a letter or a digit';
const TENANTS_PAGE = 1000;

const tenant = {
  id: z.string(),
  name: z.string(),
  created: Time,
  quotas: OwnQuotas,
  parentId: z
    .string()
    .nullable()
    .meta({ description: 'Of a throw-away tenant: who has made it, and whose quotas these are.' }),
  expiresAt: ExpiresAt,
};
const Tenant = strict(tenant).meta({ id: 'Tenant' });
const NewTenant = strict({ ...tenant, key: z.string().meta({ description: 'Shown here and never again.' }) }).meta({
  id: 'NewTenant',
});
const TENANT_EXAMPLE = {
  id: 't-0b7d2f2c',
  name: 'acme',
  created: '2026-01-31T12:00:00.000Z',
  quotas: { hosts: 100 },
  parentId: null,
  expiresAt: null,
};
const tenantAnswer = { description: 'The tenant.', schema: Tenant, example: TENANT_EXAMPLE };

export async function tenantOf({ directory }: Context, id: string): Promise<StoredTenant> {
  const found = await directory.tenants.get(id);
  if (found === undefined) throw notFound(`There is no tenant of that id: GET ${TENANTS} lists them.`);
  return found;
}

export const TENANT_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: TENANTS,
    operationId: 'createTenant',
    tag,
    summary: 'Make a tenant',
    description: 'Its key is in this answer, and nowhere else.',
    access,
    audited: true,
    body: strict({
      name: z.string({ error: expected(NAME_RULE) }).regex(TENANT_NAME, { error: expected(NAME_RULE) }),
    }),
    bodyExample: { name: 'acme' },
    success: {
      201: {
        description: 'The tenant, with its key.',
        schema: NewTenant,
        example: { ...TENANT_EXAMPLE, quotas: {}, key: 'hk_…' },
        location: ({ id }: { id: string }) => `${TENANTS}/${id}`,
      },
    },
    problems: ['conflict', 'key-reused'],
    async handle(context, { body: { name } }, reply) {
      reply.header('cache-control', 'no-store');
      return await withNewKey(context, reply, {
        of: 'tenant',
        make: (keyHash) => context.directory.tenants.create(name, keyHash),
        again: ({ tenant }) => (tenant.name === name ? { ...tenant, quotas: {} } : null),
      });
    },
  }),
  route({
    method: 'GET',
    path: TENANTS,
    operationId: 'listTenants',
    tag,
    summary: 'List tenants',
    description: 'By name.',
    access,
    query: strict({
      limit: limit(TENANTS_PAGE, TENANTS_PAGE),
      after: z
        .string()
        .meta({ description: 'The `nextPageToken` of the page before.', examples: ['t-0b7d2f2c'] })
        .optional(),
    }),
    success: {
      200: { description: 'A page of them.', schema: listOf('TenantList', Tenant), example: whole([TENANT_EXAMPLE]) },
    },
    async handle({ directory }, { query }) {
      const found = await directory.tenants.list(query.limit + 1, query.after);
      const items = found.slice(0, query.limit);
      return { items, nextPageToken: found.length > items.length ? items.at(-1)!.name : null };
    },
  }),
  route({
    method: 'GET',
    path: TENANT,
    operationId: 'getTenant',
    tag,
    summary: 'Read a tenant',
    description: 'Its name and the quotas of its own, without its key.',
    access,
    problems: ['not-found'],
    success: { 200: tenantAnswer },
    handle: (context, { params }) => tenantOf(context, params.tenant),
  }),
  route({
    method: 'PATCH',
    path: TENANT,
    operationId: 'updateTenant',
    tag,
    summary: 'Change the quotas of a tenant',
    description:
      'Those that are not named stay as they are. What the tenant has beyond them stays, but nothing is added.',
    access,
    audited: true,
    body: strict({ quotas: QuotasInput }),
    bodyExample: { quotas: { hosts: 100, requests: 'unlimited', memory: null } },
    problems: ['not-found'],
    success: { 200: tenantAnswer },
    async handle(context, { params, body }) {
      const { id, quotas, parentId } = await tenantOf(context, params.tenant);
      if (parentId !== null) {
        const reason = `a throw-away tenant has those of ${parentId}, which has made it`;
        throw invalid([{ in: 'body', pointer: '/quotas', reason }]);
      }
      const all = Object.entries({ ...quotas, ...body.quotas }).filter(([, given]) => given !== null);
      await context.directory.tenants.setQuotas(id, Object.fromEntries(all) as GivenQuotas);
      return await tenantOf(context, id);
    },
  }),
  route({
    method: 'GET',
    path: `${TENANT}/usage`,
    operationId: 'getTenantUsage',
    tag,
    summary: 'What a tenant uses of its quotas',
    description: 'All quotas of the tenant: what it may have, and what of it is used.',
    access,
    problems: ['not-found'],
    success: { 200: usageAnswer },
    handle: async (context, { params }) => await usageOf(context, await tenantOf(context, params.tenant)),
  }),
];
