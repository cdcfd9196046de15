/** PCI functions of a host: from their friendly description, and to the unit and the group that each belongs to. */
import type { FunctionSpec, IommuUnitSpec } from '../machine/spec.ts';
import { byAddress, functionSpec, parseBdf, segmentOf } from '../machine/topology/functions.ts';
import { type ReservedRequest, readReserved } from './iommu-spec.ts';
import { type Problem, readHex16 } from './request-values.ts';

/** A function; what is not there is as `functionSpec` has it, alone in its group and behind its domain's unit. */
export interface DeviceRequest {
  bdf: string;
  vendor?: string | null;
  device?: string | null;
  class?: string | null;
  name?: string | null;
  group?: number;
  iommu?: string;
  driver?: string | null;
  reset?: boolean;
  ats?: boolean;
  dirtyTracking?: boolean;
  pasid?: boolean;
  sriov?: 'none' | 'pf' | 'vf';
  reserved?: ReservedRequest[];
  regions?: number;
  irqs?: number;
}

/** A function that has no group or unit yet, with the place in the request that it came from. */
export interface WantedFunction {
  spec: Partial<FunctionSpec> & Pick<FunctionSpec, 'bdf'>;
  pointer: string;
  /** Set where the fields of the function can be pointed to one by one. */
  fields?: true;
}

/** What is there already: units, and functions by where they are. */
export interface Surroundings {
  iommus: readonly Pick<IommuUnitSpec, 'id'>[];
  functions: readonly Pick<FunctionSpec, 'bdf' | 'group' | 'iommu'>[];
}

export const MAX_FUNCTIONS = 4096;

export function readFunction(request: DeviceRequest, pointer: string, errors: Problem[]): WantedFunction | null {
  const parsed = parseBdf(request.bdf);
  if ('reason' in parsed) {
    errors.push({ pointer: `${pointer}/bdf`, reason: parsed.reason });
    return null;
  }
  const spec: WantedFunction['spec'] = {
    ...request,
    bdf: parsed.bdf,
    vendor: readHex16(request.vendor, `${pointer}/vendor`, errors),
    device: readHex16(request.device, `${pointer}/device`, errors),
    class: readHex16(request.class, `${pointer}/class`, errors),
    reserved: readReserved(request.reserved ?? [], `${pointer}/reserved`, errors),
  };
  return { spec, pointer, fields: true };
}

/** The function that is plugged into a running host: its group is the lowest free one unless it names one. */
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
 * requester ids that it sees have no domain in them, and all functions of a group are behind one unit.
 */
export function placeFunctions(wanted: WantedFunction[], around: Surroundings, errors: Problem[]): FunctionSpec[] {
  const tooMany = wanted[MAX_FUNCTIONS - around.functions.length];
  if (tooMany) {
    errors.push({ pointer: tooMany.pointer, reason: `a host has at most ${MAX_FUNCTIONS} functions` });
    return [];
  }
  const places = new Places(around);
  const refuse = ({ spec, pointer, fields }: WantedFunction, field: string, reason: string) => {
    errors.push(fields ? { pointer: `${pointer}/${field}`, reason } : { pointer, reason: `${spec.bdf}: ${reason}` });
  };
  const sorted = wanted.toSorted((a, b) => byAddress(a.spec, b.spec));
  // What functions say of themselves goes first, so that what is chosen for the others avoids it.
  for (const fn of sorted) {
    const { bdf, group, iommu } = fn.spec;
    if (!places.addFunction(bdf)) refuse(fn, 'bdf', `${bdf} is there already: each function once`);
    if (group !== undefined) places.takeGroup(group);
    const refused = iommu === undefined ? null : places.join(bdf, group, iommu);
    if (refused) refuse(fn, 'iommu', refused);
  }
  if (errors.length > 0) return [];
  return sorted.flatMap((fn) => {
    const { bdf, group } = fn.spec;
    const iommu = fn.spec.iommu ?? places.unitFor(bdf, group);
    const refused = iommu === null ? `PCI domain ${bdf.slice(0, 4)} ${NEEDS_UNIT}` : places.join(bdf, group, iommu);
    if (iommu !== null && refused === null)
      return [functionSpec({ ...fn.spec, iommu, group: group ?? places.freeGroup() })];
    refuse(fn, group === undefined || iommu === null ? 'bdf' : 'group', refused!);
    return [];
  });
}

const NEEDS_UNIT = 'has no unit: a unit serves one PCI domain, so `iommus` needs one for each';

/** Which unit serves which PCI domain and which group. */
class Places {
  readonly #bdfs: Set<string>;
  /** In the order of the units; null: nothing is behind the unit yet. */
  readonly #segmentOf: Map<string, number | null>;
  readonly #unitOfGroup = new Map<number, string>();
  readonly #groups: Set<number>;
  #lowestGroup = 0;

  constructor(around: Surroundings) {
    this.#bdfs = new Set(around.functions.map(({ bdf }) => bdf));
    this.#groups = new Set(around.functions.map(({ group }) => group));
    this.#segmentOf = new Map(around.iommus.map(({ id }) => [id, null]));
    for (const { bdf, group, iommu } of around.functions) this.join(bdf, group, iommu);
  }

  /** False if there is such a function already. */
  addFunction(bdf: string): boolean {
    if (this.#bdfs.has(bdf)) return false;
    this.#bdfs.add(bdf);
    return true;
  }

  takeGroup(group: number): void {
    this.#groups.add(group);
  }

  /** A group of its own for a function: the lowest free number, as Linux numbers them. */
  freeGroup(): number {
    while (this.#groups.has(this.#lowestGroup)) this.#lowestGroup++;
    this.#groups.add(this.#lowestGroup);
    return this.#lowestGroup;
  }

  /** Puts the function behind the unit; says why if it cannot be there. */
  join(bdf: string, group: number | undefined, unit: string): string | null {
    const segment = this.#segmentOf.get(unit);
    if (segment === undefined) return `no unit "${unit}": one of ${[...this.#segmentOf.keys()].join(', ')}`;
    const ofGroup = group === undefined ? undefined : this.#unitOfGroup.get(group);
    if (ofGroup !== undefined && ofGroup !== unit)
      return `group ${group} is behind unit "${ofGroup}": all functions of a group are behind one unit`;
    if (segment !== null && segment !== segmentOf(bdf)) {
      const where = ofGroup === undefined ? '' : `group ${group} is behind `;
      return `${where}unit "${unit}", which serves PCI domain ${segment.toString(16).padStart(4, '0')} and no other`;
    }
    this.#segmentOf.set(unit, segmentOf(bdf));
    if (group !== undefined) this.#unitOfGroup.set(group, unit);
    return null;
  }

  /** The unit of the group, else the first that serves the function's PCI domain, else the first that serves none. */
  unitFor(bdf: string, group: number | undefined): string | null {
    const ofGroup = group === undefined ? undefined : this.#unitOfGroup.get(group);
    if (ofGroup !== undefined) return ofGroup;
    const units = [...this.#segmentOf];
    const found =
      units.find(([, segment]) => segment === segmentOf(bdf)) ?? units.find(([, segment]) => segment === null);
    return found?.[0] ?? null;
  }
}
