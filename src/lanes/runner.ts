/**
 * One host's turn-taking. Its jobs run one after another: execute, commit, answer; the next one need not wait for the
 * commit, but no answer is given before all that it rests on is stored. Only between a freeze and the boot of the
 * next kernel is the order another: there is no kernel then, but the hardware goes on, so DMA and queries that wait
 * are let through and everything else waits for the boot.
 *
 * Long because whatever takes a turn is here: each is about what is in memory, what is on its way to the journal, and nothing else.
 */
import type { Answer, BatchCommand, Command, Execution, Query, RestoreCommand } from '../host/command.ts';
import { FIRST_EPOCH, type HostRow, type JournalEntry, type RequestKey } from '../store/store.ts';
import type { Presence } from '../threads/client.ts';
import type { AtWork } from './at-work.ts';
import { Bounds } from './bounds.ts';
import { encodeCommand } from './codec.ts';
import { COPYING } from './copies.ts';
import { digest } from './digest.ts';
import { HostDamaged, ServiceStopping } from './errors.ts';
import { Guard } from './guard.ts';
import { withEarlier, withHazards } from './hazards.ts';
import { InMemory, type OwnedHost } from './in-memory.ts';
import { Jobs, now, type Outcome, settled } from './jobs.ts';
import type { Terms } from './lanes.ts';
import { packLarge } from './large.ts';
import { type LookInto, snapshotOf } from './past.ts';
import { checkExpected, isServiceDeath, NO_HOST, refusalOf, serviceDeathRefusal } from './refusals.ts';
import {
  handoverOf,
  type LoadedHost,
  NOTHING_BEHIND,
  NOTHING_YET,
  noteStored,
  putBack,
  type Rebuilding,
  withDigest,
} from './replay.ts';
import type { Residents } from './residents.ts';
import { SecondTry } from './second-try.ts';
import { Effort, type Pace } from './slices.ts';
import { SnapshotMaker } from './snapshot-maker.ts';
import { isDue, isWorthwhile, MOST_MS } from './snapshots.ts';
import type { Turns } from './turns.ts';
import { Weight } from './weight.ts';
import { type Executed, execute, look, workOff } from './work-off.ts';

type Given = Pick<Rebuilding, 'store' | 'makeHost' | 'restoreHost' | 'log' | 'onDamage'>;

export interface RunnerOptions extends Given {
  /** Whether the fault point `service.death` may be armed, and kills. */
  allowServiceDeath: boolean;
  /** A host is looked at after each command, before that is stored: one that is not as it must be has failed inside. */
  check?: boolean;
  /** How long the lane may work on one command, in milliseconds; default: for any time. */
  commandTime?: number;
  /** Ends the process, as by `kill -9`. */
  die: () => Promise<never>;
}

type Carried = Pick<JournalEntry, 'payload' | 'handover' | 'events' | 'request'>;
type Journaled = Command | BatchCommand | RestoreCommand;

export class HostRunner {
  readonly hostId: string;
  readonly #options: RunnerOptions;
  readonly #turns: Turns;
  readonly #pace: Pace;
  readonly #guard: Guard;
  readonly #residents: Residents;
  readonly #jobs: Jobs;
  readonly #weight: Weight;
  readonly #bounds: Bounds;
  readonly #memory: InMemory;
  readonly #snapshots: SnapshotMaker;
  readonly #secondTry: SecondTry;

  constructor(hostId: string, options: RunnerOptions, turns: Turns, residents: Residents, atWork: AtWork) {
    this.hostId = hostId;
    this.#options = options;
    this.#turns = turns;
    this.#guard = new Guard(hostId, options.log);
    this.#pace = { pause: turns.take, resume: () => atWork.note(hostId) };
    this.#residents = residents;
    this.#weight = new Weight(hostId, residents);
    this.#bounds = new Bounds(turns, residents, this.#weight, options.commandTime);
    this.#snapshots = new SnapshotMaker(hostId, options);
    const rebuilding = (): Rebuilding => this.#rebuilding();
    this.#memory = new InMemory(hostId, options.store, rebuilding, (host) => this.#noteLoad(host));
    this.#secondTry = new SecondTry(hostId, this.#memory, options.log);
    const between = (worked: number) => this.#between(worked);
    const done = (): void => {
      atWork.rest(hostId);
      residents.rest(this);
    };
    this.#jobs = new Jobs({ pace: this.#pace, between, done });
  }

  /** Nothing waits, and nothing is at work; and it is not between two kernels. */
  get isIdle(): boolean {
    return this.#jobs.isIdle && !this.#memory.loaded?.engine.pendingBoot;
  }

  /** There is nothing in memory to be kept, and nothing on its way to the store: it may be forgotten. */
  get isEmpty(): boolean {
    return this.#memory.isEmpty && !this.#snapshots.isAtWork && !this.#secondTry.isOpen;
  }

  create(row: HostRow): Promise<Answer> {
    return this.#jobs.add(false, async () => {
      this.#bounds.mayTake(undefined);
      const engine = this.#guard.run('create', () => this.#options.makeHost(row.spec));
      if (engine.refusal) return now(engine.refusal);
      const answer = await this.#guard.run('query', () => look(engine, { view: 'host' }, this.#pace));
      await this.#options.store.hosts.insert(row, engine.takeEvents?.());
      const made = { engine, epoch: FIRST_EPOCH, sequence: 0, diverged: null, behind: { ...NOTHING_BEHIND } };
      this.#memory.take({ ...NOTHING_YET, ...made });
      return now(answer);
    });
  }

  /** Makes the host in another way, and stores it. */
  make(work: (from: Rebuilding) => Promise<Outcome<Answer>>): Promise<Answer> {
    return this.#jobs.add<Answer>(false, async () => {
      this.#bounds.mayTake(undefined);
      return await work(this.#rebuilding());
    });
  }

  /** Rejects with GivenUp, too: then nothing has happened. */
  execute(command: Command, client?: Presence, terms: Terms = {}): Promise<Answer> {
    if (command.op === 'kexec.boot') throw new Error('a boot follows its freeze and is not asked for');
    const hardware = command.op === 'device.dma';
    return this.#jobs.add(hardware, async () => {
      this.#bounds.mayTake(client);
      if (terms.key !== undefined) await this.#memory.mustBeNew(terms.key);
      const host = this.#memory.owned ?? (await this.#memory.own());
      if (host === undefined) return now(NO_HOST);
      if (!this.#options.allowServiceDeath && isServiceDeath(command)) return now(serviceDeathRefusal());
      // Left frozen by the death of the process, or by a boot that failed.
      if (host.engine.pendingBoot && !hardware) await this.#boot();
      if (command.op === 'kexec.freeze') return now(await this.#kexec(command, terms));
      const { value, stored } = await this.#perform(command, client, terms);
      return packLarge({ value: value.answer, stored }, this.#pace);
    });
  }

  /** The host, booted, or why nothing may change it. */
  async #toChange(client: Presence | undefined, terms: Terms): Promise<OwnedHost | Answer> {
    this.#bounds.mayTake(client);
    if (terms.key !== undefined) await this.#memory.mustBeNew(terms.key);
    if ((await this.#memory.own())?.engine.pendingBoot) await this.#boot();
    const host = await this.#memory.own();
    if (host === undefined) return NO_HOST;
    const refusal = refusalOf(host);
    if (refusal !== null) return refusal;
    checkExpected(host, terms.expected);
    return host;
  }

  /** The same for a batch, which is worked off in slices: between them other hosts have their turns. */
  batch(command: BatchCommand, payload: Uint8Array, client?: Presence, terms: Terms = {}): Promise<Answer> {
    return this.#jobs.add(false, async () => {
      const host = await this.#toChange(client, terms);
      if ('kind' in host) return now(host);
      const outcome = await this.#secondTry.run(host, (asked) => {
        const effort = this.#bounds.effort(asked, client, this.#pace);
        return this.#change('batch', () => this.#batch(asked, command, payload, effort, terms.key));
      });
      return packLarge(outcome, this.#pace);
    });
  }

  async #batch(
    host: OwnedHost,
    command: BatchCommand,
    payload: Uint8Array,
    effort: Effort,
    request: RequestKey | undefined,
  ): Promise<Outcome<Answer>> {
    const { answer, stored, spoiled } = await workOff(host.engine.batch!(command, payload), effort);
    // What was done is not stored: the host is built anew without it at the next use.
    if (spoiled) this.#memory.drop();
    if (stored === null) return { value: answer, stored: this.#memory.stored };
    if (this.#options.check) host.engine.check?.();
    const { payload: kept, proof, events } = stored;
    const entry = this.#entry(host, stored.command, digest(proof, kept), { payload: kept, events, request });
    noteStored(host, entry.command.length + kept.byteLength, effort.worked, { records: [] });
    const committed = this.#memory.commit(host, entry);
    // A large payload takes its time on the way to the journal, and nothing may overtake it.
    await settled(committed);
    return { value: { ...withHazards(answer, entry.sequence, events), sequence: entry.sequence }, stored: committed };
  }

  query(query: Query, client?: Presence, { expected }: Terms = {}): Promise<Answer> {
    return this.#jobs.add(true, async () => {
      this.#bounds.mayTake(client);
      const host = this.#memory.owned ?? (await this.#memory.look());
      if (host === undefined) return now(NO_HOST);
      if (host.unreadable !== null && host.damage !== null) throw new HostDamaged(host.damage.what);
      checkExpected(host, expected);
      const pace = new Effort(this.#pace, () => this.#bounds.mayTake(client));
      const ask = (asked: LoadedHost): Answer | Promise<Answer> =>
        this.#guard.run(`query ${query.view}`, () => look(asked.engine, query, pace));
      const run = () => this.#secondTry.run(host, ask);
      const answer = await (COPYING.has(query.view) ? this.#weight.copying(run) : run());
      const value = { ...answer, sequence: host.sequence };
      const { stored } = this.#memory;
      if (query.view !== 'host' || query.digest !== true) return packLarge({ value, stored }, this.#pace);
      return { value: await withDigest(value, this.#memory.loaded!, pace), stored };
    });
  }

  /** The host becomes again what it was when the snapshot of that name was taken. */
  restore(name: string, client?: Presence, terms: Terms = {}): Promise<Answer> {
    return this.#jobs.add<Answer>(false, async () => {
      const host = await this.#toChange(client, terms);
      if ('kind' in host) return now(host);
      const work = () => this.#change('restore', () => this.#restore(host, name, terms.key));
      return await this.#weight.copying(work, ({ stored }) => stored);
    });
  }

  async #restore(before: OwnedHost, name: string, request: RequestKey | undefined): Promise<Outcome<Answer>> {
    const found = await snapshotOf(this.hostId, before, name, this.#rebuilding());
    if (typeof found === 'string') return now({ kind: 'not-found', what: found });
    // It is another one to whoever weighs it.
    const host = { ...before };
    this.#memory.take(host);
    const { command, engine, bytes: payload } = found;
    const { answer, digest, events } = putBack(host, engine, command);
    if (this.#options.check) host.engine.check?.();
    const entry = this.#entry(host, command, digest, { payload, events, request });
    noteStored(host, entry.command.length + payload.byteLength, 0, { records: [] });
    const committed = this.#memory.commit(host, entry);
    await settled(committed);
    return { value: { ...answer, sequence: entry.sequence }, stored: committed };
  }

  /** Looks at what is in memory, with what is needed to build what it was; `copies`: all of it is in memory once more then. */
  lookInto(copies: boolean, look: LookInto, client?: Presence): Promise<Answer> {
    return this.#jobs.add<Answer>(false, async () => {
      this.#bounds.mayTake(client);
      if ((await this.#memory.look())?.engine.pendingBoot && this.#memory.owned) await this.#boot();
      const host = await this.#memory.look();
      if (host === undefined) return now(NO_HOST);
      if (host.unreadable !== null) return now(host.unreadable);
      const run = () => look(host, this.#rebuilding(), this.#memory.stored);
      return await (copies ? this.#weight.copying(run, ({ stored }) => stored) : run());
    });
  }

  remove({ expected }: Terms = {}): Promise<void> {
    return this.#jobs.add(false, async () => {
      this.#bounds.mayWork();
      const { hosts } = this.#options.store;
      const host = expected && (await this.#memory.own());
      if (host !== undefined) checkExpected(host, expected);
      await this.#memory.arrived();
      const epoch = this.#memory.owned?.epoch ?? (await hosts.own(this.hostId, 'delete'));
      if (epoch !== undefined) await hosts.delete({ hostId: this.hostId, epoch });
      this.#memory.drop();
      return now(undefined);
    });
  }

  /** Boots the next kernel where the process died before it could; false where that is not so. */
  recover(): Promise<boolean> {
    return this.#jobs.add(false, async () => {
      const host = await this.#memory.own();
      if (host === undefined || !host.engine.pendingBoot) return now(false);
      return now((await this.#boot()).kind === 'ok');
    });
  }

  /** Resolves when all that was asked before is done and stored. */
  idle(): Promise<void> {
    return this.#jobs.add(false, async () => ({ value: undefined, stored: settled(this.#memory.stored) }));
  }

  /** Milliseconds that a replay would take of what is in memory. */
  get behind(): number {
    return this.#memory.owned?.behind.milliseconds ?? 0;
  }

  /** For a clean stop, when it is idle: what is in memory need not be replayed at the next start, if there is time until `end`. */
  async rest(end: number): Promise<void> {
    await this.#snapshots.stored;
    const pause = (): undefined => {
      if (performance.now() > end) throw new ServiceStopping();
    };
    const host = this.#memory.owned;
    if (host !== undefined && isWorthwhile(host))
      await this.#snapshots.make(host, this.#memory.stored, { pause, resume: this.#pace.resume });
    await this.#snapshots.stored;
  }

  /** Leaves memory, unless somebody wants something of it meanwhile: then false. It is loaded again at the next use. */
  async leave(): Promise<boolean> {
    const saved = this.#jobs.add(false, async () => {
      const host = this.#memory.owned;
      if (host !== undefined && isWorthwhile(host)) await this.#snapshot(host);
      return now(undefined);
    });
    const asked = this.#jobs.count;
    await saved;
    // Who comes while it is compressed and stored is served, and it stays.
    await this.#snapshots.stored;
    if (this.#jobs.count !== asked) return false;
    return await this.#jobs.add(false, async () => {
      await this.#memory.arrived();
      if (this.#jobs.isWaitedFor) return now(false);
      await this.#drop();
      return now(true);
    });
  }

  /** What is to be done for the host itself before the next job, if anything. */
  #between(worked: number): Promise<void> | undefined {
    if (this.#turns.areOver) return undefined;
    const host = this.#memory.owned;
    const grown = this.#weight.isDue(this.#memory.loaded, worked);
    const due = host !== undefined && isDue(host, this.#snapshots.newest);
    if (grown || due) return this.#lookAfter();
    return undefined;
  }

  async #lookAfter(): Promise<void> {
    await this.#weigh();
    const host = this.#memory.owned;
    if (host === undefined || !isDue(host, this.#snapshots.newest)) return;
    await this.#snapshot(host);
    await this.#weigh();
  }

  /** One that is too large for this lane leaves it. */
  async #weigh(): Promise<void> {
    if (!(await this.#weight.outgrows(this.#memory.loaded, this.#pace))) return;
    const host = this.#memory.owned;
    // Between two kernels it stays, and can be in no snapshot.
    if (host === undefined || host.engine.pendingBoot) return;
    // Otherwise it is done again there in less time than a snapshot takes here.
    if (host.behind.milliseconds > MOST_MS) await this.#snapshot(host);
    await this.#snapshots.stored;
    await this.#drop();
    this.#residents.noteMove(this.hostId);
  }

  async #drop(): Promise<void> {
    await this.#memory.arrived();
    this.#snapshots.forget();
    this.#memory.drop();
  }

  #rebuilding(): Rebuilding {
    const { makeHost } = this.#options;
    return {
      ...this.#options,
      makeHost: (spec) => this.#guard.run('create', () => makeHost(spec)),
      pace: new Effort(this.#pace, () => this.#bounds.mayWork()),
    };
  }

  #snapshot(host: OwnedHost): Promise<void> {
    const pace = new Effort(this.#pace, () => this.#bounds.mayWork());
    return this.#snapshots.make(host, this.#memory.stored, pace);
  }

  /** What took long to replay is not replayed again with what comes behind it, however often the service dies. */
  async #noteLoad(loaded: LoadedHost): Promise<void> {
    this.#residents.noteLoad();
    const host = this.#memory.owned;
    if (host !== loaded || !isDue(host, this.#snapshots.newest)) return;
    await this.#snapshot(host);
    await this.#snapshots.stored;
  }

  async #kexec(command: Command, terms: Terms): Promise<Answer> {
    const { value, stored } = await this.#perform(command, undefined, terms);
    await stored;
    const { answer, records } = value;
    if (answer.kind !== 'ok' || !this.#memory.owned?.engine.pendingBoot) return answer;
    if (this.#options.allowServiceDeath && records.some((record) => record.kind === 'die')) {
      this.#options.log.warn({ host: this.hostId }, 'the fault point service.death kills the service');
      await this.#options.die();
    }
    await this.#jobs.hardwareGoesOn();
    return withEarlier(await this.#boot(), answer);
  }

  /** Boots the next kernel from what is stored, and from nothing else. */
  async #boot(): Promise<Answer> {
    const host = await this.#memory.own();
    if (host === undefined) return NO_HOST;
    const refusal = refusalOf(host);
    if (refusal !== null) return refusal;
    if (host.freeze === null) throw this.#guard.fault('kexec.boot', new Error('frozen without a stored handover'));
    const handover = await handoverOf(this.hostId, host, host.freeze, this.#options);
    const { value, stored } = await this.#perform({ op: 'kexec.boot', handover }, undefined, {});
    await stored;
    return value.answer;
  }

  /** Executes and hands the command to the journal; `stored` is when it has arrived there. */
  async #perform(
    command: Command,
    client: Presence | undefined,
    { expected, key }: Terms,
  ): Promise<Outcome<Execution>> {
    const host = this.#memory.owned ?? (await this.#memory.own());
    if (host === undefined) return now(nothingDone(NO_HOST));
    const refusal = refusalOf(host);
    if (refusal !== null) return now(nothingDone(refusal));
    checkExpected(host, expected);
    // It has to be told where in the journal it will be.
    const own = command.op === 'snapshot.put' ? { ...command, sequence: host.sequence + 1 } : command;
    return await this.#secondTry.run(host, (asked) => {
      const effort = this.#bounds.effort(asked, client, this.#pace);
      return this.#change(command.op, () => {
        const execution = execute(asked.engine, own, effort);
        return execution instanceof Promise
          ? execution.then((done) => this.#store(asked, own, done, effort, key))
          : this.#store(asked, own, execution, effort, key);
      });
    });
  }

  #store(
    host: OwnedHost,
    command: Command,
    execution: Executed,
    { worked }: Effort,
    request: RequestKey | undefined,
  ): Outcome<Execution> {
    const { answer, records, events, digest } = execution;
    if (answer.kind === 'not-found') return { value: execution, stored: this.#memory.stored };
    if (this.#options.check) host.engine.check?.();
    const handover = records.find((record) => record.kind === 'handover');
    const more = handover === undefined ? { events, request } : { events, request, handover: { text: handover.text } };
    const entry = this.#entry(host, command, digest, more);
    noteStored(host, entry.command.length, worked, execution);
    const { sequence } = entry;
    const value = { ...execution, answer: { ...withHazards(answer, sequence, events), sequence } };
    return { value, stored: this.#memory.commit(host, entry) };
  }

  #entry(host: OwnedHost, command: Journaled, digest: string, more: Carried): JournalEntry {
    const { hostId } = this;
    const { epoch, sequence, freeze } = host;
    return { hostId, epoch, sequence: sequence + 1, command: encodeCommand(command, freeze), digest, ...more };
  }

  /**
   * All from a change of the host to its handing over to the journal. Where that fails, or is given up, what is in memory is
   * not what is stored: the host is built anew at the next use.
   */
  async #change<T>(what: string, work: () => T | Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.#memory.drop();
      throw this.#guard.told(what, error);
    }
  }
}

const nothingDone = (answer: Answer): Execution => ({ answer, records: [], events: [] });
