/** Which host a lane is at work on, in memory that outlives its thread: who ended it is known then. */

/** Bytes of the longest id that is noted, in UTF-8. */
const MOST = 252;
const HEADER = 4;

const ENCODER = new TextEncoder();

export type SharedAtWork = SharedArrayBuffer;

export const newAtWork = (): SharedAtWork => new SharedArrayBuffer(HEADER + MOST);

export class AtWork {
  readonly #length: Int32Array;
  readonly #bytes: Uint8Array;
  #noted: string | undefined;

  constructor(shared: SharedAtWork = newAtWork()) {
    this.#length = new Int32Array(shared, 0, 1);
    this.#bytes = new Uint8Array(shared, HEADER);
  }

  /** All that the thread does from now on, it does for this host. Costs nothing where it is the same as before. */
  note(hostId: string): void {
    if (hostId === this.#noted) return;
    this.#noted = hostId;
    const { read, written } = ENCODER.encodeInto(hostId, this.#bytes);
    this.#length[0] = read === hostId.length ? written : 0;
  }

  /** It has nothing to do for this host any more. */
  rest(hostId: string): void {
    if (hostId === this.#noted) this.clear();
  }

  /** Nobody is at work any more. */
  clear(): void {
    this.#noted = undefined;
    this.#length[0] = 0;
  }

  /** For who looks at it from another thread. */
  get hostId(): string | null {
    const length = this.#length[0]!;
    // A decoder does not read what is shared.
    return length === 0 ? null : new TextDecoder().decode(this.#bytes.slice(0, length));
  }
}
