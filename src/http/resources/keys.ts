/** Keys of tenants: of one's own, and with the admin key those of any tenant. A key is shown once, when it is made. */
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { TENANT_NAME } from '../../config.ts';
import { MAX_KEY_SECONDS, MAX_KEYS } from '../../limits.ts';
import { KeyExists } from '../../store/errors.ts';
import { FIRST_KEY, type StoredKey } from '../../store/rows.ts';
import { notFound } from '../answers.ts';
import { withNewKey } from '../made-keys.ts';
import { Problem } from '../problems.ts';
import { type Context, type Route, route } from '../route.ts';
import { expected, listOf, strict, Time, whole } from '../schemas/values.ts';
import { NAME_RULE, tenantOf } from './tenants.ts';

const key = {
  name: z.string().meta({ description: `\`${FIRST_KEY}\`: the one that the tenant was made with.` }),
  role: z.enum(['full', 'read-only']).meta({
    description:
      '`read-only`: it is good for GET and HEAD, as far as they are no system calls, which take time of the host.',
  }),
  created: Time,
  expiresAt: Time.nullable().meta({ description: 'From then on it is no key any more; null: never.' }),
};
const Key = strict(key).meta({ id: 'Key' });
const NewKey = strict({ ...key, key: z.string().meta({ description: 'Shown here and never again.' }) }).meta({
  id: 'NewKey',
});
const KeyInput = strict({
  name: z.string({ error: expected(NAME_RULE) }).regex(TENANT_NAME, { error: expected(NAME_RULE) }),
  role: key.role.optional(),
  ttlSeconds: z
    .int()
    .min(1)
    .max(MAX_KEY_SECONDS)
    .meta({ description: 'How long it is one, in seconds of real time; for ever if not given.' })
    .optional(),
}).meta({ id: 'KeyInput' });

const EXAMPLE = {
  name: 'dashboard',
  role: 'read-only',
  created: '2026-01-31T12:00:00.000Z',
  expiresAt: '2026-02-07T12:00:00.000Z',
};
const input = { name: 'dashboard', role: 'read-only' as const, ttlSeconds: 604_800 };

const view = ({ expires: expiresAt, ...key }: StoredKey) => ({ ...key, expiresAt });

interface Given {
  name: string;
  role?: StoredKey['role'] | undefined;
  ttlSeconds?: number | undefined;
}

function create(context: Context, id: string, given: Given, reply: FastifyReply): Promise<unknown> {
  const { tenants } = context.directory;
  return withNewKey(context, reply, {
    of: `key of ${id}`,
    again: ({ key }) => (key.name === given.name ? view(key) : null),
    async make(keyHash) {
      if ((await tenants.keys(id)).length >= MAX_KEYS)
        throw new Problem('conflict', `The tenant has ${MAX_KEYS} keys already: delete some.`);
      const { name, role = 'full', ttlSeconds } = given;
      const now = Date.now();
      const expires = ttlSeconds === undefined ? null : new Date(now + ttlSeconds * 1000).toISOString();
      const made = { name, role, created: new Date(now).toISOString(), expires };
      try {
        await tenants.addKey(id, made, keyHash);
      } catch (error) {
        if (error instanceof KeyExists)
          throw new Problem('conflict', 'The tenant has a key of that name: delete it first, or choose another name.');
        throw error;
      }
      return view(made);
    },
  });
}

async function remove({ directory: { tenants } }: Context, id: string, name: string): Promise<void> {
  if (!(await tenants.removeKey(id, name))) throw notFound('The tenant has no key of that name.');
}

const list = { description: 'All of them, by name.', schema: listOf('KeyList', Key), example: whole([EXAMPLE]) };
const one = { description: 'The key.', schema: Key, example: EXAMPLE };
const made = { description: 'The key.', schema: NewKey, example: { ...EXAMPLE, key: 'hk_…' } };

async function keyOf({ directory: { tenants } }: Context, id: string, name: string): Promise<unknown> {
  const found = (await tenants.keys(id)).find((key) => key.name === name);
  if (found === undefined) throw notFound('The tenant has no key of that name.');
  return view(found);
}

const OWN = '/v1/keys';
const OTHERS = '/v1/admin/tenants/{tenant}/keys';

export const KEY_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: OWN,
    operationId: 'listKeys',
    tag: 'Service',
    summary: 'List the keys of the tenant that asks',
    description: 'By name; those that have expired, too. What is secret of them is not shown.',
    access: 'tenant',
    success: { 200: list },
    handle: async ({ directory }, { tenant }) => whole((await directory.tenants.keys(tenant.id)).map(view)),
  }),
  route({
    method: 'POST',
    path: OWN,
    operationId: 'createKey',
    tag: 'Service',
    summary: 'Make one more key',
    description:
      'To change a key make another one, have everybody use it, and delete the first with it. A read-only one is for dashboards.',
    access: 'tenant',
    audited: true,
    body: KeyInput,
    bodyExample: input,
    success: { 201: { ...made, location: ({ name }: { name: string }) => `${OWN}/${name}` } },
    problems: ['conflict', 'key-reused'],
    handle: (context, { tenant, body }, reply) => create(context, tenant.id, body, reply),
  }),
  route({
    method: 'GET',
    path: `${OWN}/{key}`,
    operationId: 'getKey',
    tag: 'Service',
    summary: 'Read what a key is good for',
    description: 'What is secret of it is not shown.',
    access: 'tenant',
    success: { 200: one },
    problems: ['not-found'],
    handle: (context, { tenant, params }) => keyOf(context, tenant.id, params.key),
  }),
  route({
    method: 'DELETE',
    path: `${OWN}/{key}`,
    operationId: 'deleteKey',
    tag: 'Service',
    summary: 'Delete a key',
    description: 'But not the one that the request is sent with, so that nobody locks themselves out.',
    access: 'tenant',
    audited: true,
    success: { 204: { description: 'It is none any more.' } },
    problems: ['not-found', 'conflict'],
    async handle(context, { tenant, params }, { request }) {
      if (params.key === request.keyName)
        throw new Problem('conflict', 'This is the key that the request is sent with: delete it with another one.');
      await remove(context, tenant.id, params.key);
    },
  }),
  route({
    method: 'GET',
    path: OTHERS,
    operationId: 'listTenantKeys',
    tag: 'Administration',
    summary: 'List the keys of a tenant',
    description: 'By name; those that have expired, too. What is secret of them is not shown.',
    access: 'admin',
    problems: ['not-found'],
    success: { 200: list },
    handle: async (context, { params }) =>
      whole((await context.directory.tenants.keys((await tenantOf(context, params.tenant)).id)).map(view)),
  }),
  route({
    method: 'POST',
    path: OTHERS,
    operationId: 'createTenantKey',
    tag: 'Administration',
    summary: 'Make one more key for a tenant',
    description: 'As for one that has lost its own. It is shown once.',
    access: 'admin',
    audited: true,
    body: KeyInput,
    bodyExample: input,
    problems: ['not-found', 'conflict', 'key-reused'],
    success: {
      201: {
        ...made,
        location: ({ name }: { name: string }, { params }: { params: { tenant: string } }) =>
          `/v1/admin/tenants/${params.tenant}/keys/${name}`,
      },
    },
    handle: async (context, { params, body }, reply) =>
      await create(context, (await tenantOf(context, params.tenant)).id, body, reply),
  }),
  route({
    method: 'GET',
    path: `${OTHERS}/{key}`,
    operationId: 'getTenantKey',
    tag: 'Administration',
    summary: 'Read what a key of a tenant is good for',
    description: 'What is secret of it is not shown.',
    access: 'admin',
    success: { 200: one },
    problems: ['not-found'],
    handle: async (context, { params }) => keyOf(context, (await tenantOf(context, params.tenant)).id, params.key),
  }),
  route({
    method: 'DELETE',
    path: `${OTHERS}/{key}`,
    operationId: 'deleteTenantKey',
    tag: 'Administration',
    summary: 'Delete a key of a tenant',
    description: 'Whoever uses it is answered 401 from then on.',
    access: 'admin',
    audited: true,
    problems: ['not-found'],
    success: { 204: { description: 'It is none any more.' } },
    async handle(context, { params }) {
      await remove(context, (await tenantOf(context, params.tenant)).id, params.key);
    },
  }),
];
