/** The configuration space of a function as hardware has it: what it reads, and which bits of a write it keeps. */
import type { ConfigSpec } from '../spec.ts';

export class ConfigSpace {
  readonly spec: ConfigSpec;

  constructor(spec: ConfigSpec) {
    this.spec = spec;
  }

  /** Bytes: 256, or 4096. */
  get size(): number {
    return this.spec.size;
  }
}
