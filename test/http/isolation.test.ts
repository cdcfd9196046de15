/**
 * Tenants see nothing of each other: every operation of the OpenAPI document is tried on what is another tenant's. A new
 * operation is tried, too; where it could reach a tenant's things in a way that is not known here, a test fails.
 */
import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import type request from 'supertest';
import { type TestApp, useApp } from '../support/app.ts';
import { Host } from '../support/client.ts';
import { openStream, take } from '../support/event-stream.ts';
import { ADMIN_KEY } from '../support/keys.ts';
import { examplePath, OPERATIONS, type Operation, resolved } from '../support/operations.ts';
import { prepare } from '../support/setups.ts';

/** Of the tests that run. */
let app: TestApp;

/** Where an id of something of a tenant's can stand: `{host}`, and what is looked up in that host alone. */
const IN_HOST: Record<string, boolean> = {
  host: true,
  pid: true,
  fd: true,
  bdf: true,
  bar: true,
  region: true,
  irq: true,
  group: true,
  ioas: true,
  hwpt: true,
  object: true,
  device: true,
  pasid: true,
  index: true,
  access: true,
  pin: true,
  token: true,
  address: true,
  extension: true,
  feature: true,
  fault: true,
  snapshot: true,
  engine: true,
  problem: false,
};

/** What is looked up among what is the tenant's own, and of no host. */
const OF_TENANT = new Set(['key']);

/** A request of an operation, in one of the forms that it has. */
interface Attempt {
  operation: Operation;
  /** Media type of the body; null: it has none. */
  type: string | null;
  /** Media type that is asked for. */
  accept: string;
}

function attemptsOf(operation: Operation): Attempt[] {
  const types = operation.bodies.length === 0 ? [null] : operation.bodies.map(([type]) => type);
  const given = Object.entries(operation.responses).flatMap(([status, { content = {} }]) =>
    status < '3' ? Object.keys(content) : [],
  );
  const accepted = new Set(given.length === 0 ? ['*/*'] : given);
  return types.flatMap((type) => [...accepted].map((accept) => ({ operation, type, accept })));
}

/** What an operation asks for that none of its parameters alone has to have. */
const NEEDED: Record<string, string> = { deleteHosts: '?label=suite=nightly' };

/** `key`: null: none. */
function attempt(
  { operation, type, accept }: Attempt,
  key: string | null,
  values: Record<string, string> = {},
): request.Test {
  const path = `${examplePath(operation, values)}${NEEDED[operation.operationId] ?? ''}`;
  const pending = app.agent[operation.method](path).set('accept', accept);
  if (key !== null) pending.set('authorization', `Bearer ${key}`);
  const content = operation.bodies.find(([one]) => one === type)?.[1];
  if (type === null || content === undefined) return pending;
  const text = JSON.stringify(content.example);
  return pending.type(type).send(type === 'application/json' ? text : `${text}\n`);
}

const nameOf = ({ operation, type, accept }: Attempt): string =>
  `${operation.method} ${operation.path} (${type ?? 'no body'}, ${accept})`;

const OF_HOSTS = OPERATIONS.filter(({ path }) => path.includes('{host}'));
const OF_THROW_AWAYS = OPERATIONS.filter(({ path }) => path.startsWith('/v1/tenants/{tenant}'));
const OF_TENANTS = OPERATIONS.filter(({ path, access }) => access === 'tenant' && !/\{(host|tenant)\}/.test(path));
const OF_ADMINS = OPERATIONS.filter(({ access }) => access === 'admin');
const OF_ANYBODY = OPERATIONS.filter(({ access }) => access === null);

async function newTenant(name: string): Promise<string> {
  const made = await app.agent.post('/v1/admin/tenants').set('authorization', `Bearer ${ADMIN_KEY}`).send({ name });
  assert.equal(made.status, 201, made.text);
  return made.body.key;
}

const hostOf = (key: string, body: object): Promise<Host> => Host.create({ agent: app.agent, key }, body as never);

/** All that its tenant sees of it. */
async function seen(host: Host): Promise<unknown> {
  return [await host.view(), await host.events(), await host.request('get', '/processes')];
}

/** What differs between two answers to the same. */
const CHANGING = /^(date|connection|keep-alive|ratelimit.*|x-request-id)$/;

function told({ status, headers, text }: request.Response): unknown {
  const kept = Object.entries(headers).filter(([name]) => !CHANGING.test(name));
  return { status, headers: kept, text: text?.replace(/"instance":"[^"]*"/, '') };
}

test('all that can stand in a path is known to be of a host, or of nobody', () => {
  for (const { access, path, parameters = [] } of OPERATIONS) {
    // What administrators name is nobody else's business.
    if (access === 'admin') continue;
    // Throw-away tenants are their makers'.
    if (path === '/v1/tenants/{tenant}') continue;
    for (const { name } of parameters.filter(({ in: where }) => where === 'path')) {
      if (OF_TENANT.has(name)) {
        assert.equal(access, 'tenant', path);
        continue;
      }
      assert.equal(IN_HOST[name], path.startsWith('/v1/hosts/{host}'), `${name} in ${path}`);
      assert.equal(access, IN_HOST[name] ? 'tenant' : null, path);
    }
  }
  const all = [OF_HOSTS, OF_THROW_AWAYS, OF_TENANTS, OF_ADMINS, OF_ANYBODY];
  assert.equal(all.flat().length, OPERATIONS.length);
});

test('no query and no body names a host or a tenant', () => {
  for (const { operationId, parameters = [], bodies } of OPERATIONS) {
    const fields = bodies.flatMap(([, { schema }]) => Object.keys(resolved(schema).properties ?? {}));
    const names = parameters.filter(({ in: where }) => where === 'query').map(({ name }) => name);
    for (const name of [...fields, ...names]) assert.doesNotMatch(name, /host|tenant|owner/i, operationId);
  }
});

function isolated(lanes: number | undefined): void {
  const own = useApp(lanes);
  beforeEach(() => {
    app = own;
  });

  test(`each of ${OF_HOSTS.length} operations answers for another tenant's host as for none, and changes nothing`, async () => {
    const stranger = await newTenant('stranger');
    const { host } = await prepare(app, { name: 'of-the-first-tenant' });
    const before = await seen(host);
    for (const form of OF_HOSTS.flatMap(attemptsOf)) {
      const name = nameOf(form);
      const [foreign, nowhere, encoded, nobody, wrong, admin] = await Promise.all([
        attempt(form, stranger, { host: host.id }),
        attempt(form, stranger, { host: 'h-abcdefghijklmnop' }),
        attempt(form, stranger, { host: `${host.id}/` }),
        attempt(form, null, { host: host.id }),
        attempt(form, 'no-such-key', { host: host.id }),
        attempt(form, ADMIN_KEY, { host: host.id }),
      ]);
      assert.equal(foreign.status, 404, `${name}: ${foreign.text}`);
      assert.deepEqual(told(foreign), told(nowhere), name);
      assert.equal(encoded.status, 404, name);
      assert.deepEqual([nobody.status, wrong.status, admin.status], [401, 401, 403], name);
      for (const { text } of [foreign, nobody, wrong, admin]) assert.doesNotMatch(text, /h-[a-z2-7]{16}|first-tenant/);
    }
    assert.deepEqual(await seen(host), before);
  });

  test('a key that may only read is good for GET, and for nothing else', async () => {
    const tenant = await newTenant('reader');
    const made = await app.agent
      .post('/v1/keys')
      .set('authorization', `Bearer ${tenant}`)
      .send({ name: 'reads', role: 'read-only' });
    assert.equal(made.status, 201, made.text);
    const host = await hostOf(tenant, { preset: 'vmm-lab' });
    await host.process();
    const before = await seen(host);
    let read = 0;
    for (const form of [...OF_HOSTS, ...OF_TENANTS].flatMap(attemptsOf)) {
      if (form.accept === 'text/event-stream') continue;
      const name = nameOf(form);
      const { status, text } = await attempt(form, made.body.key, { host: host.id });
      if (form.operation.method === 'get') {
        // What a program reads by a system call takes time of the host.
        if (status === 403) assert.match(text, /by a system call/, name);
        else read += 1;
      } else {
        assert.equal(status, 403, `${name}: ${text}`);
        assert.match(text, /may only read/, name);
      }
    }
    assert.deepEqual(await seen(host), before);
    assert.ok(read > 30, `only ${read} are read`);
  });

  test('each of these operations, asked by the tenant itself, does look at the host', async () => {
    const missed: string[] = [];
    let done = 0;
    for (const form of OF_HOSTS.flatMap(attemptsOf)) {
      if (form.accept === 'text/event-stream') continue;
      const host = await app.host();
      await host.process();
      const { status, text } = await attempt(form, app.key, { host: host.id });
      if (status === 404 && /There is no such host/.test(text)) missed.push(nameOf(form));
      if ([400, 401, 403].includes(status) || status >= 500) missed.push(`${nameOf(form)}: ${status} ${text}`);
      if (status < 300) done += 1;
    }
    assert.deepEqual(missed, []);
    assert.ok(done > 40, `only ${done} have done something`);
  });

  test('what a tenant asks without naming a host tells of nothing that is of others', async () => {
    const [stranger, resident] = [await newTenant('stranger-2'), await newTenant('resident-2')];
    const hosts = await Promise.all(['secret-1', 'secret-2', 'secret-3'].map((name) => hostOf(resident, { name })));
    const own = await hostOf(stranger, { name: 'secret-1' });
    const before = await Promise.all(hosts.map(seen));
    for (const form of OF_TENANTS.flatMap(attemptsOf)) {
      const name = nameOf(form);
      const [mine, nobody, admin] = await Promise.all([
        attempt(form, stranger),
        attempt(form, null),
        attempt(form, ADMIN_KEY),
      ]);
      // A file of a host is signed by the service that has made it: an example is none.
      if (form.operation.operationId === 'importHost') assert.match(mine.text, /"pointer":"\/sha256"/);
      else assert.ok(mine.status < 300, `${name}: ${mine.text}`);
      assert.deepEqual([nobody.status, admin.status], [401, 403], name);
      for (const { text } of [mine, nobody, admin]) {
        for (const { id } of hosts) assert.ok(!text.includes(id), name);
        assert.doesNotMatch(text, /secret-[23]|resident/, name);
      }
    }
    assert.deepEqual(await Promise.all(hosts.map(seen)), before);
    // A page that another tenant's token names is a page of one's own.
    const page = await app.agent.get('/v1/hosts?limit=1').set('authorization', `Bearer ${resident}`);
    assert.ok(page.body.nextPageToken);
    const query = `after=${encodeURIComponent(page.body.nextPageToken)}`;
    const { status, body } = await app.agent.get(`/v1/hosts?${query}`).set('authorization', `Bearer ${stranger}`);
    assert.equal(status, 200);
    for (const { id } of body.items) assert.ok(!hosts.some((host) => host.id === id));
    assert.ok(body.items.some(({ id }: { id: string }) => id === own.id));
  });

  test("a key of a request is its tenant's: another tenant's is not known", async () => {
    const [stranger, resident] = [await newTenant('stranger-6'), await newTenant('resident-6')];
    const post = (path: string, key: string, body: object): request.Test =>
      app.agent
        .post(path)
        .set({ authorization: `Bearer ${key}`, 'idempotency-key': 'of both' })
        .send(body);
    const theirs = await post('/v1/hosts', resident, { name: 'secret-6' });
    // The same request, and another one.
    for (const name of ['secret-6', 'mine']) {
      const mine = await post('/v1/hosts', stranger, { name });
      assert.equal(mine.status, name === 'mine' ? 422 : 201, mine.text);
      assert.equal(mine.headers['idempotency-replayed'], undefined);
      assert.ok(!mine.text.includes(theirs.body.id));
    }
    assert.equal((await post('/v1/hosts', resident, { name: 'secret-6' })).body.id, theirs.body.id);
    const path = `/v1/hosts/${theirs.body.id}/processes`;
    assert.equal((await post(path, stranger, {})).status, 404);
  });

  test('throw-away tenants are their makers’, who see nothing of their hosts, nor they of theirs', async () => {
    const [stranger, maker] = [await newTenant('stranger-7'), await newTenant('maker-7')];
    const ask = (key: string, method: 'get' | 'post' | 'delete', path: string, body?: object) => {
      const asked = app.agent[method](path).set('authorization', `Bearer ${key}`);
      return body === undefined ? asked : asked.send(body);
    };
    const made = await ask(maker, 'post', '/v1/tenants', { name: 'secret-7', ttlSeconds: 600 });
    assert.equal(made.status, 201, made.text);
    const { id, key } = made.body;
    const above = await hostOf(maker, { labels: { of: 'both' } });
    const below = await hostOf(key, { labels: { of: 'both' } });
    for (const form of OF_THROW_AWAYS.flatMap(attemptsOf)) {
      for (const one of [stranger, key]) {
        const foreign = await attempt(form, one, { tenant: id });
        assert.equal(foreign.status, 404, nameOf(form));
        assert.deepEqual(told(foreign), told(await attempt(form, one, { tenant: 't-none' })), nameOf(form));
      }
      assert.equal((await attempt(form, null, { tenant: id })).status, 401);
      assert.equal((await attempt(form, ADMIN_KEY, { tenant: id })).status, 403);
    }
    // Neither does the one anything to what is the other's, by whichever operation.
    for (const form of OF_HOSTS.flatMap(attemptsOf))
      for (const [one, theirs] of [
        [maker, below],
        [key, above],
      ] as const)
        assert.equal((await attempt(form, one, { host: theirs.id })).status, 404, nameOf(form));
    const idsFor = async (one: string) =>
      (await ask(one, 'get', '/v1/tenants')).body.items.map((item: { id: string }) => item.id);
    assert.deepEqual([await idsFor(stranger), await idsFor(key), await idsFor(maker)], [[], [], [id]]);
    for (const [one, theirs] of [
      [maker, below],
      [key, above],
      [stranger, below],
    ] as const) {
      assert.equal((await ask(one, 'get', `/v1/hosts/${theirs.id}`)).status, 404);
      for (const path of ['/v1/hosts', '/v1/hosts?label=of'])
        assert.ok(!(await ask(one, 'get', path)).text.includes(theirs.id), path);
    }
    assert.ok(!(await ask(key, 'get', '/v1/usage')).text.includes(above.id));
    // A label of one is no label of the other.
    assert.deepEqual((await ask(key, 'delete', '/v1/hosts?label=of=both')).body, { deleted: 1 });
    await above.view();
    assert.equal((await ask(key, 'post', '/v1/tenants', { ttlSeconds: 600 })).status, 403);
    // A name that another one has given is not taken.
    assert.equal((await ask(stranger, 'post', '/v1/tenants', { name: 'secret-7', ttlSeconds: 600 })).status, 201);
    assert.equal((await ask(maker, 'post', '/v1/tenants', { name: 'secret-7', ttlSeconds: 600 })).status, 409);
    assert.equal((await ask(maker, 'delete', `/v1/tenants/${id}`)).status, 204);
    assert.equal((await ask(key, 'get', '/v1/hosts')).status, 401);
    await above.view();
  });

  test('what administrators do needs their key, whoever else asks', async () => {
    const tenant = await newTenant('stranger-3');
    for (const form of OF_ADMINS.flatMap(attemptsOf)) {
      const [mine, nobody, wrong] = await Promise.all([
        attempt(form, tenant),
        attempt(form, null),
        attempt(form, 'no-such-key'),
      ]);
      assert.deepEqual([mine.status, nobody.status, wrong.status], [403, 401, 401], nameOf(form));
      for (const { text } of [mine, nobody, wrong]) assert.doesNotMatch(text, /stranger/, nameOf(form));
    }
  });

  test('what anybody may ask says nothing of tenants', async () => {
    const tenant = await newTenant('stranger-4');
    const host = await hostOf(tenant, { name: 'secret-4' });
    for (const form of OF_ANYBODY.flatMap(attemptsOf)) {
      const { status, text } = await attempt(form, null);
      assert.equal(status, 200, nameOf(form));
      assert.ok(!text.includes(host.id), nameOf(form));
      assert.doesNotMatch(text, /stranger|secret/, nameOf(form));
    }
  });

  test('the events of one host are not those of another: not in a page, a wait or a stream', async (t) => {
    const stranger = await newTenant('stranger-5');
    const theirs = await app.host();
    const mine = await hostOf(stranger, { preset: 'vmm-lab' });
    const end = await mine.cursor();
    const stream = await openStream(`${app.url}/v1/hosts/${mine.id}/events`, stranger);
    t.after(() => stream.cut());
    const waiting = app.agent.get(`/v1/hosts/${mine.id}/events?after=${end}&wait=1s`);
    const waited = waiting.set('authorization', `Bearer ${stranger}`).then(({ body }) => body.items);
    await theirs.crash();
    await theirs.powerCycle();
    assert.deepEqual(await waited, []);
    await mine.crash();
    const own = await mine.events();
    const streamed = await take(stream, own.length);
    assert.deepEqual(
      streamed.map(({ data }) => data),
      own,
    );
    assert.ok((await theirs.events()).length > own.length);
    // An id is a place in the log of the host that is asked.
    const page = (await mine.request('get', `/events?after=${await theirs.cursor()}`)) as { items: unknown[] };
    assert.deepEqual(page.items, []);
  });
}

for (const lanes of [undefined, 1, 2, 4])
  describe(lanes === undefined ? 'in this thread' : `with ${lanes} lane(s) that serve`, () => isolated(lanes));
