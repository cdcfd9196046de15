/** Hosts: what they began with, and whether their journal can still be replayed. */
import type Database from 'better-sqlite3';
import type { HostSpec } from '../../host/command.ts';
import { unavailable } from '../errors.ts';
import type { Divergence, HostCursor, HostIdentity, HostRow, HostSummary } from '../rows.ts';
import { openParts } from './parts.ts';
import type { Writer } from './writes.ts';

export interface Hosts {
  insert(row: HostRow): Promise<void>;
  get(id: string): HostSummary | undefined;
  /** The same from memory, as every request asks for it. Whoever has a host deleted elsewhere has it forgotten here. */
  identity(id: string): HostIdentity | undefined;
  forget(id: string): void;
  spec(id: string): HostSpec | undefined;
  /** A tenant's hosts in the order of their creation, at most `limit` of those after the cursor. */
  list(tenantId: string, limit: number, after?: HostCursor): HostSummary[];
  markDiverged(id: string, divergence: Divergence): Promise<void>;
  /** Deletes the host with its journal, handovers and snapshots. */
  delete(id: string): Promise<void>;
}

interface Columns {
  id: string;
  tenantId: string;
  name: string;
  created: string;
  diverged: string | null;
}

/** Identities that are kept in memory. */
const MOST_KNOWN = 10_000;

const COLUMNS = 'id, tenant_id AS tenantId, name, created, diverged';

export function openHosts(database: Database.Database, writer: Writer): Hosts {
  const byId = database.prepare<[string], Columns>(`SELECT ${COLUMNS} FROM hosts WHERE id = ?`);
  const specById = database.prepare<[string], string>('SELECT spec FROM hosts WHERE id = ?').pluck();
  const page = database.prepare<[string, string, string, number], Columns>(
    `SELECT ${COLUMNS} FROM hosts WHERE tenant_id = ? AND (created, id) > (?, ?) ORDER BY created, id LIMIT ?`,
  );

  const known = new Map<string, HostIdentity>();
  const parts = openParts(database, writer);

  return {
    async insert({ spec, ...row }) {
      await writer.write({ kind: 'host.insert', ...row, spec: JSON.stringify(spec) });
    },
    get(id) {
      const columns = attempt('read', id, () => byId.get(id));
      return columns === undefined ? undefined : summary(columns);
    },
    identity(id) {
      const identity = known.get(id) ?? this.get(id);
      if (identity === undefined) return undefined;
      if (known.size >= MOST_KNOWN) known.clear();
      known.set(id, identity);
      return identity;
    },
    forget: (id) => void known.delete(id),
    spec(id) {
      const text = attempt('read', id, () => specById.get(id));
      return text === undefined ? undefined : (JSON.parse(text as string) as HostSpec);
    },
    list(tenantId, limit, after = { created: '', id: '' }) {
      return attempt('list', tenantId, () => page.all(tenantId, after.created, after.id, limit)).map(summary);
    },
    async markDiverged(id, divergence) {
      await writer.write({ kind: 'host.diverge', id, divergence: JSON.stringify(divergence) });
    },
    async delete(id) {
      await writer.write({ kind: 'host.delete', id });
      known.delete(id);
      // Nobody waits for that. What is left by a stop goes at the next start.
      parts.prune(id).catch(() => {});
    },
  };
}

function summary(columns: Columns): HostSummary {
  const diverged = columns.diverged === null ? null : (JSON.parse(columns.diverged) as Divergence);
  return { ...columns, diverged };
}

function attempt<T>(verb: string, id: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw unavailable(`cannot ${verb} ${verb === 'list' ? 'hosts of tenant' : 'host'} ${id}`, error);
  }
}
