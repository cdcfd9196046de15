/**
 * What each tenant may have, and what it has. It is looked at before a command is handed to its lane, so that the journal knows
 * nothing of quotas: what is refused has not happened. What lanes have last found out is what counts, so a host may go
 * beyond a quota by what one command does.
 */
import type { FastifyReply } from 'fastify';
import type { HostUse } from '../../host/footprint.ts';
import type { Lanes } from '../../lanes/lanes.ts';
import type { AskedHost } from '../../lanes/messages.ts';
import { QUOTAS, type QuotaName, type Quotas, withQuotas } from '../../quotas.ts';
import { accountOf, type HostDirectory, type Tenant } from '../../store/store.ts';
import { RETRY_AFTER } from '../errors.ts';
import type { Peers } from '../peers.ts';
import { Problem } from '../problems.ts';
import { policyOf, Rates, stateOf } from './rate.ts';

const MIB = 2 ** 20;

/** What all hosts of a tenant have together is counted so often at most, in milliseconds; more often where it is too much. */
const FRESH_MS = 1000;
const FRESH_BEYOND_MS = 50;

/** What a request gives back, so that it is let through where too much is used. */
export type Frees = 'nothing' | 'use' | 'everything';

interface Together {
  at: number;
  /** In MiB. */
  memory: number;
  stored: number;
  hosts: number;
}

/** What one host has, by quota; memory in MiB. */
type OfHost = Record<'hostMemory' | 'mappings' | 'descriptors', number>;

const ofHost = ({ memory, mappings, descriptors }: HostUse): OfHost => ({
  hostMemory: Math.ceil(memory / MIB),
  mappings,
  descriptors,
});
const OF_HOST = ['hostMemory', 'mappings', 'descriptors'] as const;

/** What helps a tenant that has too much of it. */
const HELP: Readonly<Record<QuotaName, string>> = {
  hosts: 'Delete hosts that are no longer needed',
  functions: 'Plug functions out, or spread them over more hosts',
  units: 'Describe the host with fewer units',
  memory: 'Delete hosts, kill processes or unmap; hosts that nobody uses leave memory by themselves',
  hostMemory: 'Unmap, close, kill processes, reset or delete the host',
  mappings: 'Unmap, kill processes, reset or delete the host',
  descriptors: 'Close descriptors, kill processes, reset or delete the host',
  stored: 'Delete hosts',
  tenants: 'Delete some of them, or let them come to their end',
  streams: 'Let one of them end, or ask without `wait`',
  requests: 'Ask less often, or for more at once',
};

export function exceeded(quota: QuotaName, limit: number, used: number): Problem {
  const { about, unit } = QUOTAS[quota];
  const detail = `The quota \`${quota}\` (${about}) is ${limit} ${unit}, and ${used} are used. Nothing has changed. ${HELP[quota]}; who runs the service can raise it.`;
  return new Problem('quota-exceeded', detail, { quota: { quota, limit, used } });
}

export interface TenantQuotasOptions {
  usual: Quotas;
  hosts: Pick<HostDirectory, 'stored'>;
  lanes: Pick<Lanes, 'use'>;
  peers: Peers;
}

export class TenantQuotas {
  readonly #usual: Quotas;
  readonly #hosts: Pick<HostDirectory, 'stored'>;
  readonly #lanes: Pick<Lanes, 'use'>;
  readonly #own = new WeakMap<Tenant, Quotas>();
  readonly #peers: Peers;
  readonly #rates: Rates;
  readonly #together = new Map<string, Together>();
  /** By tenant, its hosts that have been asked something: only they can be in memory. */
  readonly #asked = new Map<string, Set<string>>();
  /** Whose each of them is. */
  readonly #owners = new Map<string, string>();

  constructor({ usual, hosts, lanes, peers }: TenantQuotasOptions) {
    this.#usual = usual;
    this.#hosts = hosts;
    this.#lanes = lanes;
    this.#peers = peers;
    this.#rates = new Rates(peers.common);
  }

  of(tenant: Tenant): Quotas {
    const known = this.#own.get(tenant);
    if (known !== undefined) return known;
    const quotas = withQuotas(this.#usual, tenant.quotas);
    this.#own.set(tenant, quotas);
    return quotas;
  }

  /** Counts a request, and tells in its answer how many more may come. Throws a problem where it is one too many. */
  admit(tenant: Tenant, reply: FastifyReply): void {
    const limit = this.of(tenant).requests;
    if (limit === Number.POSITIVE_INFINITY) return;
    const left = this.#rates.take(accountOf(tenant), limit);
    reply.header('ratelimit-policy', policyOf(limit)).header('ratelimit', stateOf(left ?? 0));
    if (left !== null) return;
    const detail = `This tenant may make ${limit} requests a second, and has. Nothing has changed: try again after \`Retry-After\`. ${HELP.requests}.`;
    throw new Problem('too-many-requests', detail, {
      quota: { quota: 'requests', limit, used: limit },
      headers: { 'retry-after': RETRY_AFTER },
    });
  }

  /** Throws a problem, or rejects with one, where the tenant or the host has too much for what the request does. */
  check(tenant: Tenant, hostId: string | null, frees: Frees): Promise<void> | undefined {
    if (hostId !== null && !this.#owners.has(hostId)) {
      const asked = { tenantId: accountOf(tenant), hostId };
      this.noteAsked(asked);
      this.#peers.tell({ asked });
    }
    if (frees === 'everything') return undefined;
    const limits = this.of(tenant);
    const account = accountOf(tenant);
    const use = hostId === null || frees === 'use' ? null : this.#lanes.use(hostId);
    if (use !== null) {
      const used = ofHost(use);
      for (const quota of OF_HOST) if (used[quota] > limits[quota]) throw exceeded(quota, limits[quota], used[quota]);
    }
    const known = this.#together.get(account);
    const fresh = known && isBeyond(known, limits) ? FRESH_BEYOND_MS : FRESH_MS;
    if (known !== undefined && performance.now() - known.at < fresh) return checkTogether(known, limits, frees);
    return this.#count(account).then((counted) => checkTogether(counted, limits, frees));
  }

  /** Makes a host, where the tenant may have one more. */
  async create<T>(tenant: Tenant, spec: { functions: number; units: number }, make: () => Promise<T>): Promise<T> {
    const id = accountOf(tenant);
    const limits = this.of(tenant);
    this.checkSize(tenant, spec);
    if (limits.hosts === Number.POSITIVE_INFINITY) return await make();
    try {
      // One that is made meanwhile by another thread is perhaps counted twice, but never left out.
      const begun = this.#peers.common.add('creating', id, 1) - 1;
      const { hosts } = await this.#count(id);
      if (hosts + begun >= limits.hosts) throw exceeded('hosts', limits.hosts, hosts + begun);
      return await make();
    } finally {
      this.#peers.common.add('creating', id, -1);
    }
  }

  /** Throws a problem where a host may not have so many functions and units. */
  checkSize(tenant: Tenant, spec: { functions: number; units: number }): void {
    const limits = this.of(tenant);
    for (const quota of ['functions', 'units'] as const)
      if (spec[quota] > limits[quota]) throw exceeded(quota, limits[quota], spec[quota]);
  }

  /** It is deleted. */
  forget(hostId: string): void {
    const tenantId = this.#owners.get(hostId);
    if (tenantId === undefined) return;
    this.#owners.delete(hostId);
    this.#asked.get(tenantId)?.delete(hostId);
    this.#together.delete(tenantId);
  }

  /** What a tenant has; of what is counted host by host, what the host has that has most. Null: that is not known. */
  async used(
    tenant: Tenant,
  ): Promise<Record<Exclude<QuotaName, 'streams' | 'tenants'>, { used: number | null; host?: string }>> {
    const id = accountOf(tenant);
    const { hosts, memory, stored } = await this.#count(id);
    const most: Partial<Record<(typeof OF_HOST)[number], { used: number; host?: string }>> = {};
    // Which hosts its parent has, a throw-away one is not told.
    const isOwn = tenant.parentId === null;
    for (const host of this.#asked.get(id) ?? []) {
      const use = this.#lanes.use(host);
      if (use === null) continue;
      const used = ofHost(use);
      for (const quota of OF_HOST)
        if (used[quota] > (most[quota]?.used ?? 0)) most[quota] = { used: used[quota], ...(isOwn && { host }) };
    }
    const { requests } = this.of(tenant);
    return {
      hosts: { used: hosts },
      functions: { used: null },
      units: { used: null },
      memory: { used: memory },
      hostMemory: most.hostMemory ?? { used: 0 },
      mappings: most.mappings ?? { used: 0 },
      descriptors: most.descriptors ?? { used: 0 },
      stored: { used: stored },
      requests: { used: Number.isFinite(requests) ? this.#rates.used(id, requests) : null },
    };
  }

  /** A host has been asked something for the first time, here or in another thread. */
  noteAsked({ tenantId, hostId }: AskedHost): void {
    this.#owners.set(hostId, tenantId);
    const asked = this.#asked.get(tenantId);
    if (asked === undefined) this.#asked.set(tenantId, new Set([hostId]));
    else asked.add(hostId);
  }

  async #count(tenantId: string): Promise<Together> {
    // Where the store cannot tell, commands are refused by that.
    const { hosts, bytes } = await this.#hosts.stored(tenantId).catch(() => ({ hosts: 0, bytes: 0 }));
    let memory = 0;
    for (const hostId of this.#asked.get(tenantId) ?? []) memory += this.#lanes.use(hostId)?.memory ?? 0;
    const counted = {
      at: performance.now(),
      hosts,
      memory: Math.ceil(memory / MIB),
      stored: Math.ceil(bytes / MIB),
    };
    this.#together.set(tenantId, counted);
    return counted;
  }
}

const isBeyond = (has: Together, limits: Quotas): boolean => has.memory > limits.memory || has.stored > limits.stored;

function checkTogether(has: Together, limits: Quotas, frees: Frees): undefined {
  // What frees memory is stored as well.
  if (has.stored > limits.stored) throw exceeded('stored', limits.stored, has.stored);
  if (frees === 'nothing' && has.memory > limits.memory) throw exceeded('memory', limits.memory, has.memory);
}
