/** A store in memory, which shows that the contract is not about SQLite: what it keeps is gone with it. */
import type { EmittedEvent } from '../../src/host/command.ts';
import {
  DamageBook,
  damagedCommand,
  damagedDescription,
  damagedHandover,
  damagedSnapshot,
  FIRST_EPOCH,
  FIRST_KEY,
  HandoverDamaged,
  type HostFilter,
  type HostRow,
  type HostSummary,
  type JournalEntry,
  KeyExists,
  KeyTaken,
  type ListedHost,
  lostEnd,
  OwnerPassed,
  type Ownership,
  type Requested,
  type RequestKey,
  type Snapshot,
  type Store,
  StoreDamaged,
  type StoredEvent,
  type StoredKey,
  StoreUnavailable,
  type Tenant,
  TenantExists,
} from '../../src/store/store.ts';

interface Kept {
  row: HostRow;
  epoch: number;
  diverged: HostSummary['diverged'];
  journal: JournalEntry[];
  snapshots: Snapshot[];
  events: StoredEvent[];
  /** Behind which command it begins. */
  begun: number;
  /** Commands that were stored. */
  end: number;
  damaged: Set<object>;
}

interface Memory {
  tenants: { tenant: Tenant; keys: (StoredKey & { keyHash: string })[] }[];
  hosts: Map<string, Kept>;
}

export const newMemory = (): Memory => ({ tenants: [], hosts: new Map() });

const PAGE_BYTES = 1 << 20;
const OF_STATE = ['boot', 'panic', 'kexec', 'restored', 'copy'];

export function openMemory(memory: Memory): Omit<Store, 'share'> {
  let open = true;
  const damage = new DamageBook();
  const { hosts } = memory;
  const use = <T>(work: () => T): T => {
    if (!open) throw new StoreUnavailable('it is closed');
    return work();
  };
  const owned = ({ hostId, epoch }: Ownership): Kept => {
    const host = hosts.get(hostId);
    if (host?.epoch !== epoch) throw new OwnerPassed(`host ${hostId} is not at epoch ${epoch}`);
    return host;
  };
  const tell = (host: Kept, sequence: number, events: readonly EmittedEvent[] = []): void => {
    host.events.push(...events.map((event, index) => ({ sequence, index, ...event })));
  };
  const requested = ({ tenantId, key }: Pick<RequestKey, 'tenantId' | 'key'>): Requested | undefined => {
    for (const [hostId, { row, begun, journal }] of hosts)
      for (const { sequence, request } of [{ sequence: begun, request: row.request }, ...journal])
        if (request?.tenantId === tenantId && request.key === key)
          return { hostId, sequence, fingerprint: request.fingerprint };
    return undefined;
  };
  const mustBeNew = (request: RequestKey | undefined): void => {
    if (request !== undefined && requested(request) !== undefined) throw new KeyTaken();
  };
  const summary = ({ row: { spec: _, request: _key, ...identity }, diverged }: Kept): HostSummary => ({
    labels: {},
    expiresAt: null,
    ...identity,
    diverged,
  });
  const listed = (host: Kept): ListedHost => {
    const { sequence, kind, kernel, data } = host.events.findLast((event) => OF_STATE.includes(event.kind)) ?? {};
    const isOfCrash = host.events.some((event) => event.kind === 'crash' && event.sequence === sequence);
    const states: Record<string, unknown> = {
      boot: isOfCrash ? 'kdump' : 'running',
      panic: 'panic',
      kexec: 'kexec',
      restored: data?.state,
      copy: data?.state,
    };
    return {
      ...summary(host),
      state: (states[kind ?? ''] ?? null) as ListedHost['state'],
      kernel: kernel ?? null,
      hazards: host.events.filter((event) => event.kind === 'hazard').length,
    };
  };
  const fits = ({ row: { name, labels = {} } }: Kept, asked: HostFilter): boolean =>
    (asked.name ?? name) === name &&
    (asked.labels ?? []).every(({ key, value }) => labels[key] !== undefined && (value ?? labels[key]) === labels[key]);
  const find = async (id: string) => use(() => hosts.get(id) && summary(hosts.get(id)!));
  const taken = (name: string, keyHash: string, but?: string): boolean =>
    memory.tenants.some(
      (other) =>
        other.tenant.id !== but && (other.tenant.name === name || other.keys.some((key) => key.keyHash === keyHash)),
    );
  const firstKey = (keyHash: string) => ({
    name: FIRST_KEY,
    role: 'full' as const,
    created: '2026-01-01T00:00:00.000Z',
    expires: null,
    keyHash,
  });
  const shown = ({ keyHash: _, ...key }: StoredKey & { keyHash: string }): StoredKey => key;
  const keysOf = (id: string) => memory.tenants.find(({ tenant }) => tenant.id === id)?.keys ?? [];

  const add = (made: Pick<Tenant, 'name' | 'parentId' | 'expiresAt'>, keyHash: string, quotas = {}): Tenant => {
    const tenant = { id: `t-${memory.tenants.length}`, created: '2026-01-01T00:00:00.000Z', quotas, ...made };
    memory.tenants.push({ tenant, keys: [firstKey(keyHash)] });
    return tenant;
  };
  const byName = (): Tenant[] => memory.tenants.map(({ tenant }) => tenant).sort((a, b) => (a.name < b.name ? -1 : 1));

  return {
    tenants: {
      create: async (name, keyHash) =>
        use(() => {
          if (taken(name, keyHash)) throw new TenantExists(`tenant ${name}`);
          return add({ name, parentId: null, expiresAt: null }, keyHash);
        }),
      createChild: async (parent, { name, expiresAt, most }, keyHash) =>
        use(() => {
          if (memory.tenants.filter(({ tenant }) => tenant.parentId === parent.id).length >= most) return undefined;
          const whole = `${parent.name}/${name ?? memory.tenants.length}`;
          if (taken(whole, keyHash)) throw new TenantExists(`tenant ${whole}`);
          return add({ name: whole, parentId: parent.id, expiresAt }, keyHash, parent.quotas);
        }),
      children: async (parentId) => use(() => byName().filter((tenant) => tenant.parentId === parentId)),
      expired: async (by, limit) =>
        use(() => {
          const end = ({ expiresAt }: Tenant): string => expiresAt ?? '~';
          return byName()
            .filter((tenant) => end(tenant) <= by)
            .slice(0, limit);
        }),
      end: async (id) =>
        use(() => {
          const found = memory.tenants.find(({ tenant }) => tenant.id === id);
          if (found !== undefined)
            Object.assign(found, { keys: [], tenant: { ...found.tenant, expiresAt: '2026-01-01T00:00:00.000Z' } });
        }),
      delete: async (id) =>
        use(() => {
          if ([...hosts.values()].some(({ row }) => row.tenantId === id)) return false;
          memory.tenants = memory.tenants.filter(({ tenant }) => tenant.id !== id);
          return true;
        }),
      findByKeyHash: async (hash) =>
        use(() => {
          for (const { tenant, keys } of memory.tenants)
            for (const key of keys) if (key.keyHash === hash) return { tenant, key: shown(key) };
          return undefined;
        }),
      findByName: async (name) => use(() => memory.tenants.find(({ tenant }) => tenant.name === name)?.tenant),
      get: async (id) => use(() => memory.tenants.find(({ tenant }) => tenant.id === id)?.tenant),
      list: async (limit, after = '') =>
        use(() =>
          memory.tenants
            .map(({ tenant }) => tenant)
            .filter(({ name }) => name > after)
            .sort((a, b) => (a.name < b.name ? -1 : 1))
            .slice(0, limit),
        ),
      setQuotas: async (id, quotas) =>
        use(() => {
          for (const one of memory.tenants)
            if (one.tenant.id === id || one.tenant.parentId === id) one.tenant = { ...one.tenant, quotas };
        }),
      setKeyHash: async (id, keyHash) =>
        use(() => {
          const found = memory.tenants.find(({ tenant }) => tenant.id === id);
          const first = found?.keys.findIndex(({ name }) => name === FIRST_KEY) ?? -1;
          if (found === undefined || found.keys[first]?.keyHash === keyHash) return false;
          if (taken(found.tenant.name, keyHash, id)) throw new TenantExists(`tenant ${id}`);
          if (first >= 0) found.keys.splice(first, 1);
          found.keys.push(firstKey(keyHash));
          return true;
        }),
      keys: async (id) =>
        use(() =>
          keysOf(id)
            .map(shown)
            .sort((a, b) => (a.name < b.name ? -1 : 1)),
        ),
      addKey: async (id, key, keyHash) =>
        use(() => {
          if (keysOf(id).some(({ name }) => name === key.name)) throw new KeyExists(`key ${key.name}`);
          keysOf(id).push({ ...key, keyHash });
        }),
      removeKey: async (id, name) =>
        use(() => {
          const at = keysOf(id).findIndex((key) => key.name === name);
          if (at >= 0) keysOf(id).splice(at, 1);
          return at >= 0;
        }),
    },
    hosts: {
      get: find,
      forget() {},
      origin: async (id) =>
        use(() => {
          const host = hosts.get(id);
          if (host === undefined) return undefined;
          const { row, diverged, damaged } = host;
          return damaged.has(row) ? { damaged: 'its spec', diverged } : { spec: row.spec, diverged };
        }),
      list: async (tenantId, limit, after = { created: '', id: '' }, asked = {}) =>
        use(() => {
          const place = ({ created, id }: { created: string; id: string }): string => `${created} ${id}`;
          return [...hosts.values()]
            .filter((host) => fits(host, asked))
            .map(listed)
            .filter((host) => host.tenantId === tenantId && place(host) > place(after))
            .sort((a, b) => (place(a) < place(b) ? -1 : 1))
            .slice(0, limit);
        }),
      setLabels: async (id, labels) =>
        use(() => {
          const host = hosts.get(id);
          if (host !== undefined) host.row = { ...host.row, labels };
        }),
      expired: async (by, limit) =>
        use(() => {
          const end = ({ expiresAt }: HostSummary): string => expiresAt ?? '~';
          const ended = [...hosts.values()].map(summary).filter((host) => end(host) <= by);
          return ended.sort((a, b) => (end(a) < end(b) ? -1 : 1)).slice(0, limit);
        }),
      stored: async (tenantId) =>
        use(() => {
          const owners = memory.tenants.filter(({ tenant: { id, parentId } }) => [id, parentId].includes(tenantId));
          const kept = [...hosts.values()].filter(({ row }) =>
            owners.some(({ tenant: { id } }) => id === row.tenantId),
          );
          const bytes = (value: unknown): number => JSON.stringify(value).length;
          const sizeOf = ({ row, journal, snapshots }: Kept): number =>
            bytes(row.spec) +
            journal.reduce((sum, { command, payload }) => sum + command.length + (payload?.byteLength ?? 0), 0) +
            snapshots.reduce((sum, snapshot) => sum + snapshot.bytes.byteLength, 0);
          return { hosts: kept.length, bytes: kept.reduce((sum, host) => sum + sizeOf(host), 0) };
        }),
      insert: async (row, events = [], copy) =>
        use(() => {
          mustBeNew(row.request);
          const known = memory.tenants.some(({ tenant }) => tenant.id === row.tenantId);
          if (!known || hosts.has(row.id)) throw new StoreUnavailable(`host ${row.id}`);
          const damaged = new Set<object>();
          const { sequence: end } = copy ?? { sequence: 0 };
          const snapshots = copy === undefined ? [] : [{ hostId: row.id, epoch: FIRST_EPOCH, ...copy }];
          const all = { journal: [], snapshots, events: [], begun: end, end };
          const host = { row, epoch: FIRST_EPOCH, diverged: null, ...all, damaged };
          hosts.set(row.id, host);
          tell(host, end, events);
        }),
      requested: async (key) => use(() => requested(key)),
      own: async (id) =>
        use(() => {
          const host = hosts.get(id);
          if (host === undefined) return undefined;
          host.epoch += 1;
          return host.epoch;
        }),
      end: async (id) => use(() => hosts.get(id)?.end ?? 0),
      markDiverged: async (owner, divergence) =>
        use(() => {
          owned(owner).diverged = divergence;
        }),
      delete: async (owner) =>
        use(() => {
          owned(owner);
          hosts.delete(owner.hostId);
        }),
    },
    journal: {
      append: async (entry) =>
        use(() => {
          const host = owned(entry);
          const { journal } = host;
          if (entry.sequence !== host.end + 1) throw new StoreUnavailable(`command ${entry.sequence}`);
          mustBeNew(entry.request);
          journal.push(entry);
          host.end = entry.sequence;
          tell(host, entry.sequence, entry.events);
        }),
      read: async (hostId, after) =>
        use(() => {
          const { journal = [], damaged = new Set() } = hosts.get(hostId) ?? {};
          const found = [];
          let size = 0;
          for (const one of journal.filter(({ sequence }) => sequence > after)) {
            const { sequence, command, digest, payload } = one;
            const kept = damaged.has(one) ? { damaged: 'its row' } : payload && { payload };
            found.push({ sequence, command, digest, ...kept });
            size += command.length + (payload?.byteLength ?? 0);
            if (size >= PAGE_BYTES) break;
          }
          return found;
        }),
      handover: async (hostId, sequence) =>
        use(() => {
          const { journal = [], damaged = new Set() } = hosts.get(hostId) ?? {};
          const handover = journal.find((one) => one.sequence === sequence)?.handover;
          if (handover === undefined || damaged.has(handover)) throw new HandoverDamaged(`of command ${sequence}`);
          return handover;
        }),
      unbooted: async () =>
        use(() => {
          const isOpen = ({ journal }: Kept): boolean => {
            const freeze = journal.findLastIndex(({ handover }) => handover !== undefined);
            const boot = journal.findLastIndex(({ command }) => JSON.parse(command).op === 'kexec.boot');
            return freeze > boot;
          };
          return [...hosts].filter(([, host]) => isOpen(host)).map(([id]) => id);
        }),
    },
    events: {
      read: async (hostId, { kinds, bdf, kernel, from, to }, after, limit) =>
        use(() => {
          const isBehind = ({ sequence, index }: StoredEvent): boolean =>
            after === null || sequence > after.sequence || (sequence === after.sequence && index > after.index);
          const behind = (hosts.get(hostId)?.events ?? []).filter(isBehind);
          const found = behind.filter(
            (event) =>
              (kinds?.includes(event.kind) ?? true) &&
              (bdf === undefined || event.data.bdf === bdf) &&
              (kernel === undefined || event.kernel === kernel) &&
              (from === undefined || BigInt(event.time) >= BigInt(from)) &&
              (to === undefined || BigInt(event.time) <= BigInt(to)),
          );
          const { damaged = new Set() } = hosts.get(hostId) ?? {};
          if (found[0] !== undefined && damaged.has(found[0])) throw new StoreDamaged('an event');
          const hurt = found.findIndex((one) => damaged.has(one));
          const events = found.slice(0, hurt < 0 ? limit : Math.min(limit, hurt));
          const last = hurt >= 0 || events.length === limit ? events.at(-1) : behind.at(-1);
          const reached = last === undefined ? after : { sequence: last.sequence, index: last.index };
          return { events, reached, oldest: null, missed: false };
        }),
      areStored: async () => true,
      begin: async (owner) =>
        use(() => {
          owned(owner).events = [];
        }),
      add: async (owner, sequence, events) => use(() => tell(owned(owner), sequence, events)),
      end: async (owner) => use(() => void owned(owner)),
    },
    snapshots: {
      put: async (snapshot) =>
        use(() => {
          const host = owned(snapshot);
          host.snapshots = [...host.snapshots, snapshot].slice(-2);
        }),
      before: async (hostId, before) =>
        use(() => {
          const { snapshots = [], damaged = new Set() } = hosts.get(hostId) ?? {};
          const found = snapshots.findLast(({ sequence }) => sequence < before);
          if (found === undefined) return undefined;
          const { sequence, engine, bytes } = found;
          return { sequence, engine, ...(damaged.has(found) ? { damaged: 'its bytes' } : { bytes }) };
        }),
    },
    check: async () => use(() => {}),
    damage,
    async inspect(tell) {
      for (const [hostId, { row, journal, snapshots, events, end, damaged }] of hosts) {
        const found = [
          damaged.has(row) && damagedDescription('its spec'),
          end > journal.length && lostEnd(journal.length, end),
          ...journal.map((entry) => damaged.has(entry) && damagedCommand(entry.sequence, 'its row')),
          ...journal.map(({ handover = {} }) => damaged.has(handover) && damagedHandover('its handover')),
          ...snapshots.map((one) => damaged.has(one) && damagedSnapshot(one.sequence, 'its bytes')),
          ...events.map((one) => damaged.has(one) && { kind: 'events' as const, what: 'an event' }),
        ];
        for (const damage of found) if (damage) tell({ ...damage, hostId });
      }
      damage.noteInspected();
    },
    async close() {
      open = false;
    },
  };
}
