/** What ends the work for a host, or does not let it begin. */
import { MAX_RESULTS_SIZE } from '../limits.ts';
import type { Presence } from '../threads/client.ts';
import { AnswerTooLarge, ClientGone, HostMoves, LaneBusy, ServiceStopping, TooCostly } from './errors.ts';
import type { LoadedHost } from './replay.ts';
import type { Residents } from './residents.ts';
import { Effort, type Pace } from './slices.ts';
import type { Turns } from './turns.ts';
import type { Weight } from './weight.ts';

export class Bounds {
  readonly #turns: Turns;
  readonly #residents: Residents;
  readonly #weight: Weight;
  readonly #commandTime: number;

  /** `commandTime`: milliseconds of work on one command. */
  constructor(turns: Turns, residents: Residents, weight: Weight, commandTime = Number.POSITIVE_INFINITY) {
    this.#turns = turns;
    this.#residents = residents;
    this.#weight = weight;
    this.#commandTime = commandTime;
  }

  /** Throws GivenUp where nothing is to be done any more. */
  mayWork(): void {
    if (this.#turns.areOver) throw new ServiceStopping();
  }

  /** The same of what takes memory, and where somebody waits for it; after so many milliseconds, or with so much of an answer. */
  mayTake(client: Presence | undefined, worked = 0, answerSize = 0): void {
    this.mayWork();
    if (this.#weight.isTooLarge) throw new HostMoves();
    if (this.#residents.isShort) throw new LaneBusy('the memory of the thread is full');
    if (client?.isGone) throw new ClientGone();
    if (worked > this.#commandTime)
      throw new TooCostly(`it would take more than ${this.#commandTime / 1000} s of work (HOLDOVER_COMMAND_SECONDS)`);
    if (answerSize > MAX_RESULTS_SIZE)
      throw new AnswerTooLarge(`its results would have more than ${MAX_RESULTS_SIZE >> 20} MiB together`);
  }

  /** Of work for a client that may make the host larger. */
  effort(host: LoadedHost, client: Presence | undefined, pace: Pace): Effort {
    return new Effort(this.#weight.watching(host, pace), (worked, size) => this.mayTake(client, worked, size));
  }
}
