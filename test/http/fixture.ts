/** The HTTP face over a real store and fake lanes, with a tenant, another tenant and an admin. */
import { Writable } from 'node:stream';
import type { TestContext } from 'node:test';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import request from 'supertest';
import { WELL_KNOWN_KEY } from '../../src/config.ts';
import { buildApp } from '../../src/http/app.ts';
import type { Patience } from '../../src/http/connections.ts';
import { defaultQuotas, type GivenQuotas } from '../../src/quotas.ts';
import type { SqliteStore } from '../../src/store/sqlite/store.ts';
import { SPEC } from '../lanes/fake-host.ts';
import { temporaryStore } from '../support/store.ts';
import { FakeLanes, tenantWith } from './fake-lanes.ts';

export const KEY = 'key-of-acme';
export const OTHER_KEY = 'key-of-globex';
export const ADMIN_KEY = 'key-of-the-admin';
export const BODY_LIMIT = 64 * 1024;
export const BATCH_LIMIT = 128 * 1024;
export const HOST = 'h-one';
export const OTHER_HOST = 'h-of-another';

type Method = 'get' | 'head' | 'post' | 'put' | 'patch' | 'delete';

export interface Fixture {
  app: FastifyInstance;
  store: SqliteStore;
  lanes: FakeLanes;
  /** All that was logged. */
  logged: () => string;
  /** A request of the tenant, unless another key is given; null: none. */
  ask: (method: Method, path: string, body?: unknown, key?: string | null) => request.Test;
}

export interface FixtureOptions {
  adminKey?: string | null;
  dev?: boolean;
  /** Of the development mode; default: the one that everybody knows. */
  devKey?: string;
  bodyLimit?: number;
  /** Default: BATCH_LIMIT. */
  batchLimit?: number;
  /** All that the bodies of a tenant, and of all, may be at a time, in bytes. */
  tenantBodies?: number;
  allBodies?: number;
  /** How long a body may keep the service waiting, and take, in milliseconds. */
  bodyIdle?: number;
  bodyTimeout?: number;
  patience?: Partial<Patience>;
  corsOrigins?: string[] | null;
  /** Of each tenant. */
  quotas?: GivenQuotas;
}

export async function fixture(t: TestContext, options: FixtureOptions = {}): Promise<Fixture> {
  const { adminKey = ADMIN_KEY, dev = false, bodyIdle = 30_000, bodyTimeout = 300_000, patience = {} } = options;
  const quotas = defaultQuotas(options.quotas ?? {}, { hostMemory: 2048, dev });
  const { corsOrigins = null, devKey = WELL_KNOWN_KEY } = options;
  const { bodyLimit = BODY_LIMIT, batchLimit = BATCH_LIMIT } = options;
  const { tenantBodies = 512 << 20, allBodies = 1024 << 20 } = options;
  const store = temporaryStore(t);
  const lanes = new FakeLanes(store);
  const tenantId = await tenantWith(store, 'acme', KEY);
  const otherId = await tenantWith(store, 'globex', OTHER_KEY);
  const row = { name: 'one', spec: SPEC, created: '2026-01-31T12:00:00.000Z' };
  await store.hosts.insert({ ...row, id: HOST, tenantId });
  await store.hosts.insert({ ...row, id: OTHER_HOST, tenantId: otherId });
  let text = '';
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  const limits = { bodyLimit, batchLimit };
  const bodies = { tenantBodies, allBodies, bodyIdle, bodyTimeout };
  const config = { adminKey, devKey, quotas, corsOrigins, ...limits, ...bodies };
  const log = pino({ level: 'trace' }, stream);
  const app = await buildApp({ config, directory: store, lanes, log, dev, patience });
  t.after(() => app.close());
  return {
    app,
    store,
    lanes,
    logged: () => text,
    ask(method, path, body, key = KEY) {
      const pending = request(app.server)[method](path);
      if (key !== null) pending.set('authorization', `Bearer ${key}`);
      return body === undefined ? pending : pending.send(body as object);
    },
  };
}

export interface ProblemBody {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance: string;
  errno?: string;
  where?: string;
  rule?: string;
  errors?: { in: string; pointer: string; reason: string }[];
}

/** The pointers that a refused request is answered with. */
export const pointers = (body: ProblemBody): string[] => (body.errors ?? []).map(({ pointer }) => pointer);
