/** What an attack is. */
import type { Attacker } from './attacker.ts';

export interface Attack {
  readonly name: string;
  /** What it tries, in a sentence. */
  readonly tries: string;
  /** The service is stopped and started between what is prepared and the first round. */
  readonly restarts?: true;
  /** Prepares it, and returns a round of it, which is repeated until time is up. */
  readonly begin: (attacker: Attacker) => Promise<Round>;
}

export type Round = () => Promise<unknown>;
