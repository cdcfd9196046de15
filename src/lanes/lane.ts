/** A lane: owns hosts and runs their commands, each host's one after another, the hosts in turns. */
import type { Answer, BatchCommand, Command, HostSpec, Query } from '../host/command.ts';
import type { HostUse } from '../host/footprint.ts';
import { type Packed, unpack } from '../threads/packed.ts';
import { AtWork, type SharedAtWork } from './at-work.ts';
import { LaneBusy } from './errors.ts';
import type { Lanes, NewHost } from './lanes.ts';
import { noteUse, Residents, type ResidentsOptions } from './residents.ts';
import { HostRunner, type RunnerOptions } from './runner.ts';
import { Turns } from './turns.ts';

export interface LaneOptions extends RunnerOptions, ResidentsOptions {
  /** Which of the stored hosts are this lane's; default: all. */
  owns?: (hostId: string) => boolean;
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

  async create(row: NewHost): Promise<Answer> {
    return await this.#admitted(row.id).create({ ...row, spec: unpack<HostSpec>(row.spec) });
  }

  async execute(hostId: string, command: Command | Packed<Command>): Promise<Answer> {
    return await this.#admitted(hostId).execute(unpack<Command>(command));
  }

  async batch(hostId: string, command: BatchCommand, payload: Uint8Array): Promise<Answer> {
    return await this.#admitted(hostId).batch(command, payload);
  }

  async query(hostId: string, query: Query): Promise<Answer> {
    return await this.#admitted(hostId).query(query);
  }

  async remove(hostId: string): Promise<void> {
    await this.#runner(hostId).remove();
    this.#uses.delete(hostId);
  }

  use(hostId: string): HostUse | null {
    return this.#uses.get(hostId) ?? null;
  }

  /** There is nobody here who would know it. */
  setAside(): null {
    return null;
  }

  retry(): number {
    return 0;
  }

  async recover(): Promise<void> {
    const { store, log, owns = () => true } = this.#options;
    for (const hostId of (await store.journal.unbooted()).filter(owns)) {
      try {
        const booted = await this.#runner(hostId).recover();
        if (booted) log.info({ host: hostId }, 'the next kernel booted after an interrupted kexec');
      } catch (error) {
        log.error({ host: hostId, err: error }, 'the next kernel could not be booted yet');
      }
    }
  }

  async close(): Promise<void> {
    this.#residents.close();
    const runners = this.#residents.all;
    await Promise.all(runners.map((runner) => runner.idle()));
    // One after another: all snapshots at once may be more than memory holds.
    for (const runner of runners) await runner.rest();
  }

  #admitted(hostId: string): HostRunner {
    if (this.#residents.isShort) throw new LaneBusy('the memory of the thread is full');
    return this.#runner(hostId);
  }

  #runner(hostId: string): HostRunner {
    const residents = this.#residents;
    return residents.use(hostId, () => new HostRunner(hostId, this.#options, this.#turns, residents, this.#atWork));
  }
}
