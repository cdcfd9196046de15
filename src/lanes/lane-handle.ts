/** A lane's thread as the one sees it that has started it: it is asked, and replaced when it dies. */

import { setTimeout } from 'node:timers/promises';
import { MessageChannel, type MessagePort, type ResourceLimits, type Worker } from 'node:worker_threads';
import { STOP_LANES_MS, STOP_SNAPSHOTS_MS } from '../limits.ts';
import type { Log } from '../log.ts';
import type { StorePass } from '../store/store.ts';
import type { Client } from '../threads/client.ts';
import { Caller } from '../threads/ports.ts';
import { breakShield, dropShield, makeShield, type Shield } from '../threads/shield.ts';
import { threadFile, threadFileBehindOthers } from '../threads/thread-file.ts';
import { Admission, type Limits } from './admission.ts';
import type { Aside, KnownAside } from './aside.ts';
import { AtWork, newAtWork } from './at-work.ts';
import type { LaneDoor } from './client.ts';
import { makeLaneError, ThreadDied } from './errors.ts';
import { startLaneWorker } from './lane-worker.ts';
import {
  type LaneRequest,
  type LaneSettings,
  type LaneTold,
  type LaneWord,
  type LogLine,
  passedOn,
} from './messages.ts';

/** A lane that does not even start is not tried again before this, in milliseconds. */
const RESTART_DELAY_MS = 1000;

type Given = Omit<LaneSettings, 'port' | 'store' | 'shield' | 'atWork' | 'aside' | 'large'>;

/** What a lane says that is not for the log. */
export type HeardWord = Exclude<LaneWord, LogLine | 'ready'>;

export interface LaneHandleOptions {
  settings: Given;
  log: Log;
  limits: Limits | undefined;
  aside: Aside;
  /** Hosts that are in lanes of large ones by now. */
  large: () => readonly string[];
  /** It does more than running hosts: starts its thread, and tells what that is given besides. */
  program?: { start: () => Worker; more: () => object } | undefined;
  onWord: (word: HeardWord) => void;
  /** It runs, again if need be. */
  onReady: () => void;
  /** What it was asked is not answered. */
  onDeath: () => void;
  onAside: (known: KnownAside) => void;
  /** For tests: what its thread may take of memory. */
  resourceLimits?: ResourceLimits | undefined;
  /** With what the next thread of this lane opens the store. */
  pass: () => Promise<StorePass>;
}

export class LaneHandle implements LaneDoor {
  readonly number: number;
  readonly admission: Admission;
  readonly #options: LaneHandleOptions;
  #caller: Caller<LaneRequest>;
  #thread: { worker: Worker; shield: Shield } | undefined;
  readonly #atWork = newAtWork();
  /** Ports of those who ask it, too, and ask as soon as it is there. */
  #doors: MessagePort[] = [];
  #stopping: Promise<void> | undefined;
  #stopped = false;

  constructor(options: LaneHandleOptions) {
    this.#options = options;
    this.number = options.settings.lane;
    this.admission = new Admission(options.limits);
    this.#caller = this.#start(0);
  }

  ask<Value>(request: LaneRequest, client?: Client): Promise<Value> {
    return this.#caller.ask<Value>(...passedOn(request), client);
  }

  /** Whoever has the other end of the port asks the thread that is there, or the next one. */
  connect(port: MessagePort): void {
    const { worker } = this.#thread ?? {};
    if (worker === undefined) this.#doors.push(port);
    else worker.postMessage({ door: port } satisfies LaneTold, [port]);
  }

  tell(told: Exclude<LaneTold, { door: MessagePort }>): void {
    this.#thread?.worker.postMessage(told);
  }

  /** Ends the thread in the middle of whatever it does; another one takes its place. */
  async kill(): Promise<void> {
    if (this.#thread === undefined) return;
    const { worker, shield } = this.#thread;
    await breakShield(shield);
    await worker.terminate();
  }

  /** Resolves when all that it was asked is answered, if need be by ending the thread in the middle of whatever it does. */
  stop(): Promise<void> {
    this.#stopping ??= this.#within(STOP_LANES_MS, { ask: 'stop' });
    return this.#stopping;
  }

  /** Resolves when it has done what it was asked, and hosts are stored; where it was to stop before, not later than that takes. */
  async rest(): Promise<void> {
    if (this.#stopping === undefined) return await this.#inOrder(this.ask({ ask: 'rest' }));
    await this.#stopping;
    if (!this.#stopped) await this.#within(STOP_SNAPSHOTS_MS + STOP_LANES_MS, { ask: 'rest' });
  }

  /** Ends the thread, when it has no more to write for others. */
  async close(): Promise<void> {
    if (!this.#stopped) await this.#within(STOP_LANES_MS, { ask: 'close' });
    await this.#end();
  }

  async #within(milliseconds: number, request: LaneRequest): Promise<void> {
    const done = this.ask(request).then(() => true);
    const isDone = await this.#inOrder(Promise.race([done, setTimeout(milliseconds, false, { ref: false })]));
    if (isDone) return;
    const { log, settings } = this.#options;
    log.warn(
      { lane: settings.lane },
      'a lane is in the middle of something and is ended: what it has not stored has not happened',
    );
    await this.#end();
  }

  async #inOrder<Value>(stopping: Promise<Value>): Promise<Value | undefined> {
    try {
      return await stopping;
    } catch (error) {
      this.#options.log.error({ lane: this.#options.settings.lane, err: error }, 'a lane did not stop in order');
      return undefined;
    }
  }

  async #end(): Promise<void> {
    this.#stopped = true;
    await this.kill();
    this.#caller.fail(new ThreadDied('the service has stopped'));
  }

  /** Requests wait at the port until the thread is there. */
  #start(delay: number): Caller<LaneRequest> {
    const { port1, port2 } = new MessageChannel();
    const caller = new Caller<LaneRequest>(port1, 'plain', makeLaneError);
    const launch = (): void => {
      this.#launch(port2).catch((error) => this.#died(error, false));
    };
    if (delay === 0) launch();
    else void setTimeout(delay).then(launch);
    return caller;
  }

  async #launch(port: MessagePort): Promise<void> {
    if (this.#stopped) return;
    const { settings, log, aside, large, pass, program, onWord, onReady, resourceLimits } = this.#options;
    const { data, transfer } = await pass();
    if (this.#stopped) return;
    const shield = makeShield();
    // A death is this thread's from now on.
    const atWork = new AtWork(this.#atWork);
    atWork.clear();
    // That of large hosts stands behind others.
    const behind =
      settings.mostObjects === undefined ? threadFileBehindOthers(import.meta.url, 'lane-thread') : undefined;
    const file = behind?.file ?? threadFile(import.meta.url, 'lane-thread');
    const name = `lane ${settings.lane}`;
    const worker = program?.start() ?? startLaneWorker(file, { name, program: behind?.program, resourceLimits });
    const own: LaneSettings = {
      ...settings,
      aside: aside.all,
      large: large(),
      shield,
      atWork: this.#atWork,
      port,
      store: data,
    };
    worker.postMessage({ ...own, ...program?.more() }, [port, ...transfer]);
    this.#thread = { worker, shield };
    for (const door of this.#doors.splice(0)) this.connect(door);
    let failure: unknown = null;
    let started = false;
    worker.on('message', (word: LaneWord) => {
      if (word === 'ready') {
        started = true;
        onReady();
      } else if (typeof word === 'object' && 'level' in word) log[word.level](word.details, word.message);
      else onWord(word);
    });
    worker.on('error', (error) => {
      failure = error;
    });
    worker.on('exit', () => {
      dropShield(shield);
      this.#thread = undefined;
      if (failure !== null) this.#setAside(atWork.hostId, failure);
      this.#died(failure, started);
    });
  }

  /** Who is ended by another one is not to blame: then there is no error. */
  #setAside(hostId: string | null, error: unknown): void {
    if (hostId === null || this.#stopped) return;
    const { aside, log, settings, onAside } = this.#options;
    onAside(aside.put(hostId, error));
    log.error({ lane: settings.lane, host: hostId, ...aside.of(hostId) }, 'a host is set aside');
  }

  #died(error: unknown, started: boolean): void {
    if (this.#stopped) return;
    const { log, settings, onDeath } = this.#options;
    const { lane } = settings;
    log.error({ lane, err: error }, 'a lane died: another one takes its place');
    const died = this.#caller;
    this.#caller = this.#start(started ? 0 : RESTART_DELAY_MS);
    died.fail(new ThreadDied(`lane ${lane} ended`, { cause: error }));
    onDeath();
  }
}
