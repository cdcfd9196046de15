/** Hosts as bytes and back, as lanes do it in steps. */
import type { Host } from '../../src/host/host.ts';
import { CODEC } from '../../src/host/state/state.ts';
import { decodePieces, encodePieces } from '../../src/lanes/snapshot-bytes.ts';
import { finished } from './steps.ts';

export const snapshotOf = (host: Host): Uint8Array => finished(encodePieces(finished(CODEC.encode(host))));

export const hostOf = (snapshot: Uint8Array): Host => finished(CODEC.decode(finished(decodePieces(snapshot)))) as Host;
