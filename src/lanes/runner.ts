/**
 * One host's turn-taking. Its jobs run one after another: execute, commit, answer; the next one need not wait for the
 * commit, but no answer is given before all that it rests on is stored. Only between a freeze and the boot of the
 * next kernel is the order another: there is no kernel then, but the hardware goes on, so DMA and queries that wait
 * are let through and everything else waits for the boot.
 */
import { randomUUID } from 'node:crypto';
import type { BatchOutcome } from '../host/batch/batch.ts';
import type { Answer, BatchCommand, Command, Execution, Query } from '../host/command.ts';
import {
  damagedHandover,
  FIRST_EPOCH,
  HandoverDamaged,
  type HostRow,
  type JournalEntry,
  StoreUnavailable,
} from '../store/store.ts';
import { type AtWork, noteOf } from './at-work.ts';
import { encodeCommand } from './codec.ts';
import { digest } from './digest.ts';
import { HostDamaged, HostFault } from './errors.ts';
import { Jobs, type Outcome } from './jobs.ts';
import { NO_HOST, refusalOf, serviceDeathRefusal } from './refusals.ts';
import {
  digestOfLoaded,
  type LoadedHost,
  type MakeHost,
  NOTHING_YET,
  noteStored,
  type Rebuilding,
  rebuild,
  rebuildWithout,
  told,
  workOff,
} from './replay.ts';
import type { Residents } from './residents.ts';
import { SecondTry } from './second-try.ts';
import type { Pace } from './slices.ts';
import { SnapshotMaker } from './snapshot-maker.ts';
import { isDue, isWorthwhile } from './snapshots.ts';
import type { Turns } from './turns.ts';
import { Weight } from './weight.ts';

type Given = Pick<Rebuilding, 'store' | 'makeHost' | 'restoreHost' | 'log' | 'onDamage'>;

export interface RunnerOptions extends Given {
  /** Whether the fault point `service.death` may be armed, and kills. */
  allowServiceDeath: boolean;
  /** A host is looked at after each command, before that is stored: one that is not as it must be has failed inside. */
  check?: boolean;
  /** Ends the process, as by `kill -9`. */
  die: () => Promise<never>;
}

type OwnedHost = LoadedHost & { epoch: number };
type Carried = Pick<JournalEntry, 'payload' | 'handover' | 'events'>;

const isOwned = (host: LoadedHost): host is OwnedHost => host.epoch !== null;

const STORED = Promise.resolve();

export class HostRunner {
  readonly hostId: string;
  readonly #options: RunnerOptions;
  readonly #pace: Pace;
  readonly #residents: Residents;
  readonly #jobs: Jobs;
  readonly #weight: Weight;
  /** Undefined before first use and after a failure: then it is built from the store. */
  #loaded: LoadedHost | undefined;
  /** The newest commit: what is in memory is stored when it has resolved. */
  #stored = STORED;
  readonly #snapshots: SnapshotMaker;
  readonly #secondTry: SecondTry;

  constructor(hostId: string, options: RunnerOptions, turns: Turns, residents: Residents, atWork: AtWork) {
    this.hostId = hostId;
    this.#options = options;
    const note = noteOf(hostId);
    this.#pace = { pause: () => turns.take(), resume: () => atWork.note(note) };
    this.#residents = residents;
    this.#weight = new Weight(hostId, residents);
    this.#snapshots = new SnapshotMaker(hostId, options, this.#pace);
    this.#secondTry = new SecondTry(hostId, {
      rebuild: (epoch, snapshot) => rebuildWithout(hostId, epoch, this.#rebuilding(), snapshot),
      take: (host) => {
        this.#loaded = host;
      },
      log: options.log,
    });
    const between = (worked: number) => this.#between(worked);
    const done = (): void => {
      atWork.rest(note);
      residents.rest(this);
    };
    this.#jobs = new Jobs({ pace: this.#pace, between, done });
  }

  /** Nothing waits, and nothing is at work; and it is not between two kernels. */
  get isIdle(): boolean {
    return this.#jobs.isIdle && !this.#loaded?.engine.pendingBoot;
  }

  /** There is nothing in memory to be kept, and nothing on its way to the store: it may be forgotten. */
  get isEmpty(): boolean {
    const isStored = this.#stored === STORED && !this.#snapshots.isAtWork;
    return this.#loaded === undefined && isStored && !this.#secondTry.isOpen;
  }

  create(row: HostRow): Promise<Answer> {
    return this.#jobs.add(false, async () => {
      const engine = this.#guard('create', () => this.#options.makeHost(row.spec));
      if (engine.refusal) return now(engine.refusal);
      const answer = this.#guard('query', () => engine.query({ view: 'host' }));
      await this.#options.store.hosts.insert(row, engine.takeEvents?.());
      const behind = { commands: 0, bytes: 0 };
      this.#loaded = { ...NOTHING_YET, engine, epoch: FIRST_EPOCH, sequence: 0, diverged: null, behind };
      return now(answer);
    });
  }

  execute(command: Command): Promise<Answer> {
    if (command.op === 'kexec.boot') throw new Error('a boot follows its freeze and is not asked for');
    const hardware = command.op === 'device.dma';
    return this.#jobs.add(hardware, async () => {
      const host = this.#owned ?? (await this.#own());
      if (host === undefined) return now(NO_HOST);
      if (this.#isForbidden(command)) return now(serviceDeathRefusal());
      // Left frozen by the death of the process, or by a boot that failed.
      if (host.engine.pendingBoot && !hardware) await this.#boot();
      if (command.op === 'kexec.freeze') return now(await this.#kexec(command));
      const { value, stored } = await this.#perform(command);
      return { value: value.answer, stored };
    });
  }

  /** The same for a batch, which is worked off in slices: between them other hosts have their turns. */
  batch(command: BatchCommand, payload: Uint8Array): Promise<Answer> {
    return this.#jobs.add(false, async () => {
      const frozen = this.#owned ?? (await this.#own());
      if (frozen?.engine.pendingBoot) await this.#boot();
      const host = this.#owned ?? (await this.#own());
      if (host === undefined) return now(NO_HOST);
      const refusal = refusalOf(host);
      if (refusal !== null) return now(refusal);
      return await this.#secondTry.run(host, (asked) => this.#batch(asked, command, payload));
    });
  }

  async #batch(host: OwnedHost, command: BatchCommand, payload: Uint8Array): Promise<Outcome<Answer>> {
    const { answer, stored, spoiled } = await this.#workOff(host, command, payload);
    // What was done is not stored: the host is built anew without it at the next use.
    if (spoiled) this.#loaded = undefined;
    if (stored === null) return { value: answer, stored: this.#stored };
    const committed = this.#change('batch', () => {
      if (this.#options.check) host.engine.check?.();
      const { payload, proof, events } = stored;
      const entry = this.#entry(host, stored.command, digest(proof, payload), { payload, events });
      noteStored(host, entry.command.length + payload.byteLength, { records: [] });
      return this.#commit(host, entry);
    });
    // A large payload takes its time on the way to the journal, and nothing may overtake it.
    await settled(committed);
    return { value: answer, stored: committed };
  }

  async #workOff(host: LoadedHost, command: BatchCommand, payload: Uint8Array): Promise<BatchOutcome> {
    try {
      return await workOff(host.engine.batch!(command, payload), this.#pace);
    } catch (error) {
      this.#loaded = undefined;
      throw this.#fault('batch', error);
    }
  }

  query(query: Query): Promise<Answer> {
    return this.#jobs.add(true, async () => {
      const host = this.#owned ?? (await this.#look());
      if (host === undefined) return now(NO_HOST);
      if (host.unreadable !== null && host.damage !== null) throw new HostDamaged(host.damage.what);
      const ask = (asked: LoadedHost): Answer => this.#guard(`query ${query.view}`, () => asked.engine.query(query));
      const value = await this.#secondTry.run(host, ask);
      if (query.view !== 'host' || query.digest !== true || value.kind !== 'ok') return { value, stored: this.#stored };
      const digest = await digestOfLoaded(this.#loaded!, this.#pace);
      const damage = this.#loaded!.damage ?? undefined;
      return { value: { kind: 'ok', value: { ...(value.value as object), digest, damage } }, stored: this.#stored };
    });
  }

  remove(): Promise<void> {
    return this.#jobs.add(false, async () => {
      const { hosts } = this.#options.store;
      await this.#arrived();
      const epoch = this.#owned?.epoch ?? (await hosts.own(this.hostId, 'delete'));
      if (epoch !== undefined) await hosts.delete({ hostId: this.hostId, epoch });
      this.#loaded = undefined;
      return now(undefined);
    });
  }

  /** Boots the next kernel where the process died before it could; false where that is not so. */
  recover(): Promise<boolean> {
    return this.#jobs.add(false, async () => {
      const host = this.#owned ?? (await this.#own());
      if (host === undefined || !host.engine.pendingBoot) return now(false);
      return now((await this.#boot()).kind === 'ok');
    });
  }

  /** Resolves when all that was asked before is done and stored. */
  idle(): Promise<void> {
    return this.#jobs.add(false, async () => ({ value: undefined, stored: settled(this.#stored) }));
  }

  /** For a clean stop, when it is idle: what is in memory need not be replayed at the next start. */
  async rest(): Promise<void> {
    await this.#snapshots.stored;
    const host = this.#owned;
    if (host !== undefined && isWorthwhile(host)) await this.#snapshots.make(host, this.#stored);
    await this.#snapshots.stored;
  }

  /** Leaves memory, unless somebody wants something of it meanwhile: then false. It is loaded again at the next use. */
  async leave(): Promise<boolean> {
    const saved = this.#jobs.add(false, async () => {
      const host = this.#owned;
      if (host !== undefined && isWorthwhile(host)) await this.#snapshots.make(host, this.#stored);
      return now(undefined);
    });
    const asked = this.#jobs.count;
    await saved;
    // Who comes while it is compressed and stored is served, and it stays.
    await this.#snapshots.stored;
    if (this.#jobs.count !== asked) return false;
    return await this.#jobs.add(false, async () => {
      await this.#arrived();
      if (this.#jobs.isWaitedFor) return now(false);
      this.#snapshots.forget();
      this.#loaded = undefined;
      return now(true);
    });
  }

  /** What is to be done for the host itself before the next job, if anything. */
  #between(worked: number): Promise<void> | undefined {
    const host = this.#owned;
    const grown = this.#weight.isDue(this.#loaded, worked);
    if (host !== undefined && isDue(host, this.#snapshots.size))
      return this.#snapshots.make(host, this.#stored).then(() => this.#weigh());
    return grown ? this.#weigh() : undefined;
  }

  #weigh(): Promise<void> {
    return this.#weight.measure(this.#loaded, this.#pace);
  }

  async #kexec(command: Command): Promise<Answer> {
    const { value, stored } = await this.#perform(command);
    await stored;
    const { answer, records } = value;
    if (answer.kind !== 'ok' || !this.#owned?.engine.pendingBoot) return answer;
    if (this.#options.allowServiceDeath && records.some((record) => record.kind === 'die')) {
      this.#options.log.warn({ host: this.hostId }, 'the fault point service.death kills the service');
      await this.#options.die();
    }
    await this.#jobs.hardwareGoesOn();
    return await this.#boot();
  }

  /** Boots the next kernel from what is stored, and from nothing else. */
  async #boot(): Promise<Answer> {
    const host = this.#owned ?? (await this.#own());
    if (host === undefined) return NO_HOST;
    const refusal = refusalOf(host);
    if (refusal !== null) return refusal;
    if (host.freeze === null) throw this.#fault('kexec.boot', new Error('frozen without a stored handover'));
    let handover: string | null;
    try {
      handover = (await this.#options.store.journal.handover(this.hostId, host.freeze)).text;
    } catch (error) {
      if (!(error instanceof HandoverDamaged)) throw error;
      host.damage = told(this.hostId, damagedHandover(error.message), this.#options);
      throw new HostDamaged(host.damage.what);
    }
    const { value, stored } = await this.#perform({ op: 'kexec.boot', handover });
    await stored;
    return value.answer;
  }

  /** Executes and hands the command to the journal; `stored` is when it has arrived there. */
  async #perform(command: Command): Promise<Outcome<Execution>> {
    const host = this.#owned ?? (await this.#own());
    if (host === undefined) return now(nothingDone(NO_HOST));
    const refusal = refusalOf(host);
    if (refusal !== null) return now(nothingDone(refusal));
    return await this.#secondTry.run(host, (asked) => this.#change(command.op, () => this.#run(asked, command)));
  }

  #run(host: OwnedHost, command: Command): Outcome<Execution> {
    const execution = host.engine.execute(command);
    const { answer, records, events } = execution;
    if (answer.kind === 'not-found') return { value: execution, stored: this.#stored };
    if (this.#options.check) host.engine.check?.();
    const handover = records.find((record) => record.kind === 'handover');
    const more = handover === undefined ? { events } : { events, handover: { text: handover.text } };
    const entry = this.#entry(host, command, digest(answer), more);
    noteStored(host, entry.command.length, execution);
    return { value: execution, stored: this.#commit(host, entry) };
  }

  #commit(host: LoadedHost, entry: JournalEntry): Promise<void> {
    const stored = this.#options.store.journal.append(entry);
    this.#stored = stored;
    stored.catch(() => {
      if (this.#loaded === host) this.#loaded = undefined;
    });
    return stored;
  }

  #entry(host: OwnedHost, command: Command | BatchCommand, digest: string, more: Carried): JournalEntry {
    const { hostId } = this;
    const { epoch, sequence, freeze } = host;
    return { hostId, epoch, sequence: sequence + 1, command: encodeCommand(command, freeze), digest, ...more };
  }

  /** What is in memory, if it is ours. */
  get #owned(): OwnedHost | undefined {
    const host = this.#loaded;
    return host !== undefined && isOwned(host) ? host : undefined;
  }

  /** Makes the host ours, and builds it from what is stored. */
  async #own(): Promise<OwnedHost | undefined> {
    await this.#arrived();
    const epoch = await this.#options.store.hosts.own(this.hostId);
    this.#loaded = undefined;
    if (epoch !== undefined) this.#loaded = await rebuild(this.hostId, epoch, this.#rebuilding());
    if (this.#loaded !== undefined) this.#residents.noteLoad();
    return this.#owned;
  }

  /** The same to look at it, which is possible where nothing can be stored, as on a full disk. */
  async #look(): Promise<LoadedHost | undefined> {
    try {
      return await this.#own();
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      this.#loaded ??= await rebuild(this.hostId, null, this.#rebuilding());
      return this.#loaded;
    }
  }

  /** What is on its way to the journal either arrives there or does not, but it is part of what is read. */
  async #arrived(): Promise<void> {
    await settled(this.#stored);
    this.#stored = STORED;
  }

  #rebuilding(): Rebuilding {
    const makeHost: MakeHost = (spec) => this.#guard('create', () => this.#options.makeHost(spec));
    return { ...this.#options, makeHost, pace: this.#pace };
  }

  #isForbidden(command: Command): boolean {
    return command.op === 'fault.arm' && command.point === 'service.death' && !this.#options.allowServiceDeath;
  }

  /**
   * All from a change of the host to its handing over to the journal. Where that fails, what is in memory is not what is
   * stored: the host is built anew at the next use.
   */
  #change<T>(what: string, work: () => T): T {
    try {
      return this.#guard(what, work);
    } catch (error) {
      this.#loaded = undefined;
      throw error;
    }
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
    this.#options.log.error({ incident, host: this.hostId, op: what, err: error }, 'a host failed inside');
    return new HostFault(incident, error);
  }
}

const now = <T>(value: T): Outcome<T> => ({ value, stored: STORED });

const nothingDone = (answer: Answer): Execution => ({ answer, records: [], events: [] });

const settled = (promise: Promise<void>): Promise<void> => promise.catch(() => {});
