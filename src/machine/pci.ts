/** PCI functions as hardware: an address, what they are, and the state that a reset clears. */
import type { FunctionSpec } from './spec.ts';

export class PciFunction {
  readonly spec: FunctionSpec;
  /** Bus in the upper byte, device and function in the lower: how the IOMMU knows the function. */
  readonly sourceId: number;
  /** Interrupts are enabled: a driver has to end that before a live update. */
  interruptsEnabled = false;
  /** How often the function was reset. */
  resets = 0;

  constructor(spec: FunctionSpec) {
    this.spec = spec;
    const [, bus, device, fn] = spec.bdf.split(/[:.]/).map((part) => Number.parseInt(part, 16));
    this.sourceId = (bus! << 8) | (device! << 3) | fn!;
  }

  get bdf(): string {
    return this.spec.bdf;
  }

  /** Function-level reset: whatever the function was doing ends; translation is not its business. */
  reset(): void {
    this.resets++;
    this.interruptsEnabled = false;
  }
}
