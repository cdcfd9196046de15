/**
 * One attack on a service of its own, which runs as it is deployed, beside a quiet tenant: what that one notices, what memory
 * is taken and given back, and, where SIGTERM comes in the middle, how the service ends and what it has kept.
 */
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { type Service, startService } from '../support/service.ts';
import type { Attack } from './attack.ts';
import type { Deeds } from './attacker.ts';
import type { AttackerData, FromAttacker, ToAttacker } from './attacker-thread.ts';
import { missing, witnessed } from './kept.ts';
import type { Found, FromQuiet, QuietData, ToQuiet } from './quiet.ts';
import type { Witness } from './witness.ts';

export interface TrialOptions {
  /** For how long rounds of the attack are begun, in seconds. */
  seconds: number;
  scale: number;
  /** SIGTERM comes while the attack goes on; otherwise when it is over. */
  sigterm: boolean;
  /** So many lanes serve. */
  lanes: number;
  /** Where the service's threads leave profiles. */
  profile?: string;
}

export interface Outcome {
  name: string;
  /** From its beginning to its last answer. */
  seconds: number;
  quiet: Found;
  deeds: Deeds;
  /** MiB of memory in RAM: the most, and at the end. */
  peak: number;
  rest: number;
  /** Seconds until it was below the bound at rest again; null where it was not within BACK_WITHIN_S. */
  back: number | null;
  lanesDied: number;
  /** How the service ended, and after how many seconds. */
  exit: string;
  exitSeconds: number;
  /** What was acknowledged and is lost. */
  lost: string[];
}

/**
 * The service has 256 MiB for hosts and 256 MiB for bodies. Beside them it takes some 200 MiB, and what V8 has freed and not
 * yet collected.
 */
const LIMITS = {
  HOLDOVER_HOST_MEMORY: '256',
  HOLDOVER_ALL_BODIES: '256',
  HOLDOVER_TENANT_BODIES: '128',
  HOLDOVER_BATCH_LIMIT: String(64 << 20),
};
const PEAK_MIB = 1024;
const REST_MIB = 640;
/** What docs/configuration.md says of each lane: the bound at rest is for one of them, and that of the most for two. */
const LANE_MIB = 90;
export const mostMib = (lanes: number): number => PEAK_MIB + LANE_MIB * Math.max(0, lanes - 2);
const restMib = (lanes: number): number => REST_MIB + LANE_MIB * (lanes - 1);
export const BACK_WITHIN_S = 30;

const KEYS = { a: 'key-of-a-0123456789', b: 'key-of-b-0123456789' };
const MEBIBYTE_IN_KIB = 1024;
/** How long an attack may take to be prepared, and to be over when time is up, in milliseconds. */
const PREPARED_MS = 20_000;
const OVER_MS = 1000;
/** For so long it is looked at what comes after an attack, at least. */
const AFTERMATH_MS = 1000;
const LOOK_MS = 100;

export async function runTrial(attack: Attack, options: TrialOptions): Promise<Outcome> {
  const ends: (() => unknown)[] = [];
  const directory = mkdtempSync(join(tmpdir(), 'holdover-attack-'));
  ends.push(() => rmSync(directory, { recursive: true, force: true }));
  try {
    return await new Trial(attack, options, directory, ends).run();
  } finally {
    for (const end of ends.reverse()) await end();
  }
}

class Trial {
  readonly #attack: Attack;
  readonly #options: TrialOptions;
  readonly #directory: string;
  readonly #ends: (() => unknown)[];
  #service!: Service;
  #quiet!: Worker;
  #peak = 0;
  #lanesDied = 0;
  readonly #lost: string[] = [];

  constructor(attack: Attack, options: TrialOptions, directory: string, ends: (() => unknown)[]) {
    this.#attack = attack;
    this.#options = options;
    this.#directory = directory;
    this.#ends = ends;
  }

  async run(): Promise<Outcome> {
    await this.#start(0);
    await this.#startQuiet();
    this.#quiet.postMessage('begin' satisfies ToQuiet);
    const begun = performance.now();
    const first = await this.#attackFor(this.#options.seconds * 1000);
    const over = performance.now();
    const { rest, back } = await this.#memoryBack();
    const found = await this.#found();
    let second: Attacking | undefined;
    if (this.#options.sigterm) {
      second = await this.#begin(PREPARED_MS);
      // Any moment will do; another one each time.
      await setTimeout(Math.random() * this.#options.seconds * 1000);
    }
    const { exit, exitSeconds } = await this.#terminate();
    const deeds = [first, ...(second === undefined ? [] : [await second.stop()])];
    const witness = await this.#endQuiet();
    this.#lost.push(...deeds.flatMap(({ hosts }) => missing(this.#directory, hosts)));
    await this.#start(0);
    this.#lost.push(...(await witnessed(this.#service, KEYS.b, witness)));
    await this.#stop('SIGTERM');
    return {
      name: this.#attack.name,
      seconds: (over - begun) / 1000,
      quiet: found,
      deeds: first,
      peak: this.#peak,
      rest,
      back,
      lanesDied: this.#lanesDied,
      exit,
      exitSeconds,
      lost: this.#lost,
    };
  }

  async #start(port: number): Promise<void> {
    const { lanes, profile } = this.#options;
    const kill = (): void => this.#service?.kill('SIGKILL');
    process.once('exit', kill);
    this.#ends.push(() => process.off('exit', kill));
    this.#service = await startService(
      { after: (end) => void this.#ends.push(end as () => unknown) },
      this.#directory,
      {
        dev: false,
        env: {
          ...LIMITS,
          HOLDOVER_PORT: String(port),
          HOLDOVER_TENANTS: Object.entries(KEYS)
            .map((pair) => pair.join(':'))
            .join(','),
          HOLDOVER_LANES: String(lanes),
          ...(profile !== undefined && { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${profile}` }),
        },
      },
    );
  }

  async #stop(signal: NodeJS.Signals): Promise<string> {
    this.#memory();
    const { code, signal: killer } = await this.#service.stop(signal);
    this.#lanesDied += this.#service.output().match(/a lane died/g)?.length ?? 0;
    return String(killer ?? code);
  }

  async #terminate(): Promise<{ exit: string; exitSeconds: number }> {
    const begun = performance.now();
    const exit = await this.#stop('SIGTERM');
    return { exit, exitSeconds: (performance.now() - begun) / 1000 };
  }

  /** The whole attack; what it prepares counts, too. */
  async #attackFor(milliseconds: number): Promise<Deeds> {
    const attacking = await this.#begin(PREPARED_MS);
    await attacking.endsWithin(milliseconds);
    return await attacking.stop();
  }

  async #begin(within: number): Promise<Attacking> {
    const { name, restarts } = this.#attack;
    const { url } = this.#service;
    const data: AttackerData = { name, url, key: KEYS.a, scale: this.#options.scale };
    const attacking = new Attacking(data);
    this.#ends.push(() => attacking.terminate());
    if (!(await attacking.isReady(within))) return attacking;
    if (restarts) {
      const witness = await this.#endQuiet();
      await this.#stop('SIGTERM');
      await this.#start(Number(new URL(url).port));
      this.#lost.push(...(await witnessed(this.#service, KEYS.b, witness)));
      await this.#startQuiet();
      this.#quiet.postMessage('begin' satisfies ToQuiet);
    }
    attacking.go();
    return attacking;
  }

  async #startQuiet(): Promise<void> {
    const data: QuietData = { url: this.#service.url, key: KEYS.b };
    this.#quiet = new Worker(new URL('./quiet.ts', import.meta.url), { workerData: data });
    this.#ends.push(() => this.#quiet.terminate());
    await once(this.#quiet, 'message');
  }

  async #ask<Message extends FromQuiet>(message: ToQuiet): Promise<Message> {
    const answer = once(this.#quiet, 'message');
    this.#quiet.postMessage(message);
    return ((await answer) as [Message])[0];
  }

  async #found(): Promise<Found> {
    return (await this.#ask<Extract<FromQuiet, { is: 'found' }>>('tell')).found;
  }

  async #endQuiet(): Promise<Witness> {
    return (await this.#ask<Extract<FromQuiet, { is: 'ended' }>>('stop')).witness;
  }

  async #memoryBack(): Promise<{ rest: number; back: number | null }> {
    await setTimeout(AFTERMATH_MS);
    const begun = performance.now();
    for (;;) {
      const rest = this.#memory();
      const passed = (performance.now() - begun) / 1000;
      if (rest <= restMib(this.#options.lanes)) return { rest, back: passed };
      if (passed > BACK_WITHIN_S) return { rest, back: null };
      await setTimeout(LOOK_MS);
    }
  }

  /** MiB in RAM now; notes the most that there have been. */
  #memory(): number {
    try {
      const status = readFileSync(`/proc/${this.#service.pid}/status`, 'utf8');
      const mebibytes = (name: string): number =>
        Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) / MEBIBYTE_IN_KIB;
      this.#peak = Math.max(this.#peak, mebibytes('VmHWM'));
      return mebibytes('VmRSS');
    } catch {
      // It has ended, or this is no Linux.
      return 0;
    }
  }
}

/** An attacker at work. */
class Attacking {
  readonly #worker: Worker;
  readonly #ready = Promise.withResolvers<void>();
  readonly #over = Promise.withResolvers<Deeds>();

  constructor(workerData: AttackerData) {
    this.#worker = new Worker(new URL('./attacker-thread.ts', import.meta.url), { workerData });
    this.#worker.on('message', (message: FromAttacker) => {
      if (message.is === 'ready') this.#ready.resolve();
      else this.#over.resolve(message.deeds);
    });
    this.#worker.on('error', (error) =>
      this.#over.resolve({ requests: 0, statuses: {}, hosts: {}, failed: String(error) }),
    );
  }

  /** False where time is up first, or it has failed. */
  async isReady(milliseconds: number): Promise<boolean> {
    const ready = this.#ready.promise.then(() => true);
    return await Promise.race([ready, this.#over.promise.then(() => false), setTimeout(milliseconds, false)]);
  }

  go(): void {
    this.#worker.postMessage('go' satisfies ToAttacker);
  }

  /** Resolves when time is up, or it has ended before. */
  async endsWithin(milliseconds: number): Promise<void> {
    await Promise.race([this.#over.promise, setTimeout(milliseconds)]);
  }

  async stop(): Promise<Deeds> {
    this.#worker.postMessage('stop' satisfies ToAttacker);
    const late: Deeds = { requests: 0, statuses: {}, hosts: {}, failed: 'the attacker itself has no time' };
    const deeds = await Promise.race([this.#over.promise, setTimeout(OVER_MS * 10, late)]);
    await this.terminate();
    return deeds;
  }

  terminate(): Promise<number> {
    return this.#worker.terminate();
  }
}
