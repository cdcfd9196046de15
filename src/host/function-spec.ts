/** Reads PCI functions of a host from their description, and gives each a unit and a group. */
import { MAX_FUNCTIONS } from '../limits.ts';
import type { FunctionSpec, IommuUnitSpec, Sriov } from '../machine/spec.ts';
import { byAddress, functionSpec, parseBdf, segmentOf } from '../machine/topology/functions.ts';
import { type ConfigRequest, readConfig } from './config-spec.ts';
import { type ReservedRequest, readReserved } from './iommu-spec.ts';
import { type Problem, readHex16 } from './request-values.ts';

/** The description of a function. Defaults: those of `functionSpec`, a group of its own, the unit of its PCI domain. */
export interface DeviceRequest {
  bdf: string;
  vendor?: string | null;
  device?: string | null;
  class?: string | null;
  name?: string | null;
  group?: number | null;
  iommu?: string | null;
  driver?: string | null;
  reset?: boolean;
  ats?: boolean;
  dirtyTracking?: boolean;
  pasid?: boolean;
  sriov?: Sriov;
  physicalFunction?: string | null;
  realDmaDevice?: string | null;
  reserved?: ReservedRequest[];
  config?: ConfigRequest;
  regions?: number;
  irqs?: number;
}

/** A function without a group or unit yet, with the place in the request that it came from. */
export interface WantedFunction {
  spec: Partial<FunctionSpec> & Pick<FunctionSpec, 'bdf'>;
  pointer: string;
  /** What its configuration space is to be made from, read when all is known of the function. */
  config?: ConfigRequest;
  /** Set if errors can point to single fields of the function. */
  fields?: true;
}

/** The units and functions that a host has already. */
export interface Surroundings {
  iommus: readonly Pick<IommuUnitSpec, 'id'>[];
  functions: readonly Neighbour[];
}

type Neighbour = Pick<FunctionSpec, 'bdf' | 'group' | 'iommu'> & Partial<Pick<FunctionSpec, 'sriov' | 'realDmaDevice'>>;

/**
 * Reads the description of a function; fields that it lacks are absent from the result, too. Null: errors were added.
 */
export function readFunction(request: DeviceRequest, pointer: string, errors: Problem[]): WantedFunction | null {
  const address = (field: 'bdf' | 'physicalFunction' | 'realDmaDevice') => {
    const parsed = parseBdf(request[field]!);
    if ('bdf' in parsed) return parsed.bdf;
    errors.push({ pointer: `${pointer}/${field}`, reason: parsed.reason });
    return null;
  };
  const bdf = address('bdf');
  if (bdf === null) return null;
  const { reserved, config, ...said } = request;
  const spec: WantedFunction['spec'] = { ...said, bdf };
  for (const field of ['vendor', 'device', 'class'] as const)
    if (request[field] !== undefined) spec[field] = readHex16(request[field], `${pointer}/${field}`, errors);
  for (const field of ['physicalFunction', 'realDmaDevice'] as const)
    if (typeof request[field] === 'string') spec[field] = address(field);
  if (reserved) spec.reserved = readReserved(reserved, `${pointer}/reserved`, errors);
  for (const [field, value] of Object.entries(spec)) if (value === undefined) delete spec[field as keyof FunctionSpec];
  return { spec, pointer, fields: true, ...(config && { config }) };
}

/** Makes the function that is plugged into a running host; its group is the lowest free one unless it names one. */
export function buildFunction(
  request: DeviceRequest,
  surroundings: Surroundings,
): { function: FunctionSpec } | { errors: Problem[] } {
  const errors: Problem[] = [];
  const wanted = readFunction(request, '', errors);
  const [spec] = wanted && errors.length === 0 ? placeFunctions([wanted], surroundings, errors) : [];
  return spec && errors.length === 0 ? { function: spec } : { errors };
}

/**
 * Gives every function a unit and a group, in the order of their addresses. A unit serves one PCI domain, as the
 * requester ids that it sees have no domain in them, and all functions of a group are behind one unit. Without units
 * there are no groups either.
 */
export function placeFunctions(wanted: WantedFunction[], around: Surroundings, errors: Problem[]): FunctionSpec[] {
  const tooMany = wanted[MAX_FUNCTIONS - around.functions.length];
  if (tooMany) {
    errors.push({ pointer: tooMany.pointer, reason: `a host has at most ${MAX_FUNCTIONS} functions` });
    return [];
  }
  const refuse: Refuse = ({ spec, pointer, fields }, field, reason) => {
    errors.push(fields ? { pointer: `${pointer}/${field}`, reason } : { pointer, reason: `${spec.bdf}: ${reason}` });
  };
  const sorted = wanted.toSorted((a, b) => byAddress(a.spec, b.spec));
  const known = new Map<string, Neighbour | WantedFunction>(around.functions.map((fn) => [fn.bdf, fn]));
  for (const fn of sorted) {
    if (known.has(fn.spec.bdf)) refuse(fn, 'bdf', `${fn.spec.bdf} is there already: each function once`);
    known.set(fn.spec.bdf, fn);
  }
  for (const fn of sorted) relate(fn, known, refuse);
  for (const { spec, config, pointer } of sorted)
    if (config) spec.config = readConfig(config, spec, `${pointer}/config`, errors);
  if (errors.length > 0) return [];
  if (around.iommus.length === 0) return sorted.flatMap((fn) => withoutIommu(fn, refuse));
  const places = new Places(around);
  // Groups and units that functions name are taken first, so that choices for the others avoid them.
  for (const fn of sorted) {
    const { group, iommu } = fn.spec;
    if (group != null) places.takeGroup(group);
    const refused = iommu == null ? null : places.join(requester(fn), group ?? null, iommu);
    if (refused) refuse(fn, 'iommu', refused);
  }
  if (errors.length > 0) return [];
  // A function behind another one is placed after that one, whose group it shares.
  const placed = new Map<string, Neighbour>(around.functions.map((fn) => [fn.bdf, fn]));
  const inOrder = [
    ...sorted.filter(({ spec }) => !spec.realDmaDevice),
    ...sorted.filter(({ spec }) => spec.realDmaDevice),
  ];
  const functions = inOrder.flatMap((fn): FunctionSpec[] => {
    const { bdf, realDmaDevice } = fn.spec;
    const shared = realDmaDevice ? placed.get(realDmaDevice)?.group : undefined;
    const group = fn.spec.group ?? shared ?? null;
    if (shared !== undefined && shared !== group) {
      refuse(
        fn,
        'realDmaDevice',
        `${realDmaDevice} is in group ${shared}: functions of one requester id are in one group`,
      );
      return [];
    }
    const at = requester(fn);
    const iommu = fn.spec.iommu ?? places.unitFor(at, group);
    const refused =
      iommu === null ? `PCI domain ${domainText(segmentOf(at))} ${NEEDS_UNIT}` : places.join(at, group, iommu);
    if (iommu === null || refused !== null) {
      refuse(fn, group === null || iommu === null ? 'bdf' : 'group', refused!);
      return [];
    }
    const spec = functionSpec({ ...fn.spec, iommu, group: group ?? places.freeGroup() });
    placed.set(bdf, spec);
    return [spec];
  });
  return functions.sort(byAddress);
}

type Refuse = (fn: WantedFunction, field: keyof FunctionSpec, reason: string) => void;

const NEEDS_UNIT = 'has no unit: a unit serves one PCI domain, so `iommus` needs one for each';

const domainText = (segment: number): string => segment.toString(16).padStart(4, '0');

/** The address whose requester id the function's DMA carries. */
export const requester = ({ spec }: WantedFunction): string => spec.realDmaDevice ?? spec.bdf;

/** Checks the functions that a function names; one that is named by a virtual function becomes a physical one. */
function relate(fn: WantedFunction, known: ReadonlyMap<string, Neighbour | WantedFunction>, refuse: Refuse): void {
  const { bdf, sriov, physicalFunction, realDmaDevice } = fn.spec;
  if (physicalFunction != null) {
    const physical = known.get(physicalFunction);
    const other = physical && ('spec' in physical ? physical.spec : physical);
    if (sriov !== undefined && sriov !== 'vf')
      refuse(fn, 'physicalFunction', `only a virtual function has one, and \`sriov\` is "${sriov}"`);
    else if (!other || physicalFunction === bdf) refuse(fn, 'physicalFunction', notThere(physicalFunction));
    else if ('spec' in physical && other.sriov === undefined) other.sriov = 'pf';
    else if (other.sriov !== 'pf')
      refuse(fn, 'physicalFunction', `${physicalFunction} has no virtual functions: its \`sriov\` is "${other.sriov}"`);
    fn.spec.sriov = 'vf';
  }
  if (realDmaDevice != null) {
    const real = known.get(realDmaDevice);
    if (!real || realDmaDevice === bdf) refuse(fn, 'realDmaDevice', notThere(realDmaDevice));
    else if ('spec' in real && real.spec.realDmaDevice)
      refuse(fn, 'realDmaDevice', `the DMA of ${realDmaDevice} carries another requester id itself`);
  }
}

const notThere = (bdf: string): string => `there is no other function ${bdf}`;

function withoutIommu(fn: WantedFunction, refuse: Refuse): FunctionSpec[] {
  if (fn.spec.group != null) refuse(fn, 'group', 'there are no groups: the host has no IOMMU (`iommus` is empty)');
  if (fn.spec.iommu != null) refuse(fn, 'iommu', `no unit "${fn.spec.iommu}": the host has no IOMMU`);
  return [functionSpec({ ...fn.spec, group: null, iommu: null })];
}

/** Keeps which unit serves which PCI domain and which group. */
class Places {
  /** Units in their order, with the PCI domain that each serves; null: none yet. */
  readonly #units: Map<string, { index: number; segment: number | null }>;
  readonly #ids: string[];
  /** The first unit of each PCI domain. */
  readonly #unitOfSegment = new Map<number, string>();
  readonly #unitOfGroup = new Map<number, string>();
  readonly #groups: Set<number>;
  #lowestGroup = 0;
  #firstFree = 0;

  constructor(around: Surroundings) {
    this.#ids = around.iommus.map(({ id }) => id);
    this.#groups = new Set(around.functions.flatMap(({ group }) => group ?? []));
    this.#units = new Map(this.#ids.map((id, index) => [id, { index, segment: null }]));
    for (const { bdf, group, iommu, realDmaDevice } of around.functions) this.join(realDmaDevice ?? bdf, group, iommu!);
  }

  takeGroup(group: number): void {
    this.#groups.add(group);
  }

  /** Returns the lowest free group number, as Linux does for a new group. */
  freeGroup(): number {
    while (this.#groups.has(this.#lowestGroup)) this.#lowestGroup++;
    this.#groups.add(this.#lowestGroup);
    return this.#lowestGroup;
  }

  /** Puts a function behind a unit. Returns why it cannot be there, or null. */
  join(bdf: string, group: number | null, id: string): string | null {
    const unit = this.#units.get(id);
    if (!unit) {
      const some = this.#ids.length > 8 ? [...this.#ids.slice(0, 8), '…'] : this.#ids;
      return `no unit "${id}": one of ${some.join(', ')}`;
    }
    const ofGroup = group === null ? undefined : this.#unitOfGroup.get(group);
    if (ofGroup !== undefined && ofGroup !== id)
      return `group ${group} is behind unit "${ofGroup}": all functions of a group are behind one unit`;
    const segment = segmentOf(bdf);
    if (unit.segment !== null && unit.segment !== segment) {
      const where = ofGroup === undefined ? '' : `group ${group} is behind `;
      return `${where}unit "${id}", which serves PCI domain ${domainText(unit.segment)} and no other`;
    }
    unit.segment = segment;
    const first = this.#unitOfSegment.get(segment);
    if (first === undefined || unit.index < this.#units.get(first)!.index) this.#unitOfSegment.set(segment, id);
    if (group !== null) this.#unitOfGroup.set(group, id);
    return null;
  }

  /**
   * Returns the group's unit, else the first one that serves the function's PCI domain, else the first that serves
   * none.
   */
  unitFor(bdf: string, group: number | null): string | null {
    const ofGroup = group === null ? undefined : this.#unitOfGroup.get(group);
    const found = ofGroup ?? this.#unitOfSegment.get(segmentOf(bdf));
    if (found !== undefined) return found;
    while (this.#firstFree < this.#ids.length && this.#units.get(this.#ids[this.#firstFree]!)!.segment !== null)
      this.#firstFree++;
    return this.#ids[this.#firstFree] ?? null;
  }
}
