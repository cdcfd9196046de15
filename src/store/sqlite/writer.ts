/** Writes by a connection of this thread: what is asked for in one turn of the event loop is committed together. */
import type Database from 'better-sqlite3';
import type { EventLimits } from './event-rows.ts';
import { GroupCommit } from './group-commit.ts';
import type { HistoryLimits } from './histories.ts';
import type { Write, Writer } from './writes.ts';

interface Waiting {
  write: Write;
  resolve: (result: number) => void;
  reject: (error: Error) => void;
}

export class GroupWriter implements Writer {
  readonly #group: GroupCommit;
  #waiting: Waiting[] = [];

  constructor(database: Database.Database, limits?: HistoryLimits, eventLimits?: EventLimits) {
    this.#group = new GroupCommit(database, limits, eventLimits);
  }

  /** Transactions so far. */
  get commits(): number {
    return this.#group.commits;
  }

  write(write: Write): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    if (this.#waiting.push({ write, resolve, reject }) === 1) setImmediate(() => this.flush());
    return promise;
  }

  /** Another one writes from now on: what waits is committed. */
  rest(): void {
    this.flush();
    this.#group.rest();
  }

  /** Commits what waits. */
  flush(): void {
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    const outcomes = this.#group.commit(waiting.map(({ write }) => write));
    for (const [index, { resolve, reject }] of waiting.entries()) {
      const outcome = outcomes[index]!;
      if ('error' in outcome) reject(outcome.error);
      else resolve(outcome.result);
    }
  }
}
