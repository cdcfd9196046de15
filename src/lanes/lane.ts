/** A lane: owns hosts and runs their commands, each host's one after another, the hosts in turns. */
import type { Answer, BatchCommand, Command, HostSpec, Query } from '../host/command.ts';
import type { HostUse } from '../host/footprint.ts';
import { STOP_SNAPSHOTS_MS } from '../limits.ts';
import type { Presence } from '../threads/client.ts';
import { type Packed, unpack } from '../threads/packed.ts';
import { AtWork, type SharedAtWork } from './at-work.ts';
import { type CopyRow, makeCopy } from './copies.ts';
import { HostMoves } from './errors.ts';
import { takeFrom } from './filing.ts';
import type { HostFile } from './host-file.ts';
import type { Outcome } from './jobs.ts';
import type { HostOfFile, Lanes, NewHost, Terms } from './lanes.ts';
import { newHostId } from './owner.ts';
import { buildsHosts, type LookInto, lookBack, type PastQuery } from './past.ts';
import type { Rebuilding } from './replay.ts';
import { noteUse, Residents, type ResidentsOptions } from './residents.ts';
import { HostRunner, type RunnerOptions } from './runner.ts';
import { Turns } from './turns.ts';

export interface LaneOptions extends RunnerOptions, ResidentsOptions {
  /** Where others see which host it is at work on. */
  atWork?: SharedAtWork;
}

export class Lane implements Lanes {
  readonly #options: LaneOptions;
  readonly #turns = new Turns();
  readonly #residents: Residents;
  readonly #atWork: AtWork;
  readonly #uses = new Map<string, HostUse>();

  constructor(options: LaneOptions) {
    this.#options = options;
    const onUse = (hostId: string, use: HostUse): void => {
      noteUse(this.#uses, hostId, use);
      options.onUse?.(hostId, use);
    };
    this.#residents = new Residents({ ...options, onUse });
    this.#atWork = new AtWork(options.atWork);
  }

  /** Hosts in memory. */
  get hosts(): number {
    return this.#residents.count;
  }

  async create(row: NewHost | HostOfFile): Promise<Answer> {
    if ('spec' in row) return await this.#runner(row.id).create({ ...row, spec: unpack<HostSpec>(row.spec) });
    const { file: given, ...own } = row;
    const file = unpack<HostFile>(given);
    // Large or not: what it will be is known only when it is there.
    const take = (from: Rebuilding): Promise<Outcome<Answer>> =>
      this.#residents.alone(
        () => takeFrom(file, own, from),
        async () => {},
      );
    return await this.#runner(row.id).make(take);
  }

  async execute(hostId: string, command: Command | Packed<Command>, client?: Presence, terms?: Terms): Promise<Answer> {
    return await this.#runner(hostId).execute(unpack<Command>(command), client, terms);
  }

  async batch(
    hostId: string,
    command: BatchCommand,
    payload: Uint8Array,
    client?: Presence,
    terms?: Terms,
  ): Promise<Answer> {
    return await this.#runner(hostId).batch(command, payload, client, terms);
  }

  async query(hostId: string, query: Query, client?: Presence, terms?: Terms): Promise<Answer> {
    return await this.#runner(hostId).query(query, client, terms);
  }

  async copy(hostId: string, row: CopyRow, at?: number, client?: Presence): Promise<Answer> {
    const copy: LookInto = (host, from, stored) =>
      makeCopy({ hostId, host, at: at ?? host.sequence, stored }, row, from);
    return await this.#runner(hostId).lookInto(true, copy, client);
  }

  async lookBack(hostId: string, query: PastQuery, client?: Presence): Promise<Answer> {
    const back: LookInto = (host, from, stored) => lookBack(hostId, host, query, from, stored);
    return await this.#runner(hostId).lookInto(buildsHosts(query), back, client);
  }

  async restore(hostId: string, name: string, client?: Presence, terms?: Terms): Promise<Answer> {
    return await this.#runner(hostId).restore(name, client, terms);
  }

  async remove(hostId: string, terms?: Terms): Promise<void> {
    await this.#runner(hostId).remove(terms);
    this.#uses.delete(hostId);
  }

  use(hostId: string): HostUse | null {
    return this.#uses.get(hostId) ?? null;
  }

  newHostId(): string {
    return newHostId(0, 1);
  }

  /** There is nobody here who would know it. */
  setAside(): null {
    return null;
  }

  async retry(): Promise<number> {
    return 0;
  }

  /** It is run in a lane of large hosts from now on. Throws HostMoves. */
  giveUp(hostId: string): never {
    this.#residents.noteMove(hostId);
    throw new HostMoves();
  }

  /** It has been deleted, wherever it was run. */
  forget(hostId: string): void {
    this.#residents.forget(hostId);
  }

  async recover(): Promise<void> {
    for (const hostId of await this.#options.store.journal.unbooted()) await this.boot(hostId);
  }

  /** The next kernel of a host that was killed between freeze and boot. Rejects with HostMoves only. */
  async boot(hostId: string): Promise<void> {
    const { log } = this.#options;
    if (this.#turns.areOver) return;
    try {
      const booted = await this.#runner(hostId).recover();
      if (booted) log.info({ host: hostId }, 'the next kernel booted after an interrupted kexec');
    } catch (error) {
      if (error instanceof HostMoves) throw error;
      log.error({ host: hostId, err: error }, 'the next kernel could not be booted yet');
    }
  }

  async stop(): Promise<void> {
    this.#turns.areOver = true;
    await this.#idle();
  }

  async close(): Promise<void> {
    this.#residents.close();
    await this.#idle();
    const end = performance.now() + STOP_SNAPSHOTS_MS;
    // One after another, as all snapshots at once may be more than memory holds; first of those that take longest to replay.
    for (const runner of this.#residents.all.sort((a, b) => b.behind - a.behind)) {
      if (performance.now() > end) break;
      await runner.rest(end);
    }
  }

  async #idle(): Promise<void> {
    await Promise.all(this.#residents.all.map((runner) => runner.idle()));
  }

  #runner(hostId: string): HostRunner {
    const residents = this.#residents;
    return residents.use(hostId, () => new HostRunner(hostId, this.#options, this.#turns, residents, this.#atWork));
  }
}
