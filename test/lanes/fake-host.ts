/** A host small enough to see through: what lanes do is tested with it, what hosts do is not. */
import type { Answer, BatchCommand, Command, Execution, HostSpec, Query } from '../../src/host/command.ts';
import { DEFAULT_BOOT, DEFAULT_POLICIES } from '../../src/kernel/policies.ts';
import type { Engine, EngineSnapshot } from '../../src/lanes/replay.ts';
import type { Restored } from '../../src/lanes/snapshots.ts';
import type { BatchRun, LongRun } from '../../src/lanes/work-off.ts';

/** Version of its snapshots. */
const FAKE_ENGINE = 'fake';

export const SPEC: HostSpec = {
  machine: { memory: '0x1000000', iommus: [], functions: [] },
  profile: 'persisted-domains',
  policies: DEFAULT_POLICIES,
  boot: DEFAULT_BOOT,
};

export interface FakeView {
  state: 'running' | 'kexec';
  kernel: number;
  /** What software did; a kernel loses it, unless it is handed over. */
  clock: number;
  /** What hardware did; it survives every kernel. */
  dma: number;
}

export interface Quirks {
  /** As a later version whose clock.advance answers differently. */
  clockSkew?: number;
  /** What clock.advance, and the query of faults, answer besides. */
  more?: object;
  /** As a version that breaks at a DMA. */
  failsAtDma?: boolean;
  /** As a version that cannot show a host. */
  failsAtQuery?: boolean;
  /** As a version that breaks at a batch. */
  failsAtBatch?: boolean;
  /** As a version that cannot boot. */
  failsAtBoot?: boolean;
  /** Called behind each call of several, with its number, and at each step of a long batch, and of a query of domains. */
  onCall?: (number: number) => void;
  /** As a version whose commands leave things that do not agree. */
  isWhole?: (view: FakeView) => boolean;
}

const ok = (value: unknown, records: Execution['records'] = []): Execution => ({
  answer: { kind: 'ok', value },
  records,
  events: [],
});

export class FakeHost implements Engine {
  readonly #quirks: Quirks;
  #view: FakeView = { state: 'running', kernel: 1, clock: 0, dma: 0 };
  #deathArmed = false;

  constructor(quirks: Quirks = {}) {
    this.#quirks = quirks;
  }

  // biome-ignore lint/correctness/useYield: it is small
  *snapshot(): Generator<void, EngineSnapshot> {
    return { engine: FAKE_ENGINE, bytes: new TextEncoder().encode(JSON.stringify(this.#view)) };
  }

  /** `quirks`: of hosts that come out of snapshots. */
  static *restore(
    bytes: Uint8Array,
    engine: string,
    quirks: Quirks = {},
  ): Generator<void, Restored & { engine: FakeHost }> {
    if (engine !== FAKE_ENGINE) throw new Error(`it is of engine ${engine}, this is engine ${FAKE_ENGINE}`);
    const host = new FakeHost(quirks);
    host.#view = JSON.parse(new TextDecoder().decode(bytes));
    yield;
    return { engine: host, upgraded: false, legacyEvents: [] };
  }

  // biome-ignore lint/correctness/useYield: it is small
  *digest(): Generator<void, string> {
    return JSON.stringify(this.#view);
  }

  check(): void {
    if (this.#quirks.isWhole?.(this.#view) === false) throw new Error('pins of frame 7: 2, and it has to be 1');
  }

  get pendingBoot(): boolean {
    return this.#view.state === 'kexec';
  }

  batch(command: BatchCommand): BatchRun {
    if (this.#quirks.failsAtBatch) throw new Error('no batch in this version');
    this.#view.clock += 1000;
    const answer: Answer = { kind: 'ok', value: { now: this.#view.clock } };
    const proof: Answer = { kind: 'ok', value: command.results ? BigInt(this.#view.clock) : this.#view.clock };
    const stored = { command, payload: new Uint8Array(), proof, events: [] };
    // With a base it has so many steps.
    let left = command.base ?? 0;
    const step = (): boolean => {
      if (left > 0) this.#quirks.onCall?.(left);
      left -= 1;
      return left < 0;
    };
    return { step, outcome: { answer, stored, spoiled: false } };
  }

  /** Each call moves the clock by 1. */
  begin(command: Command): LongRun | undefined {
    if (command.op !== 'calls' || command.calls.length === 1) return undefined;
    const { calls } = command;
    let done = 0;
    return {
      answerSize: 0,
      step: (isOver) => {
        while (done < calls.length) {
          done += 1;
          this.#view.clock += 1;
          this.#quirks.onCall?.(done);
          if (isOver()) break;
        }
        return done === calls.length ? ok({ now: this.#view.clock }) : null;
      },
    };
  }

  query(query: Query): Answer | Generator<void, Answer> {
    if (query.view === 'domains') return this.#inSteps();
    if (query.view === 'host' && this.#quirks.failsAtQuery) throw new Error('no view in this version');
    return { kind: 'ok', value: { ...this.#view, ...(query.view === 'faults' && this.#quirks.more) } };
  }

  /** So many that others notice. */
  *#inSteps(): Generator<void, Answer> {
    for (let step = 1; step <= 20; step += 1) {
      this.#quirks.onCall?.(step);
      yield;
    }
    return { kind: 'ok', value: [] };
  }

  execute(command: Command): Execution {
    if (this.pendingBoot && command.op !== 'kexec.boot' && command.op !== 'device.dma') {
      throw new Error(`${command.op} while no kernel runs`);
    }
    switch (command.op) {
      case 'clock.advance':
        this.#view.clock += Number(command.nanoseconds);
        return ok({ now: this.#view.clock + (this.#quirks.clockSkew ?? 0), ...this.#quirks.more });
      case 'device.dma':
        if (this.#quirks.failsAtDma) throw new Error('no DMA in this version');
        this.#view.dma += 1;
        return ok({ results: [] });
      case 'device.update':
        // Nothing that JSON has: neither a digest nor a message can be made of it.
        this.#view.clock += 100;
        return ok({ now: BigInt(this.#view.clock) });
      case 'device.flr':
        return { answer: { kind: 'not-found', what: 'device' }, records: [], events: [] };
      case 'driver.bind':
        return { answer: { kind: 'refused', errno: 'EBUSY', where: 'fake', why: 'in use' }, records: [], events: [] };
      case 'fault.arm':
        this.#deathArmed = true;
        return ok({ id: 1, point: command.point, nth: 1, errno: 'EIO' });
      case 'kexec.freeze':
        return this.#freeze(command.mode);
      case 'kexec.boot':
        if (this.#quirks.failsAtBoot) throw new Error('no boot in this version');
        this.#view = { ...this.#view, state: 'running', kernel: this.#view.kernel + 1, clock: 0 };
        if (command.handover !== null) this.#view.clock = JSON.parse(command.handover).clock;
        return ok({ ...this.#view });
      default:
        throw new Error(`bug: ${command.op}`);
    }
  }

  #freeze(mode: 'live-update' | 'plain'): Execution {
    this.#view.state = 'kexec';
    const text = mode === 'plain' ? null : JSON.stringify({ clock: this.#view.clock });
    const die = this.#deathArmed ? [{ kind: 'die' as const }] : [];
    this.#deathArmed = false;
    return ok({ ...this.#view }, [{ kind: 'handover', text }, ...die]);
  }
}
