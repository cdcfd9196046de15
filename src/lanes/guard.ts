/** Turns what fails inside a host into a HostFault, with an incident that names the line of the log which says more. */
import { randomUUID } from 'node:crypto';
import type { Log } from '../log.ts';
import { GivenUp, HostFault } from './errors.ts';

export class Guard {
  readonly #hostId: string;
  readonly #log: Log;

  constructor(hostId: string, log: Log) {
    this.#hostId = hostId;
    this.#log = log;
  }

  /** `what`: for the log. */
  run<T>(what: string, work: () => T): T {
    try {
      const done = work();
      if (!(done instanceof Promise)) return done;
      return done.catch((error) => {
        throw this.told(what, error);
      }) as T;
    } catch (error) {
      throw this.fault(what, error);
    }
  }

  fault(what: string, error: unknown): HostFault {
    const incident = randomUUID();
    this.#log.error({ incident, host: this.#hostId, op: what, err: error }, 'a host failed inside');
    return new HostFault(incident, error);
  }

  /** What whoever asked is told of an error: work that was given up is none of the host's faults. */
  told(what: string, error: unknown): Error {
    return error instanceof GivenUp ? error : this.fault(what, error);
  }
}
