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

const domainOf = ({ bdf }: PciFunction): string => bdf.slice(0, bdf.indexOf(':'));
const busOf = ({ sourceId }: PciFunction): number => sourceId >> 8;

/**
 * The virtual functions of a physical one. Which PF a VF has is in the PF's SR-IOV capability, and not in what is known
 * of a function here: it is taken to be the first PF of the same vendor on the nearest bus that comes before it.
 */
export function virtualFunctionsOf(pf: PciFunction, functions: Iterable<PciFunction>): PciFunction[] {
  if (pf.spec.sriov !== 'pf') return [];
  const { vendor } = pf.spec;
  const near = [...functions].filter(
    (fn) => domainOf(fn) === domainOf(pf) && (vendor === null || fn.spec.vendor === null || fn.spec.vendor === vendor),
  );
  let end = Infinity;
  for (const other of near) {
    if (other.spec.sriov !== 'pf' || other === pf) continue;
    if (busOf(other) > busOf(pf)) end = Math.min(end, busOf(other));
    else if (busOf(other) === busOf(pf) && other.sourceId < pf.sourceId) return [];
  }
  return near.filter((fn) => fn.spec.sriov === 'vf' && fn.sourceId > pf.sourceId && busOf(fn) < end);
}
