/** Hosts: what they began with, and whether their journal can still be replayed. */
import type Database from 'better-sqlite3';
import type { HostSpec } from '../../host/command.ts';
import type { Divergence, HostIdentity, HostOrigin, HostSummary, Hosts, Labels, Stored } from '../store.ts';
import { Changes } from './changes.ts';
import { identityChecksum, specChecksum } from './checksums.ts';
import { reason, unavailable } from './errors.ts';
import { eventRows } from './events.ts';
import { openTelling } from './host-states.ts';
import { NOBODYS, openParts } from './parts.ts';
import { openRequests, requestRow } from './requests.ts';
import { snapshotOf } from './snapshots.ts';
import type { Write, Writer } from './writes.ts';

interface Columns extends HostIdentity {
  serial: number;
  diverged: string | null;
  checksum: number | null;
  /** JSON. */
  labels: string | null;
  expiresAt: string | null;
}

interface Origin {
  spec: string;
  diverged: string | null;
  checksum: number | null;
}

/** Hosts that are kept in memory. */
const MOST_KNOWN = 10_000;

const COLUMNS = 'id, tenant_id AS tenantId, name, created, serial, diverged, checksum, labels, expires AS expiresAt';
/** Those that are not deleted. */
const THERE = "deleted IS NOT 'deleted'";

interface Page {
  tenant: string;
  created: string;
  id: string;
  limit: number;
}

interface Asked {
  name: string | null;
  /** JSON: a list of a key and a value each. */
  labels: string;
}

/** Those that are asked for. Keys have no quotation marks in them. */
const FITS = `(:name IS NULL OR name = :name) AND NOT EXISTS (
  SELECT 1 FROM (
    SELECT asked.value ->> 'value' AS wanted,
      CASE WHEN json_valid(labels) THEN labels ELSE '{}' END ->> ('$."' || (asked.value ->> 'key') || '"') AS had
    FROM json_each(:labels) AS asked)
  WHERE had IS NULL OR had <> wanted)`;

/** `changes`: of other threads; default: there are none. */
export function openHosts(database: Database.Database, writer: Writer, changes = new Changes()): Hosts {
  const byId = database.prepare<[string], Columns>(`SELECT ${COLUMNS} FROM hosts WHERE id = ? AND ${THERE}`);
  const originById = database.prepare<[string], Origin>(
    `SELECT spec, diverged, spec_checksum AS checksum FROM hosts WHERE id = ? AND ${THERE}`,
  );
  const ofTenant = `SELECT ${COLUMNS} FROM hosts WHERE tenant_id = :tenant AND (created, id) > (:created, :id) AND ${THERE}`;
  const inOrder = 'ORDER BY created, id LIMIT :limit';
  const page = database.prepare<[Page], Columns>(`${ofTenant} ${inOrder}`);
  const fitting = database.prepare<[Page & Asked], Columns>(`${ofTenant} AND ${FITS} ${inOrder}`);
  const expiring = database.prepare<[string, number], Columns>(
    `SELECT ${COLUMNS} FROM hosts WHERE expires <= ? AND ${THERE} ORDER BY expires LIMIT ?`,
  );
  const tell = openTelling(database);

  const stored = database.prepare<[{ tenant: string }], Stored>(
    `SELECT count(*) AS hosts, coalesce(sum(bytes), 0) AS bytes FROM hosts JOIN host_sizes ON host_id = id
     WHERE tenant_id IN (SELECT :tenant UNION ALL SELECT id FROM tenants WHERE parent_id = :tenant)`,
  );

  const parts = openParts(database, writer);
  const findRequest = openRequests(database);
  const known = changes.cache<HostSummary>(MOST_KNOWN);
  const find = (id: string): HostSummary | undefined =>
    attempt('read', id, () => {
      const columns = byId.get(id);
      return columns === undefined ? undefined : summary(columns);
    });

  /** What fails may be stored all the same, where the thread that writes has ended. */
  const change = async (id: string, write: Write): Promise<void> => {
    try {
      await writer.write(write);
    } finally {
      changes.note(id);
    }
  };

  return {
    async insert({ spec, request, labels = {}, expiresAt = null, ...row }, events, copy) {
      const text = JSON.stringify(spec);
      const { sequence } = copy ?? { sequence: 0 };
      await writer.write({
        kind: 'host.insert',
        ...row,
        spec: text,
        labels: textOf(labels),
        expires: expiresAt,
        specChecksum: specChecksum(row.id, text),
        events: eventRows(row.id, sequence, events),
        request: requestRow(request, row.id, sequence),
        snapshot: copy === undefined ? null : await snapshotOf(parts, { hostId: row.id, epoch: NOBODYS, ...copy }),
      });
    },
    get: async (id) => known.get(id, () => find(id)),
    forget: (id) => changes.note(id),
    async own(id, use = 'run') {
      const epoch = await writer.write({ kind: 'host.own', id, use });
      return epoch === 0 ? undefined : epoch;
    },
    end: (id) => writer.write({ kind: 'host.end', id }),
    origin: async (id) =>
      attempt('read', id, () => {
        const row = originById.get(id);
        return row === undefined ? undefined : origin(id, row);
      }),
    async list(tenantId, limit, after = { created: '', id: '' }, { name = null, labels = [] } = {}) {
      const { created, id } = after;
      const asked = { tenant: tenantId, created, id, limit };
      const all = name === null && labels.length === 0;
      const find = (): Columns[] =>
        all ? page.all(asked) : fitting.all({ ...asked, name, labels: JSON.stringify(labels) });
      return attempt('list', tenantId, () => find().map((host) => ({ ...summary(host), ...tell(host.id) })));
    },
    async setLabels(id, labels) {
      await change(id, { kind: 'host.labels', id, labels: textOf(labels) });
    },
    expired: async (by, limit) => attempt('find', 'any', () => expiring.all(by, limit).map(summary)),
    stored: async (tenantId) => attempt('count', tenantId, () => stored.get({ tenant: tenantId })!),
    requested: async (key) => attempt('look for', key.tenantId, () => findRequest(key)),
    async markDiverged(owner, divergence) {
      await change(owner.hostId, { kind: 'host.diverge', owner, divergence: JSON.stringify(divergence) });
    },
    async delete(owner) {
      const { hostId: id } = owner;
      await change(id, { kind: 'host.delete', owner });
      // It is deleted: what is left by a stop, or where this fails, goes at the next start.
      const clear = async (): Promise<void> => {
        while ((await writer.write({ kind: 'host.clear', id })) > 0);
      };
      await clear().catch(() => {});
    },
  };
}

function summary({ checksum, serial, ...columns }: Columns): HostSummary {
  const host = { ...columns, labels: labelsOf(columns.labels), diverged: divergence(columns.diverged) };
  const isWhole = [serial, null].some((known) => checksum === identityChecksum(columns, known));
  if (checksum === null || isWhole) return host;
  return { ...host, damaged: 'its name, its tenant, its time or its serial does not match the checksum' };
}

const textOf = (labels: Labels): string | null => (Object.keys(labels).length === 0 ? null : JSON.stringify(labels));

/** What cannot be read is none. */
function labelsOf(text: string | null): Labels {
  if (text === null) return {};
  try {
    const labels: unknown = JSON.parse(text);
    return typeof labels === 'object' && labels !== null ? (labels as Labels) : {};
  } catch {
    return {};
  }
}

function origin(id: string, { spec, diverged, checksum }: Origin): HostOrigin {
  const mark = divergence(diverged);
  if (typeof spec !== 'string') return { damaged: 'its description is none', diverged: mark };
  if (checksum !== null && checksum !== specChecksum(id, spec))
    return { damaged: 'its description does not match its checksum', diverged: mark };
  try {
    return { spec: JSON.parse(spec) as HostSpec, diverged: mark };
  } catch (error) {
    return { damaged: `its description cannot be read: ${reason(error)}`, diverged: mark };
  }
}

/** One that cannot be read is a divergence, too: from what command on is not known. */
function divergence(text: string | null): Divergence | null {
  if (text === null) return null;
  try {
    return JSON.parse(text) as Divergence;
  } catch (error) {
    return { sequence: 1, op: 'unknown', why: `what was stored of it is damaged: ${reason(error)}` };
  }
}

function attempt<T>(verb: string, id: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw unavailable(`cannot ${verb} ${verb === 'read' ? 'host' : 'hosts of tenant'} ${id}`, error);
  }
}
