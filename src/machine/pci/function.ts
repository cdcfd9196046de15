/** PCI functions as hardware: an address, what they are, and the state that a reset clears. */
import type { FunctionSpec } from '../spec.ts';
import { ConfigSpace } from './config-space.ts';

export class PciFunction {
  readonly spec: FunctionSpec;
  /**
   * Requester id of its DMA, or of the function that it is behind: bus in the upper byte, device and function in the
   * lower.
   */
  readonly sourceId: number;
  readonly config: ConfigSpace;
  /** What is stored behind its base address registers, by page; null: nothing since its reset (`bar-memory.ts`). */
  barPages: Map<number, Uint8Array> | null = null;
  /** Interrupts are enabled: a driver has to end that before a live update. */
  interruptsEnabled = false;
  /** How often the function was reset. */
  resets = 0;

  constructor(spec: FunctionSpec) {
    this.spec = spec;
    this.config = new ConfigSpace(spec);
    const [, bus, device, fn] = (spec.realDmaDevice ?? spec.bdf).split(/[:.]/).map((part) => Number.parseInt(part, 16));
    this.sourceId = (bus! << 8) | (device! << 3) | fn!;
  }

  get bdf(): string {
    return this.spec.bdf;
  }

  /** Function-level reset: whatever the function was doing ends. Its translation stays. */
  reset(): void {
    this.resets++;
    this.interruptsEnabled = false;
    this.barPages = null;
    this.config.reset();
  }

  /** What it is like when it gets power. */
  powerOn(): void {
    this.interruptsEnabled = false;
    this.barPages = null;
    this.config.powerOn();
  }
}

/** `dddd:bb` of an address, which orders the buses of a domain. */
export const busOf = ({ bdf }: PciFunction): string => bdf.slice(0, bdf.lastIndexOf(':'));

/**
 * The virtual functions of a physical one: those that name it, and those that name none and are likely to be its own.
 */
export function virtualFunctionsOf(pf: PciFunction, functions: Iterable<PciFunction>): PciFunction[] {
  if (pf.spec.sriov !== 'pf') return [];
  const all = [...functions];
  const virtual = all.filter(({ spec }) => spec.sriov === 'vf');
  const named = virtual.filter(({ spec }) => spec.physicalFunction === pf.bdf);
  // Whose is one that names none is looked for only where there is one.
  if (virtual.every(({ spec }) => spec.physicalFunction)) return named;
  const isLikely = likelyOwner(pf, all);
  return virtual.filter((fn) => (fn.spec.physicalFunction ? fn.spec.physicalFunction === pf.bdf : isLikely(fn)));
}

/**
 * A virtual function that names none is taken for one of the first PF of its vendor on the nearest bus before its own.
 */
function likelyOwner(pf: PciFunction, all: PciFunction[]): (vf: PciFunction) => boolean {
  const isNear = ({ bdf, spec: { vendor } }: PciFunction): boolean =>
    bdf.slice(0, bdf.indexOf(':')) === pf.bdf.slice(0, pf.bdf.indexOf(':')) &&
    (vendor === null || pf.spec.vendor === null || vendor === pf.spec.vendor);
  let end: string | null = null;
  for (const other of all) {
    if (other.spec.sriov !== 'pf' || !isNear(other)) continue;
    if (busOf(other) === busOf(pf) && other.bdf < pf.bdf) return () => false;
    if (busOf(other) > busOf(pf) && (end === null || busOf(other) < end)) end = busOf(other);
  }
  return (vf) => isNear(vf) && vf.bdf > pf.bdf && (end === null || busOf(vf) < end);
}
