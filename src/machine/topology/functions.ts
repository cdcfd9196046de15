/** Addresses of PCI functions, and what a function has where nobody says. */
import type { FunctionSpec } from '../spec.ts';

/** Group numbers are ints of the kernel. */
export const MAX_GROUP = 0x7fffffff;

/** Linux numbers the domains of Intel's VMDs from here on (vmd_find_free_domain). */
export const FIRST_VMD_DOMAIN = 0x10000;

/** The address of a function as people write it. */
export const BDF = /^(?:([0-9a-fA-F]+):)?([0-9a-fA-F]+):([0-9a-fA-F]+)\.([0-9a-fA-F]+)$/;

/** The canonical form `dddd:bb:dd.f` of an address, whose domain may be left out; domains above ffff are those of VMDs. */
export function parseBdf(text: string): { bdf: string } | { reason: string } {
  const match = BDF.exec(text);
  if (!match) return { reason: `"${text}" is not a PCI address: expected dddd:bb:dd.f, such as 0000:01:00.0` };
  const [domain, bus, device, fn] = match.slice(1).map((part) => Number.parseInt(part ?? '0', 16));
  const outOfRange = (what: string, last: string) => ({ reason: `${what} of ${text} is out of range: 0 to ${last}` });
  if (domain! > 0xffffffff) return outOfRange('domain', 'ffffffff');
  if (bus! > 0xff) return outOfRange('bus', 'ff');
  if (device! > 0x1f) return outOfRange('device', '1f');
  if (fn! > 7) return outOfRange('function', '7');
  const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0');
  return { bdf: `${hex(domain!, 4)}:${hex(bus!, 2)}:${hex(device!, 2)}.${fn}` };
}

/** The PCI domain (segment) of a canonical address. */
export function segmentOf(bdf: string): number {
  return Number.parseInt(bdf, 16);
}

/** Orders functions as the bus is scanned, which is the order in which Linux numbers groups and `vfioN`. */
export function byAddress(a: { bdf: string }, b: { bdf: string }): number {
  return a.bdf.length - b.bdf.length || (a.bdf < b.bdf ? -1 : a.bdf > b.bdf ? 1 : 0);
}

/** Completes the description of a function: unless it says otherwise, it can be reset, and no driver is bound to it. */
export function functionSpec(of: Partial<FunctionSpec> & Pick<FunctionSpec, 'bdf' | 'group' | 'iommu'>): FunctionSpec {
  return {
    vendor: null,
    device: null,
    class: null,
    name: null,
    driver: null,
    reset: true,
    ats: false,
    dirtyTracking: true,
    pasid: false,
    sriov: 'none',
    physicalFunction: null,
    realDmaDevice: null,
    reserved: [],
    regions: 9,
    irqs: 5,
    ...of,
  };
}
