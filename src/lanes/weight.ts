/** What a host takes, which can be told only by looking at all of it. */
import type { HostUse } from '../host/footprint.ts';
import { HostMoves, TooCostly } from './errors.ts';
import type { LoadedHost } from './replay.ts';
import type { Residents } from './residents.ts';
import type { Pace } from './slices.ts';

/** What comes with a host in memory besides its own objects, in bytes. */
const BESIDES = 4096;
/**
 * It is measured when it has worked for so many times as long as that takes: a small host after less than a millisecond,
 * in which it has not become a large one. One that has just been made or loaded is on the way to becoming what it will be,
 * and is measured at once, and then after twice as long each time.
 */
const MEASURE_AFTER = 32;

/**
 * Work is looked at when so much more is in memory of the thread than at the least since it was looked at, in bytes; and after so
 * many milliseconds, as garbage of others may have gone meanwhile, but not before MEASURE_AFTER times as long as that takes.
 */
const MUCH = 2 ** 23;
const LOOK_MS = 50;

const NOTHING: HostUse = { memory: 0, objects: 0, mappings: 0, descriptors: 0 };

export class Weight {
  readonly #hostId: string;
  readonly #residents: Residents;
  #use = NOTHING;
  #of: LoadedHost | undefined;
  /** Milliseconds that the host has worked since then, and may work until it is measured again. */
  #worked = 0;
  #patience = 0;
  /** Milliseconds that measuring it took. */
  #took = 0;
  #factor = 1;

  constructor(hostId: string, residents: Residents) {
    this.#hostId = hostId;
    this.#residents = residents;
  }

  /**
   * Work that has all of the host in memory once more, until what it says has settled: where that is much, once at a time in
   * this lane.
   */
  async copying<T>(work: () => T | Promise<T>, until: (value: T) => Promise<unknown> = async () => {}): Promise<T> {
    if (this.#use.memory <= MUCH) return await work();
    return await this.#residents.alone(async () => await work(), until);
  }

  /** It has been found to be larger than a host of this lane may be. */
  get isTooLarge(): boolean {
    return this.#residents.hasMoved(this.#hostId);
  }

  /** The host, or none where it is not in memory, has worked for so many milliseconds: is it to be measured? */
  isDue(host: LoadedHost | undefined, worked: number): boolean {
    this.#worked += worked;
    return host !== this.#of || this.#worked > this.#patience;
  }

  /**
   * The pace of work that may make the host larger. Where it makes it larger than a host may be, `pause` rejects with
   * TooCostly; where it makes it larger than one of this lane, with HostMoves.
   */
  watching(host: LoadedHost, { pause, resume }: Pace): Pace {
    const before = this.#use.memory;
    let least: number | undefined;
    let looked = performance.now();
    const look = async (): Promise<void> => {
      await this.measure(host, { pause, resume });
      least = this.#residents.heapBytes;
      looked = performance.now();
      const { hostLimit } = this.#residents;
      const { memory } = this.#use;
      if (memory > hostLimit && memory > before)
        throw new TooCostly(
          `the host would come to take more than ${Math.floor(hostLimit / 2 ** 20)} MiB of memory (half of HOLDOVER_HOST_MEMORY)`,
        );
      // What is in arrays can wait until the command is done.
      if (this.#residents.hasTooManyObjects(this.#use)) {
        this.#residents.noteMove(this.#hostId);
        throw new HostMoves();
      }
      await pause();
    };
    const isDue = (): boolean => {
      const { heapBytes } = this.#residents;
      least = Math.min(heapBytes, least ?? heapBytes);
      return heapBytes - least > MUCH || performance.now() - looked > Math.max(LOOK_MS, MEASURE_AFTER * this.#took);
    };
    return { pause: () => (isDue() ? look() : pause()), resume };
  }

  /** Between two commands: measures the host, and tells whether it is too large. */
  async outgrows(host: LoadedHost | undefined, pace: Pace): Promise<boolean> {
    await this.measure(host, pace);
    return host !== undefined && this.#residents.isTooLarge(this.#use);
  }

  /** The host must be asked for nothing meanwhile. */
  async measure(host: LoadedHost | undefined, pace: Pace): Promise<void> {
    // One that is not in memory has what it had.
    let use: HostUse = host === undefined ? { ...this.#use, memory: 0 } : { ...NOTHING, memory: BESIDES };
    let took = 0;
    const measuring = host?.engine.footprint?.();
    while (measuring !== undefined) {
      pace.resume();
      const begun = performance.now();
      const { done, value } = measuring.next();
      took += performance.now() - begun;
      if (done) {
        use = { ...value, memory: value.memory + BESIDES };
        break;
      }
      await pace.pause();
    }
    this.#residents.account(this.#hostId, use, use.memory - this.#use.memory);
    this.#use = use;
    this.#factor = host === this.#of ? Math.min(this.#factor * 2, MEASURE_AFTER) : 1;
    this.#of = host;
    this.#worked = 0;
    this.#took = took;
    this.#patience = took * this.#factor;
  }
}
