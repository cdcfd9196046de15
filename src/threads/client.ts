/** Who has asked for something, as those see it who work for them. */

export interface Presence {
  /** Nobody waits for the answer any more. */
  readonly isGone: boolean;
}

export interface Client extends Presence {
  /** Calls `tell` when they have gone, or have been answered. Who does not want to hear it any more calls what is returned. */
  whenGone(tell: () => void): () => void;
}
