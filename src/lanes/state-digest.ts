/** What a host is, in 64 characters: hosts that are the same have the same, however they came about, on any machine. */
import { createHash } from 'node:crypto';
import type { Host } from '../host/host.ts';
import { digestBytes } from '../host/state/digest.ts';
import { CODEC } from '../host/state/state.ts';
import { atOnce } from './slices.ts';

/** SHA-256 of its state, hexadecimal. In steps: the host must not go on until it has come to its end. */
export function* digesting(host: Host): Generator<void, string> {
  const hash = createHash('sha256');
  yield* digestBytes(host, CODEC, (bytes) => void hash.update(bytes));
  return hash.digest('hex');
}

export const digestOf = (host: Host): string => atOnce(digesting(host));
