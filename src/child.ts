/** The process that `in-child.ts` starts: a service that ends when its parent lets go of it, or dies. */
import { type HoldoverOptions, startHoldover } from './index.ts';

/** What it says, once. */
export type ChildWord = { url: string; key: string; adminKey: string } | { failed: string };

const say = (word: ChildWord): void => void process.send?.(word);

try {
  const { url, key, adminKey, close } = await startHoldover(JSON.parse(process.argv[2]!) as HoldoverOptions);
  process.once('disconnect', () => void close());
  // A Ctrl-C is for all processes of a terminal: the parent decides.
  for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});
  say({ url, key, adminKey });
} catch (error) {
  say({ failed: error instanceof Error ? error.message : String(error) });
}
