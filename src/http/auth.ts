/** Finds out who sends a request, and whether the host in the path is theirs, before the body is read. */
import { hash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { damagedDescription, type HostIdentity, type Tenant } from '../store/store.ts';
import { notFound } from './answers.ts';
import { sentence } from './errors.ts';
import { keyIn } from './fair-turns.ts';
import { Problem } from './problems.ts';
import type { Access, Context } from './route.ts';

declare module 'fastify' {
  interface FastifyRequest {
    tenant: Tenant | null;
    /** Of the tenant: the key that the request was sent with. */
    keyName: string | null;
    readsOnly: boolean;
    visibleHost: HostIdentity | null;
  }
}

type Keys = Pick<Context, 'config' | 'directory' | 'quotas' | 'keys'>;

/**
 * Sets the tenant and the host of a request. Throws a problem: 401 no or unknown key, 403 wrong kind of key, 404 host, 429
 * more requests than the tenant may make.
 */
export async function authenticate(
  context: Keys,
  access: Access,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  if (access === 'public') return;
  const key = bearerKey(request.headers);
  if (isAdminKey(context, key)) {
    if (access === 'admin') return;
    throw new Problem(
      'forbidden',
      'The admin key may do what is below /v1/admin and nothing else: use the key of a tenant.',
    );
  }
  const holder = await context.directory.tenants.findByKeyHash(context.keys.hashOf(key));
  if (holder === undefined || hasEnded(holder.tenant))
    throw unauthenticated('Nobody has this key. Check it, or have a tenant made.', ', error="invalid_token"');
  const { tenant } = holder;
  if (holder.key.expires !== null && Date.parse(holder.key.expires) <= Date.now())
    throw unauthenticated(
      `This key was one until ${holder.key.expires}. Have another one made.`,
      ', error="invalid_token"',
    );
  context.keys.know(key);
  if (access === 'admin')
    throw new Problem('forbidden', 'This needs the admin key (HOLDOVER_ADMIN_KEY), not that of a tenant.');
  request.readsOnly = holder.key.role === 'read-only';
  if (request.readsOnly && request.method !== 'GET' && request.method !== 'HEAD')
    throw new Problem('forbidden', `The key ${holder.key.name} may only read: use one of the role full.`);
  request.tenant = tenant;
  request.keyName = holder.key.name;
  context.quotas.admit(tenant, reply);
  const { host } = request.params as { host?: string };
  if (host !== undefined) request.visibleHost = await hostOf(context, tenant, host);
}

/** Whether it is about to be deleted. */
const hasEnded = ({ expiresAt }: Tenant): boolean => expiresAt !== null && Date.parse(expiresAt) <= Date.now();

function bearerKey(headers: IncomingHttpHeaders): string {
  const key = keyIn(headers);
  if (key !== undefined) return key;
  throw unauthenticated(
    headers.authorization === undefined
      ? 'The request has no key: send the header `Authorization: Bearer KEY`.'
      : 'The header Authorization is not of the form `Bearer KEY`.',
    '',
  );
}

function unauthenticated(detail: string, parameters: string): Problem {
  return new Problem('unauthenticated', detail, {
    headers: { 'www-authenticate': `Bearer realm="holdover"${parameters}` },
  });
}

/** Whether the request has the admin key; one without a key, or with another, has not. */
export function isAdmin(context: Pick<Context, 'config'>, { headers }: FastifyRequest): boolean {
  const key = keyIn(headers);
  return key !== undefined && isAdminKey(context, key);
}

function isAdminKey({ config }: Pick<Context, 'config'>, key: string): boolean {
  if (config.adminKey === null) return false;
  const digest = (text: string): Buffer => hash('sha256', text, 'buffer');
  return timingSafeEqual(digest(config.adminKey), digest(key));
}

/** A host of another tenant is answered exactly as one that does not exist, where it can be told that it is. */
export async function hostOf(
  { directory }: Pick<Keys, 'directory'>,
  tenant: Tenant,
  id: string,
): Promise<HostIdentity> {
  const { hosts, damage } = directory;
  const host = await hosts.get(id);
  if (host?.damaged !== undefined) damage.add({ hostId: id, ...damagedDescription(host.damaged) });
  if (host?.tenantId === tenant.id) return host;
  const known = host === undefined || host.damaged !== undefined ? damage.of(id) : null;
  if (known !== null) throw new Problem('damaged', sentence(known[0]!.what));
  throw notFound('There is no such host. GET /v1/hosts lists yours.');
}
