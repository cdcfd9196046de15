/** Lanes that do nothing but answer what a test says, and remember what they were asked. */
import type { Answer, BatchCommand, Command, HostSpec, Query } from '../../src/host/command.ts';
import type { HostUse, Lanes, NewHost, SetAside } from '../../src/lanes/lanes.ts';
import { newHostId } from '../../src/lanes/owner.ts';
import { FIRST_EPOCH, type HostRow, hashKey, type Store } from '../../src/store/store.ts';
import type { Client } from '../../src/threads/client.ts';
import { type Packed, unpack } from '../../src/threads/packed.ts';

const ok = (value: unknown): Answer => ({ kind: 'ok', value });

export class FakeLanes implements Lanes {
  readonly rows: HostRow[] = [];
  readonly commands: Command[] = [];
  readonly queries: Query[] = [];
  readonly batches: { command: BatchCommand; text: string }[] = [];
  /** Who has asked for each command. */
  readonly clients: (Client | undefined)[] = [];
  onCommand: (command: Command) => Answer | Promise<Answer> = () => ok({});
  onBatch: (command: BatchCommand) => Answer | Promise<Answer> = () => ok({});
  onQuery: (query: Query) => Answer | Promise<Answer> = () => ok([]);
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  newHostId(): string {
    return newHostId(0, 1);
  }

  async create(row: NewHost): Promise<Answer> {
    const made = { ...row, spec: unpack<HostSpec>(row.spec) };
    this.rows.push(made);
    await this.#store.hosts.insert(made);
    return ok({ state: 'running' });
  }

  async execute(_hostId: string, given: Command | Packed<Command>, client?: Client): Promise<Answer> {
    const command = unpack<Command>(given);
    this.commands.push(command);
    this.clients.push(client);
    return this.onCommand(command);
  }

  async batch(_hostId: string, command: BatchCommand, payload: Uint8Array): Promise<Answer> {
    this.batches.push({ command, text: Buffer.from(payload).toString() });
    return this.onBatch(command);
  }

  async query(_hostId: string, query: Query): Promise<Answer> {
    this.queries.push(query);
    return this.onQuery(query);
  }

  async lookBack(): Promise<Answer> {
    return ok({ items: [], nextPageToken: null });
  }

  async restore(): Promise<Answer> {
    return ok({ name: 'ready', sequence: 12 });
  }

  async copy(): Promise<Answer> {
    return ok({ sequence: 0 });
  }

  remove(hostId: string): Promise<void> {
    return this.#store.hosts.delete({ hostId, epoch: FIRST_EPOCH });
  }

  /** By id. */
  readonly uses = new Map<string, HostUse>();

  use(hostId: string): HostUse | null {
    return this.uses.get(hostId) ?? null;
  }

  /** By id. */
  readonly aside = new Map<string, SetAside>();
  /** What `retry` answers. */
  pause = 0;

  setAside(hostId: string): SetAside | null {
    return this.aside.get(hostId) ?? null;
  }

  async retry(hostId: string): Promise<number> {
    if (this.pause === 0) this.aside.delete(hostId);
    return this.pause;
  }

  async recover(): Promise<void> {}
  /** What `stop` does. */
  onStop = (): void => {};

  async stop(): Promise<void> {
    this.onStop();
  }

  async close(): Promise<void> {}
}

/** Makes the tenant with this key. */
export async function tenantWith(store: Store, name: string, key: string): Promise<string> {
  return (await store.tenants.create(name, hashKey(key))).id;
}
