/**
 * A host as a file: what it is, and how it came about. It is one JSON document, whatever its white space. `sha256` is of all else in
 * it, so that a damaged one is known.
 */
import { createHash } from 'node:crypto';
import type { HostSpec } from '../host/command.ts';

export const HOST_FILE = 'holdover-host/1';

/** A command that the host has executed; `payload`: base64 of the bytes that came with it. */
export interface FiledCommand {
  sequence: number;
  op: string;
  command: unknown;
  payload?: string;
}

export interface HostFile {
  format: typeof HOST_FILE;
  /** Version of the engine that has made `state`. */
  engine: string;
  /** What it was called where it comes from. */
  origin: { id: string; name: string; created: string };
  /** The last command that it has executed. */
  sequence: number;
  /** SHA-256 of what the host is. */
  digest: string;
  spec: HostSpec;
  /** The newest commands, for whoever reads the file. */
  history: readonly FiledCommand[];
  /** The host after them: base64 of a zstd frame, in pieces. */
  state: readonly string[];
  sha256: string;
}

/** What `sha256` has to be, in steps. */
export function* sealOf(file: Omit<HostFile, 'sha256'>): Generator<void, string> {
  const { format, engine, origin, sequence, digest, spec, history, state } = file;
  const hash = createHash('sha256');
  hash.update(JSON.stringify({ format, engine, origin, sequence, digest, spec }));
  for (const part of [...history, ...state]) {
    hash.update(JSON.stringify(part));
    yield;
  }
  return hash.digest('hex');
}
