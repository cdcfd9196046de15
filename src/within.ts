/** The service as it is asked within its own process, by the thread that has started it: before it listens, and so before anybody else. */

import type { AppOptions } from './http/app.ts';
import { buildApp } from './http/app.ts';
import { QUOTA_NAMES, type Quotas } from './quotas.ts';
import type { Send } from './scenarios/client.ts';
import { type Directory, FIRST_KEY, hashKey, newKey, type Tenant } from './store/store.ts';

export type Parts = Pick<AppOptions, 'config' | 'lanes'> & { fileKey: string; directory: Directory };

const UNLIMITED = Object.fromEntries(QUOTA_NAMES.map((name) => [name, Number.POSITIVE_INFINITY])) as Record<
  keyof Quotas,
  number
>;

/** Asks as that tenant, with a key that nobody else has; quotas are not looked at. */
export async function asTenant<T>(tenant: Tenant, parts: Parts, work: (send: Send) => Promise<T>): Promise<T> {
  const { config, fileKey, directory, lanes } = parts;
  const key = newKey();
  const holder = {
    tenant: { ...tenant, quotas: {} },
    key: { name: FIRST_KEY, role: 'full', created: tenant.created, expires: null },
  } as const;
  const tenants = {
    ...directory.tenants,
    findByKeyHash: async (hash: string) => (hash === hashKey(key) ? holder : undefined),
  };
  const app = await buildApp({
    config: { ...config, quotas: UNLIMITED },
    fileKey,
    directory: { ...directory, tenants },
    lanes,
  });
  try {
    return await work(async (method, url, body) => {
      const { statusCode: status, body: text } = await app.inject({
        method: method as 'GET',
        url,
        headers: { authorization: `Bearer ${key}`, ...(body !== undefined && { 'content-type': 'application/json' }) },
        ...(body !== undefined && { payload: body }),
      });
      return { status, text };
    });
  } finally {
    await app.close();
  }
}
