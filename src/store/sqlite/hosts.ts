/** Hosts: what they began with, and whether their journal can still be replayed. */
import type Database from 'better-sqlite3';
import type { HostSpec } from '../../host/command.ts';
import type { Divergence, HostIdentity, HostOrigin, HostSummary, Hosts } from '../store.ts';
import { reason, unavailable } from './errors.ts';
import { eventRows, openClearing } from './events.ts';
import { openParts } from './parts.ts';
import type { Writer } from './writes.ts';

interface Columns {
  id: string;
  tenantId: string;
  name: string;
  created: string;
  diverged: string | null;
}

interface Origin {
  spec: string;
  diverged: string | null;
}

/** Identities that are kept in memory. */
const MOST_KNOWN = 10_000;

const COLUMNS = 'id, tenant_id AS tenantId, name, created, diverged';

export function openHosts(database: Database.Database, writer: Writer): Hosts {
  const byId = database.prepare<[string], Columns>(`SELECT ${COLUMNS} FROM hosts WHERE id = ?`);
  const originById = database.prepare<[string], Origin>('SELECT spec, diverged FROM hosts WHERE id = ?');
  const page = database.prepare<[string, string, string, number], Columns>(
    `SELECT ${COLUMNS} FROM hosts WHERE tenant_id = ? AND (created, id) > (?, ?) ORDER BY created, id LIMIT ?`,
  );

  const known = new Map<string, HostIdentity>();
  const parts = openParts(database, writer);
  const clearEvents = openClearing(database, writer);
  const find = (id: string): HostSummary | undefined =>
    attempt('read', id, () => {
      const columns = byId.get(id);
      return columns === undefined ? undefined : summary(columns);
    });

  return {
    async insert({ spec, ...row }, events) {
      const rows = eventRows(row.id, 0, events);
      await writer.write({ kind: 'host.insert', ...row, spec: JSON.stringify(spec), events: rows });
    },
    get: async (id) => find(id),
    async identity(id) {
      const identity = known.get(id) ?? find(id);
      if (identity === undefined) return undefined;
      if (known.size >= MOST_KNOWN) known.clear();
      known.set(id, identity);
      return identity;
    },
    forget: (id) => void known.delete(id),
    async own(id) {
      const epoch = await writer.write({ kind: 'host.own', id });
      return epoch === 0 ? undefined : epoch;
    },
    origin: async (id) =>
      attempt('read', id, () => {
        const row = originById.get(id);
        return row === undefined ? undefined : origin(row);
      }),
    async list(tenantId, limit, after = { created: '', id: '' }) {
      return attempt('list', tenantId, () => page.all(tenantId, after.created, after.id, limit).map(summary));
    },
    async markDiverged(owner, divergence) {
      await writer.write({ kind: 'host.diverge', owner, divergence: JSON.stringify(divergence) });
    },
    async delete(owner) {
      await clearEvents(owner);
      await writer.write({ kind: 'host.delete', owner });
      known.delete(owner.hostId);
      // Nobody waits for that. What is left by a stop goes at the next start.
      parts.prune(owner.hostId).catch(() => {});
    },
  };
}

function summary(columns: Columns): HostSummary {
  return { ...columns, diverged: divergence(columns.diverged) };
}

function origin({ spec, diverged }: Origin): HostOrigin {
  const mark = divergence(diverged);
  try {
    return { spec: JSON.parse(spec) as HostSpec, diverged: mark };
  } catch (error) {
    return { damaged: `its description cannot be read: ${reason(error)}`, diverged: mark };
  }
}

function divergence(text: string | null): Divergence | null {
  return text === null ? null : (JSON.parse(text) as Divergence);
}

function attempt<T>(verb: string, id: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw unavailable(`cannot ${verb} ${verb === 'list' ? 'hosts of tenant' : 'host'} ${id}`, error);
  }
}
