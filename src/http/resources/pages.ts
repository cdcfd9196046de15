/** What pages for people share: what a browser may load for them, and the key that they show. */
import { WELL_KNOWN_KEY } from '../../config.ts';
import type { Context } from '../route.ts';

/** A Content Security Policy: nothing is loaded or done but what it names. */
export const policy = (allowed: Readonly<Record<string, string>>): string =>
  Object.entries({
    'default-src': "'none'",
    ...allowed,
    'base-uri': "'none'",
    'form-action': "'none'",
    'frame-ancestors': "'none'",
  })
    .map(([what, from]) => `${what} ${from}`)
    .join('; ');

/**
 * Where keys come from. `known`: the key of the development mode, as long as it is the one that everybody knows: one that
 * somebody has chosen is not told to whoever asks for a page.
 */
export type KeySource = 'known' | 'chosen' | 'configured';

export function keySource({ dev, config }: Pick<Context, 'dev' | 'config'>): KeySource {
  if (!dev) return 'configured';
  return config.devKey === WELL_KNOWN_KEY ? 'known' : 'chosen';
}
