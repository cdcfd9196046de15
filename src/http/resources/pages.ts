/** What pages for people share: what a browser may load for them, their colours, and the key that they show. */
import { WELL_KNOWN_KEY } from '../../config.ts';
import type { Context } from '../route.ts';

/** Light or dark as the reader's system is; each colour of text has a contrast of 4.5 and more to the page. */
export const COLOURS =
  ':root { color-scheme: light dark; --page: light-dark(#fff, #15181d); --text: light-dark(#1b1f24, #e6e9ee); --soft: light-dark(#59636e, #9aa4b1); --line: light-dark(#d8dde3, #363d47); --column: light-dark(#f3f5f8, #1d2229); --edge: light-dark(#6b7683, #7c8794); --bad: light-dark(#c0101a, #ff6b62); --link: light-dark(#0b57b0, #86b7ff); }';

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
