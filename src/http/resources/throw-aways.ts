/** Throw-away tenants: a tenant makes some of its own, each with a key and an end, which share its quotas. */
import { z } from 'zod';
import { TENANT_NAME } from '../../config.ts';
import { removeTenant } from '../../lanes/removal.ts';
import type { Tenant } from '../../store/store.ts';
import { notFound } from '../answers.ts';
import { withNewKey } from '../made-keys.ts';
import { Problem } from '../problems.ts';
import { exceeded } from '../quotas/quotas.ts';
import { removeHost } from '../removal.ts';
import { type Context, type Route, route } from '../route.ts';
import { ExpiresAt, requiredTtl } from '../schemas/labels.ts';
import { expected, listOf, strict, Time, whole } from '../schemas/values.ts';
import { NAME_RULE } from './tenants.ts';

const TENANTS = '/v1/tenants';
const tag = 'Service';
const access = 'tenant';

const throwAway = { id: z.string(), name: z.string(), created: Time, expiresAt: ExpiresAt };
const ThrowAway = strict(throwAway).meta({ id: 'ThrowAway' });
const NewThrowAway = strict({
  ...throwAway,
  key: z.string().meta({ description: 'Shown here and never again.' }),
}).meta({
  id: 'NewThrowAway',
});
const EXAMPLE = {
  id: 't-5d1c9e70',
  name: 'acme/run-4711',
  created: '2026-01-31T12:00:00.000Z',
  expiresAt: '2026-01-31T13:00:00.000Z',
};

const viewOf = ({ id, name, created, expiresAt }: Tenant) => ({ id, name, created, expiresAt });

async function throwAwayOf({ directory }: Context, { id: parentId }: Tenant, id: string): Promise<Tenant> {
  const found = await directory.tenants.get(id);
  if (found?.parentId === parentId) return found;
  throw notFound(`You have made no such tenant: GET ${TENANTS} lists yours.`);
}

/** With all that they have. How many hosts they had. */
export async function removeThrowAways(context: Context, tenants: readonly Tenant[]): Promise<number> {
  let hosts = 0;
  for (const { id } of tenants) hosts += await removeTenant(context.directory, id, (host) => removeHost(context, host));
  return hosts;
}

export const THROW_AWAY_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: TENANTS,
    operationId: 'createThrowAway',
    tag,
    summary: 'Make a throw-away tenant',
    description:
      'It has a key of its own, sees nothing of its maker’s and of others, and its maker sees nothing of its. What it uses counts to its maker’s quotas. When its end has come, or its maker deletes it, all that it has is deleted with it. It makes none itself.',
    access,
    body: strict({
      name: z
        .string({ error: expected(NAME_RULE) })
        .regex(TENANT_NAME, { error: expected(NAME_RULE) })
        .meta({ description: 'Behind the name of its maker; its id if not given.' })
        .optional(),
      ttlSeconds: requiredTtl,
    }),
    bodyExample: { name: 'run-4711', ttlSeconds: 3600 },
    success: {
      201: {
        description: 'The tenant, with its key.',
        schema: NewThrowAway,
        example: { ...EXAMPLE, key: 'hk_…' },
        location: ({ id }: { id: string }) => `${TENANTS}/${id}`,
      },
    },
    audited: true,
    problems: ['conflict', 'key-reused'],
    async handle(context, { body: { name, ttlSeconds }, tenant }, reply) {
      const { directory, quotas } = context;
      return await withNewKey(context, reply, {
        of: `throw-away of ${tenant.id}`,
        again: ({ tenant: made }) =>
          name === undefined || made.name === `${tenant.name}/${name}` ? viewOf(made) : null,
        async make(keyHash) {
          if (tenant.parentId !== null) throw new Problem('forbidden', 'A throw-away tenant makes no tenants.');
          const { tenants: most } = quotas.of(tenant);
          const expiresAt = new Date(Date.now() + ttlSeconds * 1000).toISOString();
          const made = await directory.tenants.createChild(tenant, { name, expiresAt, most }, keyHash);
          if (made === undefined) throw exceeded('tenants', most, most);
          return viewOf(made);
        },
      });
    },
  }),
  route({
    method: 'GET',
    path: TENANTS,
    operationId: 'listThrowAways',
    tag,
    summary: 'List the throw-away tenants that one has made',
    description: 'By name.',
    access,
    success: {
      200: { description: 'All of them.', schema: listOf('ThrowAwayList', ThrowAway), example: whole([EXAMPLE]) },
    },
    handle: async ({ directory }, { tenant }) => whole((await directory.tenants.children(tenant.id)).map(viewOf)),
  }),
  route({
    method: 'GET',
    path: `${TENANTS}/{tenant}`,
    operationId: 'getThrowAway',
    tag,
    summary: 'Read a throw-away tenant',
    description: 'One that the tenant has made.',
    access,
    success: { 200: { description: 'The tenant.', schema: ThrowAway, example: EXAMPLE } },
    handle: async (context, { params, tenant }) => viewOf(await throwAwayOf(context, tenant, params.tenant)),
  }),
  route({
    method: 'DELETE',
    path: `${TENANTS}/{tenant}`,
    operationId: 'deleteThrowAway',
    tag,
    summary: 'Delete a throw-away tenant',
    description: 'With all that it has. Its key is nobody’s from then on.',
    access,
    audited: true,
    success: { 204: { description: 'It is gone.' } },
    async handle(context, { params, tenant }) {
      await removeThrowAways(context, [await throwAwayOf(context, tenant, params.tenant)]);
    },
  }),
];
