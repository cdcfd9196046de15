/**
 * Whatever is stored, the service dies at it: before the commit, and behind it, before the answer. Each request of a story is sent again,
 * as it was, until it is answered: it has happened once, and the answers are those of a service that does not die.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { LINES } from '../support/batch.ts';
import { ADMIN_KEY } from '../support/keys.ts';
import { type Service, startService, temporaryDirectory } from '../support/service.ts';

const KILLER = new URL('killed-at-write.ts', import.meta.url).href;
/** A request stores a few rows at most, and dies twice at each. */
const MOST_TRIES = 12;

const DEATHS = ['before', 'after'] as const;
const D1 = '0000:01:00.0';
const VA = '0x7f0000000000';

interface Asked {
  path: string;
  body?: unknown;
  /** As lines. */
  lines?: string;
  admin?: boolean;
}

interface Answer {
  status: number;
  replayed: boolean;
  text: string;
}

/** `HOST` is the first one that was made. */
const HOST = '/v1/hosts/HOST';
const PROCESS = `${HOST}/processes/1`;
const map = (index: number): string =>
  `${JSON.stringify({ op: 'map', iova: 0x2_0000_0000 + index * 4096, length: 4096, userVa: VA })}\n`;

const STORY: readonly Asked[] = [
  { path: '/v1/admin/tenants', body: { name: 'acme' }, admin: true },
  { path: '/v1/hosts', body: { preset: 'vmm-lab', name: 'lab' } },
  { path: `${HOST}/processes`, body: { name: 'vmm' } },
  { path: `${PROCESS}/iommufds` },
  {
    path: `${PROCESS}/calls`,
    body: {
      calls: [
        { call: 'mmap', addr: VA, length: 0x20_0000 },
        { call: 'open', path: '/dev/vfio/devices/vfio0' },
        { call: 'memfd_create', name: 'ram', flags: 2, size: 8192 },
        { call: 'pwrite', fd: 5, offset: 0, data: 'SGVsbG8=' },
      ],
    },
  },
  { path: `${PROCESS}/iommufds/3/ioases` },
  { path: `${PROCESS}/iommufds/7/ioases` },
  {
    path: `${PROCESS}/iommufds/3/ioases/1/batch`,
    body: { runs: [{ op: 'map', iova: '0x100000000', length: 4096, count: 100, stride: 4096, userVa: VA }] },
  },
  {
    path: `${PROCESS}/iommufds/3/ioases/1/batch`,
    lines: Array.from({ length: 20_000 }, (_, index) => map(index)).join(''),
  },
  { path: `${HOST}/devices/${D1}/dma`, body: { accesses: [{ op: 'read', iova: '0x100000000', length: 4 }] } },
  { path: `${HOST}/devices`, body: { bdf: '0000:05:00.0', driver: 'vfio-pci' } },
  { path: `${HOST}/kexec`, body: { mode: 'live-update' } },
  { path: `${HOST}/processes`, body: { name: 'successor' } },
  { path: '/v1/hosts', body: { from: 'HOST', name: 'copy' } },
];

class Client {
  readonly #t: TestContext;
  readonly #directory: string;
  readonly #dies: boolean;
  readonly #ids: string[] = [];
  #service: Service | undefined;
  deaths = 0;

  constructor(t: TestContext, dies: boolean) {
    this.#t = t;
    this.#dies = dies;
    this.#directory = temporaryDirectory(t);
  }

  /** Sends it until it is answered. */
  async ask(asked: Asked, key: string): Promise<Answer> {
    for (let tries = 0; tries < MOST_TRIES; tries += 1) {
      const answer = await this.#try(asked, key);
      if (answer !== null) return answer;
      await this.#service?.exited;
      this.#service = undefined;
      this.deaths += 1;
    }
    throw new Error(`${asked.path} is never answered`);
  }

  async get(path: string): Promise<unknown> {
    return JSON.parse((await this.#send(path, { method: 'GET' })).text);
  }

  /** Null: it has died. */
  async #try({ path, body, lines, admin = false }: Asked, key: string): Promise<Answer | null> {
    const headers = {
      'idempotency-key': key,
      'content-type': lines === undefined ? 'application/json' : LINES,
      ...(admin && { authorization: `Bearer ${ADMIN_KEY}` }),
    };
    const sent = lines ?? this.#named(JSON.stringify(body ?? {}));
    try {
      this.#service ??= await this.#start();
      return await this.#send(path, { method: 'POST', headers, body: sent });
    } catch (error) {
      if (!this.#dies) throw error;
      return null;
    }
  }

  /** It dies before and behind each commit in turn. */
  async #start(): Promise<Service> {
    const dying = { DIES: DEATHS[this.deaths % 2]!, NODE_OPTIONS: `--import=${KILLER}` };
    const env = { HOLDOVER_ADMIN_KEY: ADMIN_KEY, HOLDOVER_CHECK: '1', ...(this.#dies && dying) };
    return await startService(this.#t, this.#directory, { env });
  }

  async #send(path: string, { headers, ...init }: RequestInit): Promise<Answer> {
    const url = `${this.#service!.url}${this.#named(path)}`;
    const answer = await fetch(url, { ...init, headers: { authorization: 'Bearer dev-key', ...headers } });
    const text = await answer.text();
    for (const [id] of text.matchAll(/\bh-[a-z0-9]{10,}/g)) if (!this.#ids.includes(id)) this.#ids.push(id);
    return { status: answer.status, replayed: answer.headers.get('idempotency-replayed') === 'true', text };
  }

  #named(text: string): string {
    return text.replaceAll('HOST', this.#ids[0] ?? '');
  }

  /** What no two services have in common. */
  plain(text: string): string {
    const named = this.#ids.reduce((said, id, index) => said.replaceAll(id, `host ${index}`), text);
    return named
      .replace(/"created":"[^"]+"/g, '"created":"then"')
      .replace(/"(instance|key)":"[^"]+"/g, '"$1":"one"')
      .replace(/"id":"t-[^"]+"/g, '"id":"a tenant"');
  }
}

test('each request of a story, sent again across a death at each write, has happened once and is answered alike', async (t) => {
  const [calm, dying] = [new Client(t, false), new Client(t, true)];
  for (const [index, asked] of STORY.entries()) {
    const key = `request ${index}`;
    const expected = await calm.ask(asked, key);
    const before = dying.deaths;
    const found = await dying.ask(asked, key);
    const what = `request ${index}: ${asked.path}`;
    assert.deepEqual([found.status, dying.plain(found.text)], [expected.status, calm.plain(expected.text)], what);
    assert.deepEqual([found.replayed, expected.replayed], [true, false], what);
    assert.ok(dying.deaths - before >= 2, what);
    const again = await dying.ask(asked, key);
    assert.equal(dying.plain(again.text), dying.plain(found.text), what);
  }
  const all = async (client: Client): Promise<unknown> => {
    const { items } = (await client.get('/v1/hosts')) as { items: { name: string }[] };
    const { items: history } = (await client.get(`${HOST}/history?limit=1000`)) as { items: unknown[] };
    const { digest } = (await client.get(HOST)) as { digest: string };
    return { names: items.map(({ name }) => name), history, digest };
  };
  assert.deepEqual(await all(dying), await all(calm));
});
