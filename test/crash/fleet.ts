/** A client that makes and deletes hosts and tenants, and looks afterwards which are there. */
import assert from 'node:assert/strict';
import { HOST_BODY, type Load } from './load.ts';
import type { Model } from './model.ts';
import { outcomeOf, type Request } from './operations.ts';
import type { Random } from './random.ts';
import { differenceOf, stateOf } from './state.ts';
import { ADMIN_KEY, type Wire } from './wire.ts';

const MOST_HOSTS = 4;

interface Listed {
  id: string;
  name: string;
}

type Presence = 'there' | 'gone' | 'unknown';

export class Fleet {
  readonly #random: Random;
  #number = 0;
  /** By name. */
  readonly #hosts = new Map<string, { id: string | null; presence: Presence }>();
  readonly #tenants = new Map<string, { key: string | null; presence: Presence }>();
  /** What a new host looks like. */
  #newHost: Map<string, unknown> | undefined;
  checked = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  async run(wire: Wire, load: Load): Promise<void> {
    while (!load.ended) {
      // Now and then, as others do much.
      await Promise.race([
        load.after(this.#random.between(5, 60)),
        new Promise<void>((resolve) => load.onEnd(resolve)),
      ]);
      if (load.ended) return;
      const there = [...this.#hosts.values()].filter(({ presence }) => presence === 'there');
      const known = await this.#random.weighted([
        [there.length < MOST_HOSTS ? 3 : 0, () => this.#create(wire)],
        [there.length > 0 ? 2 : 0, () => this.#delete(wire, this.#random.pick(there)!)],
        [1, () => this.#createTenant(wire)],
      ])();
      if (!known) return;
    }
  }

  /** Throws where something is there that must not be, or the other way round. */
  async check(wire: Wire, model: Model): Promise<void> {
    const { items } = await wire.get<{ items: Listed[] }>('/v1/hosts?limit=1000');
    for (const [name, host] of this.#hosts) {
      const ids = items.filter((item) => item.name === name).map(({ id }) => id);
      assert.ok(ids.length <= 1, `${name} is there once`);
      if (host.presence !== 'unknown') assert.equal(ids.length, host.presence === 'there' ? 1 : 0, name);
      host.presence = ids.length === 1 ? 'there' : 'gone';
      host.id = ids[0] ?? null;
      if (host.id === null) {
        this.#hosts.delete(name);
        continue;
      }
      const state = await stateOf((path) => wire.get(`/v1/hosts/${host.id}${path}`));
      const difference = differenceOf(withoutName(state), await this.#newHostOf(model));
      assert.equal(difference, null, `host ${name}`);
      this.checked += 1;
    }
    const answer = await wire.ask({ method: 'GET', path: '/v1/admin/tenants', key: ADMIN_KEY });
    const names = (answer!.body as { items: Listed[] }).items.map(({ name }) => name);
    for (const [name, tenant] of this.#tenants) {
      if (tenant.presence === 'there') {
        assert.ok(names.includes(name), `tenant ${name}`);
        const hosts = await wire.ask({ method: 'GET', path: '/v1/hosts', key: tenant.key! });
        assert.equal(hosts?.status, 200, `the key of tenant ${name}`);
      }
      this.#tenants.delete(name);
    }
  }

  async #create(wire: Wire): Promise<boolean> {
    const name = `fleet-${this.#number++}`;
    const host = { id: null as string | null, presence: 'unknown' as Presence };
    this.#hosts.set(name, host);
    return await this.#ask(wire, { method: 'POST', path: '/v1/hosts', body: { ...HOST_BODY, name } }, host, (body) => {
      host.presence = 'there';
      host.id = (body as Listed).id;
    });
  }

  async #delete(wire: Wire, host: { id: string | null; presence: Presence }): Promise<boolean> {
    host.presence = 'unknown';
    return await this.#ask(wire, { method: 'DELETE', path: `/v1/hosts/${host.id}` }, host, () => {
      host.presence = 'gone';
    });
  }

  async #createTenant(wire: Wire): Promise<boolean> {
    const name = `tenant-${this.#number++}`;
    const tenant = { key: null as string | null, presence: 'unknown' as Presence };
    this.#tenants.set(name, tenant);
    const request = { method: 'POST', path: '/v1/admin/tenants', body: { name }, key: ADMIN_KEY } as const;
    return await this.#ask(wire, request, tenant, (body) => {
      tenant.presence = 'there';
      tenant.key = (body as { key: string }).key;
    });
  }

  /** False: nobody knows whether it has happened. */
  async #ask(
    wire: Wire,
    request: Request,
    what: { presence: Presence },
    done: (body: unknown) => void,
  ): Promise<boolean> {
    const before = request.method === 'DELETE' ? 'there' : 'gone';
    const answer = await wire.ask(request);
    const outcome = outcomeOf(answer);
    if (outcome === 'declined') what.presence = before;
    if (outcome === 'answered') {
      assert.ok(answer!.status < 300, JSON.stringify(answer));
      done(answer!.body);
    }
    return outcome !== 'unknown';
  }

  async #newHostOf(model: Model): Promise<Map<string, unknown>> {
    this.#newHost ??= withoutName(await stateOf((await model.host(HOST_BODY)).look));
    return this.#newHost;
  }
}

function withoutName(state: Map<string, unknown>): Map<string, unknown> {
  const { name: _, ...host } = state.get('') as Record<string, unknown>;
  return new Map(state).set('', host);
}
