/**
 * Buses: which functions share one, and whether it hangs off a bridge, whose secondary bus reset resets them all.
 *
 * Descriptions of machines rarely name the bridges, so what is above a bus follows from what is on it. A root bus is bus
 * 00 of a segment, or one with a host bridge on it (machines with several root complexes). A bus with nothing but virtual
 * functions is one that SR-IOV has added, with no bridge above it. Any other bus is behind a port, or a bridge to
 * conventional PCI, which is the same here.
 */
import { busOf, type PciFunction } from './function.ts';

const HOST_BRIDGE = '0600';

/** Where a function is: its segment (PCI domain), bus, and device and function in one byte as `devfn` has them. */
export interface PciAddress {
  segment: number;
  bus: number;
  devfn: number;
}

/** Reads an address, `dddd:bb:dd.f`. */
export function pciAddress(bdf: string): PciAddress {
  const [segment, bus, device, fn] = bdf.split(/[:.]/).map((part) => Number.parseInt(part, 16));
  return { segment: segment!, bus: bus!, devfn: (device! << 3) | fn! };
}

/** The functions on the bus of this one, itself included, in the order of their addresses. */
export function functionsOfBus(fn: PciFunction, functions: Iterable<PciFunction>): PciFunction[] {
  const bus = busOf(fn);
  return [...functions]
    .filter((other) => busOf(other) === bus)
    .sort((a, b) => pciAddress(a.bdf).devfn - pciAddress(b.bdf).devfn);
}

/** Whether these functions, all that are on a bus, are behind a bridge. */
function isBehindBridge(functions: readonly PciFunction[]): boolean {
  const [first] = functions;
  if (!first || pciAddress(first.bdf).bus === 0) return false;
  return !functions.some(({ spec }) => spec.class === HOST_BRIDGE) && functions.some(({ spec }) => spec.sriov !== 'vf');
}

/**
 * Whether the bridge above these functions can reset its bus (pci_bus_resettable). A function that has its bus for itself
 * and still cannot be reset says that it cannot: a bus reset would be its reset (PCI_DEV_FLAGS_NO_BUS_RESET).
 */
export function isBusResettable(functions: readonly PciFunction[]): boolean {
  return isBehindBridge(functions) && (functions.length > 1 || functions[0]!.spec.reset);
}
