/**
 * Keeps a thread from being ended in the middle of a call. Node aborts the whole process where a thread is terminated while it
 * makes a zlib stream ("close before init", node_zlib.cc): neither the other lanes nor their tenants would live on.
 */

const FREE = 0;
const HELD = 1;

/** A lock that a thread and the one who ends it share: one word. */
export type Shield = Int32Array<SharedArrayBuffer>;

export const makeShield = (): Shield => new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));

/** That of this thread; none where nobody ends it. */
let own: Shield | undefined;

/** Called once, by a thread that another one may end. */
export function carryShield(shield: Shield): void {
  own = shield;
}

/** Runs a synchronous call that the end of this thread waits for. */
export function unbroken<Value>(run: () => Value): Value {
  if (own === undefined) return run();
  while (Atomics.compareExchange(own, 0, FREE, HELD) !== FREE) Atomics.wait(own, 0, HELD);
  try {
    return run();
  } finally {
    dropShield(own);
  }
}

/** Called where the thread with this shield has ended by itself, perhaps in such a call. */
export function dropShield(shield: Shield): void {
  Atomics.store(shield, 0, FREE);
  Atomics.notify(shield, 0);
}

/** Resolves when the thread with this shield is in no such call; it never gets into one again. */
export async function breakShield(shield: Shield): Promise<void> {
  while (Atomics.compareExchange(shield, 0, FREE, HELD) !== FREE) {
    const { async: waits, value } = Atomics.waitAsync(shield, 0, HELD);
    if (waits) await value;
  }
}
