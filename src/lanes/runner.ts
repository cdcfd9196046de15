/**
 * One host's turn-taking. Its jobs run one after another: execute, commit, answer. Only between a freeze and the boot
 * of the next kernel is the order another: there is no kernel then, but the hardware goes on, so DMA and queries that
 * wait are let through and everything else waits for the boot.
 */
import { randomUUID } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import type { Answer, Command, Execution, Query } from '../host/command.ts';
import type { Log } from '../log.ts';
import { type Divergence, HandoverDamaged, type HostRow, type JournalEntry, type Store } from '../store/store.ts';
import { encodeCommand } from './codec.ts';
import { digest } from './digest.ts';
import { HostFault } from './errors.ts';
import { type LoadedHost, type MakeHost, rebuild } from './replay.ts';

export interface RunnerOptions {
  store: Store;
  makeHost: MakeHost;
  log: Log;
  /** Whether the fault point `service.death` may be armed, and kills. */
  allowServiceDeath: boolean;
  /** Ends the process, as by `kill -9`. */
  die: () => Promise<never>;
}

interface Job {
  hardware: boolean;
  run: () => Promise<void>;
}

const NO_HOST: Answer = { kind: 'not-found', what: 'host' };

export class HostRunner {
  readonly #hostId: string;
  readonly #options: RunnerOptions;
  #jobs: Job[] = [];
  #working = false;
  /** Undefined before first use and after a failure: then it is built from the store. */
  #loaded: LoadedHost | undefined;

  constructor(hostId: string, options: RunnerOptions) {
    this.#hostId = hostId;
    this.#options = options;
  }

  create(row: HostRow): Promise<Answer> {
    return this.#enqueue(false, async () => {
      const engine = this.#guard('create', () => this.#options.makeHost(row.spec));
      await this.#options.store.hosts.insert(row);
      this.#loaded = { engine, sequence: 0, freeze: null, diverged: null };
      return this.#guard('query', () => engine.query({ view: 'host' }));
    });
  }

  execute(command: Command): Promise<Answer> {
    if (command.op === 'kexec.boot') throw new Error('a boot follows its freeze and is not asked for');
    const hardware = command.op === 'device.dma';
    return this.#enqueue(hardware, async () => {
      const host = await this.#load();
      if (host === undefined) return NO_HOST;
      if (this.#isForbidden(command)) return serviceDeathRefused();
      // Left frozen by the death of the process, or by a boot that failed.
      if (host.engine.pendingBoot && !hardware) await this.#boot();
      return command.op === 'kexec.freeze' ? await this.#kexec(command) : (await this.#perform(command)).answer;
    });
  }

  query(query: Query): Promise<Answer> {
    return this.#enqueue(true, async () => {
      const host = await this.#load();
      return host === undefined ? NO_HOST : this.#guard(`query ${query.view}`, () => host.engine.query(query));
    });
  }

  remove(): Promise<void> {
    return this.#enqueue(false, async () => {
      await this.#options.store.hosts.delete(this.#hostId);
      this.#loaded = undefined;
    });
  }

  /** Boots the next kernel where the process died before it could; false where that is not so. */
  recover(): Promise<boolean> {
    return this.#enqueue(false, async () => {
      const host = await this.#load();
      if (host === undefined || !host.engine.pendingBoot) return false;
      return (await this.#boot()).kind === 'ok';
    });
  }

  /** Resolves when all that was asked before is done. */
  idle(): Promise<void> {
    return this.#enqueue(false, async () => {});
  }

  #enqueue<T>(hardware: boolean, work: () => Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#jobs.push({ hardware, run: () => work().then(resolve, reject) });
    if (!this.#working) void this.#work();
    return promise;
  }

  async #work(): Promise<void> {
    this.#working = true;
    for (let job = this.#jobs.shift(); job !== undefined; job = this.#jobs.shift()) await job.run();
    this.#working = false;
  }

  async #kexec(command: Command): Promise<Answer> {
    const { answer, records } = await this.#perform(command);
    if (answer.kind !== 'ok' || !this.#loaded?.engine.pendingBoot) return answer;
    if (this.#options.allowServiceDeath && records.some((record) => record.kind === 'die')) {
      this.#options.log.warn({ host: this.#hostId }, 'the fault point service.death kills the service');
      await this.#options.die();
    }
    await this.#hardwareGoesOn();
    return await this.#boot();
  }

  /** Runs the DMA and the queries that wait now; one turn of the event loop lets those in that have just arrived. */
  async #hardwareGoesOn(): Promise<void> {
    await setImmediate();
    const jobs = this.#jobs.filter((job) => job.hardware);
    this.#jobs = this.#jobs.filter((job) => !job.hardware);
    for (const job of jobs) await job.run();
  }

  /** Boots the next kernel from what is stored, and from nothing else. */
  async #boot(): Promise<Answer> {
    const host = await this.#load();
    if (host === undefined) return NO_HOST;
    if (host.diverged !== null) return divergedRefusal(host.diverged);
    if (host.freeze === null) throw this.#fault('kexec.boot', new Error('frozen without a stored handover'));
    let handover: string | null;
    try {
      handover = this.#options.store.journal.handover(this.#hostId, host.freeze).text;
    } catch (error) {
      if (error instanceof HandoverDamaged) return await this.#diverge(host, error.message);
      throw error;
    }
    return (await this.#perform({ op: 'kexec.boot', handover })).answer;
  }

  async #perform(command: Command): Promise<Execution> {
    const host = await this.#load();
    if (host === undefined) return { answer: NO_HOST, records: [] };
    if (host.diverged !== null) return { answer: divergedRefusal(host.diverged), records: [] };
    let execution: Execution;
    try {
      execution = this.#guard(command.op, () => host.engine.execute(command));
      if (execution.answer.kind === 'not-found') return execution;
      await this.#options.store.journal.commit([this.#entry(host, command, execution)]);
    } catch (error) {
      // What is in memory is ahead of what is stored: build it anew at the next use.
      this.#loaded = undefined;
      throw error;
    }
    host.sequence += 1;
    if (execution.records.some((record) => record.kind === 'handover')) host.freeze = host.sequence;
    return execution;
  }

  #entry(host: LoadedHost, command: Command, { answer, records }: Execution): JournalEntry {
    const handover = records.find((record) => record.kind === 'handover');
    return {
      hostId: this.#hostId,
      sequence: host.sequence + 1,
      command: encodeCommand(command, host.freeze),
      digest: digest(answer),
      ...(handover === undefined ? {} : { handover: { text: handover.text } }),
    };
  }

  async #load(): Promise<LoadedHost | undefined> {
    if (this.#loaded !== undefined) return this.#loaded;
    const makeHost: MakeHost = (spec) => this.#guard('create', () => this.#options.makeHost(spec));
    this.#loaded = await rebuild(this.#hostId, { ...this.#options, makeHost });
    return this.#loaded;
  }

  async #diverge(host: LoadedHost, why: string): Promise<Answer> {
    const diverged: Divergence = { sequence: host.sequence + 1, op: 'kexec.boot', why };
    await this.#options.store.hosts.markDiverged(this.#hostId, diverged);
    host.diverged = diverged;
    this.#options.log.error({ host: this.#hostId, diverged }, 'host diverged');
    return divergedRefusal(diverged);
  }

  #isForbidden(command: Command): boolean {
    return command.op === 'fault.arm' && command.point === 'service.death' && !this.#options.allowServiceDeath;
  }

  #guard<T>(what: string, work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw this.#fault(what, error);
    }
  }

  #fault(what: string, error: unknown): HostFault {
    const incident = randomUUID();
    this.#options.log.error({ incident, host: this.#hostId, op: what, err: error }, 'a host failed inside');
    return new HostFault(incident, error);
  }
}

function serviceDeathRefused(): Answer {
  const why =
    'service.death kills the whole service, so it may be armed only where HOLDOVER_ALLOW_SERVICE_DEATH=1 is set';
  return { kind: 'refused', errno: 'EPERM', where: 'fault.arm', why };
}

function divergedRefusal({ sequence, op, why }: Divergence): Answer {
  const sentence =
    `this host cannot go on: at command ${sequence} (${op}) of its journal, ${why}; ` +
    'it can still be read as it was before that command, and deleted';
  return { kind: 'refused', errno: 'EIO', where: 'replay', why: sentence };
}
