/** Tenants, made with the admin key. A tenant's key is shown once, when it is made. */
import { z } from 'zod';
import { TENANT_NAME } from '../../config.ts';
import { hashKey, newKey } from '../../store/keys.ts';
import { type Route, route } from '../route.ts';
import { expected, listOf, strict, Time, whole } from '../schemas/values.ts';

const TENANTS = '/v1/admin/tenants';
const tag = 'Administration';

const NAME_RULE = 'a name of 1 to 63 of the characters A-Z a-z 0-9 . _ -, the first a letter or a digit';

const tenant = { id: z.string(), name: z.string(), created: Time };
const Tenant = strict(tenant).meta({ id: 'Tenant' });
const NewTenant = strict({ ...tenant, key: z.string().meta({ description: 'Shown here and never again.' }) }).meta({
  id: 'NewTenant',
});
const TENANT_EXAMPLE = { id: 't-0b7d2f2c', name: 'acme', created: '2026-01-31T12:00:00.000Z' };

export const TENANT_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: TENANTS,
    operationId: 'createTenant',
    tag,
    summary: 'Make a tenant',
    access: 'admin',
    body: strict({
      name: z.string({ error: expected(NAME_RULE) }).regex(TENANT_NAME, { error: expected(NAME_RULE) }),
    }),
    bodyExample: { name: 'acme' },
    success: {
      201: {
        description: 'The tenant, with its key.',
        schema: NewTenant,
        example: { ...TENANT_EXAMPLE, key: 'hk_…' },
      },
    },
    problems: ['conflict'],
    async handle({ directory }, { body }, reply) {
      const key = newKey();
      const created = await directory.tenants.create(body.name, hashKey(key));
      reply.header('cache-control', 'no-store');
      return { ...created, key };
    },
  }),
  route({
    method: 'GET',
    path: TENANTS,
    operationId: 'listTenants',
    tag,
    summary: 'List tenants',
    access: 'admin',
    success: {
      200: { description: 'All of them.', schema: listOf('TenantList', Tenant), example: whole([TENANT_EXAMPLE]) },
    },
    handle: async ({ directory }) => whole(await directory.tenants.list()),
  }),
];
