/** PCI functions as topology texts name them, and what a function has where the text does not say. */
import type { FunctionSpec } from '../spec.ts';

/** A function as a text describes it; null: the text does not say. */
export interface TopologyFunction {
  bdf: string;
  group: number;
  class: string | null;
  vendor: string | null;
  device: string | null;
  name: string | null;
}

/** A line (from 1) that cannot be read, and what is allowed there. */
export interface TopologyError {
  line: number;
  reason: string;
}

export type Topology = { functions: TopologyFunction[] } | { errors: TopologyError[] };

/** Group numbers are ints of the kernel. */
export const MAX_GROUP = 0x7fffffff;

/** More than this many errors help nobody. */
const MAX_ERRORS = 20;

/** Longer lines are not tried: no program writes such lines. */
const MAX_LINE = 1000;

const BDF = /^(?:([0-9a-f]+):)?([0-9a-f]+):([0-9a-f]+)\.([0-9a-f]+)$/i;

/**
 * The canonical form `dddd:bb:dd.f` of an address, whose domain may be left out. Domains above ffff (those of Intel's
 * VMD) are out of range: the simulated requester ids have 16 bits behind a unit of one domain.
 */
export function parseBdf(text: string): { bdf: string } | { reason: string } {
  const match = BDF.exec(text);
  if (!match) return { reason: `"${text}" is not a PCI address: expected dddd:bb:dd.f, such as 0000:01:00.0` };
  const [domain, bus, device, fn] = match.slice(1).map((part) => Number.parseInt(part ?? '0', 16));
  const outOfRange = (what: string, last: string) => ({ reason: `${what} of ${text} is out of range: 0 to ${last}` });
  if (domain! > 0xffff) return outOfRange('domain', 'ffff');
  if (bus! > 0xff) return outOfRange('bus', 'ff');
  if (device! > 0x1f) return outOfRange('device', '1f');
  if (fn! > 7) return outOfRange('function', '7');
  const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0');
  return { bdf: `${hex(domain!, 4)}:${hex(bus!, 2)}:${hex(device!, 2)}.${fn}` };
}

/** The PCI domain (segment) of a canonical address. */
export function segmentOf(bdf: string): number {
  return Number.parseInt(bdf.slice(0, 4), 16);
}

/** Order in which the bus is scanned, which is the order in which Linux numbers groups and `vfioN`. */
export function byAddress(a: { bdf: string }, b: { bdf: string }): number {
  return a.bdf < b.bdf ? -1 : a.bdf > b.bdf ? 1 : 0;
}

/** A function with what the description does not say filled in: it can be reset, and no driver is bound to it. */
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
    reserved: [],
    regions: 9,
    irqs: 5,
    ...of,
  };
}

/** What a reader of one line says: a function, an error, or null for a line that describes none. */
export type LineReader = (line: string) => TopologyFunction | { reason: string } | null;

/** Reads a text line by line; the first word on a function counts, a second one is an error. */
export function readLines(text: string, read: LineReader, whatIsMissing: string): Topology {
  const functions: TopologyFunction[] = [];
  const errors: TopologyError[] = [];
  const lineOf = new Map<string, number>();
  const lines = text.split(/\r\n|\r|\n/);
  for (const [index, raw] of lines.entries()) {
    const line = index + 1;
    const content = raw.length > MAX_LINE ? raw : raw.trim();
    if (content === '') continue;
    const found = content.length > MAX_LINE ? { reason: `longer than ${MAX_LINE} characters` } : read(content);
    if (found === null) continue;
    if ('reason' in found) errors.push({ line, reason: found.reason });
    else if (lineOf.has(found.bdf))
      errors.push({ line, reason: `${found.bdf} is already in line ${lineOf.get(found.bdf)}: each function once` });
    else {
      lineOf.set(found.bdf, line);
      functions.push(found);
    }
    if (errors.length === MAX_ERRORS) break;
  }
  if (errors.length > 0) return { errors };
  if (functions.length === 0) return { errors: [{ line: 1, reason: `no functions: expected ${whatIsMissing}` }] };
  return { functions: functions.sort(byAddress) };
}
