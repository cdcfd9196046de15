/** The memory behind the base address registers of a function: bytes that software stores, zero before. */
import type { BarSpec } from '../spec.ts';

export class BarMemory {
  readonly spec: BarSpec;

  constructor(spec: BarSpec) {
    this.spec = spec;
  }
}
