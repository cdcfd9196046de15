/**
 * From what people write about a host to the plain data that a host begins with. Everything is checked here that
 * needs more than one field to see; errors are values that point (RFC 6901) into the request.
 */

import {
  type BootOptions,
  DEFAULT_BOOT,
  DEFAULT_POLICIES,
  type Policies,
  PROFILES,
  type Profile,
} from '../kernel/policies.ts';
import { MAX_MEMORY, MIN_MEMORY } from '../limits.ts';
import { hex, PAGE } from '../machine/address.ts';
import type { IommuUnitSpec } from '../machine/spec.ts';
import { PRESET_NAMES, PRESETS, type PresetName } from '../machine/topology/presets.ts';
import type { TopologyNote } from '../machine/topology/text.ts';
import { parseTopology, TOPOLOGY_FORMATS, type TopologyFormat } from '../machine/topology/topology.ts';
import type { HostSpec } from './command.ts';
import { type DeviceRequest, placeFunctions, readFunction, requester, type WantedFunction } from './function-spec.ts';
import { defaultUnits, type IommuRequest, namedUnits, readUnits } from './iommu-spec.ts';
import { type Problem, readU64, type U64 } from './request-values.ts';

export { buildFunction } from './function-spec.ts';
export { type DeviceRequest, type IommuRequest, TOPOLOGY_FORMATS, type TopologyNote };

/** The body of POST /v1/hosts. One of `preset`, `topology` and `devices` gives the functions, or `topology` and `devices`. */
export interface HostRequest {
  name?: string;
  profile?: Profile;
  /** Bytes, a multiple of 4096, 16 MiB to 64 TiB. */
  memory?: U64;
  /** The units; none: a host without an IOMMU. Absent: one for each PCI domain, or what the preset has. */
  iommus?: IommuRequest[];
  /** Beside a topology: fields that take the place of what the text says, by address. */
  devices?: DeviceRequest[];
  preset?: PresetName;
  /** Absent `format`: the text decides. */
  topology?: { format?: TopologyFormat; text: string };
  policies?: Partial<Policies>;
  boot?: Partial<BootOptions>;
}

const DEFAULT_MEMORY = 2n ** 34n;

export interface BuiltHost {
  spec: HostSpec;
  /** What was passed over in the topology's text or concluded from it. */
  notes: TopologyNote[];
}

/** Functions of a request, and the units that they have unless it says otherwise. */
interface Source {
  functions: WantedFunction[];
  units: IommuUnitSpec[];
  notes: TopologyNote[];
}

/** What a host begins with, or everything that is wrong with the request. */
export function buildHostSpec(request: HostRequest): BuiltHost | { errors: Problem[] } {
  const errors: Problem[] = [];
  const memory = readMemory(request.memory, errors);
  const source = readSource(request, errors);
  const iommus = request.iommus ? readUnits(request.iommus, errors) : source.units;
  if (errors.length > 0) return { errors };
  const functions = placeFunctions(source.functions, { iommus, functions: [] }, errors);
  if (errors.length > 0) return { errors };
  const unsafe = request.iommus?.some((unit) => unit.allowUnsafeInterrupts);
  return {
    spec: {
      machine: { memory: hex(memory), iommus, functions },
      profile: request.profile ?? PROFILES[0],
      policies: { ...DEFAULT_POLICIES, ...request.policies },
      boot: { ...DEFAULT_BOOT, ...(unsafe && { allowUnsafeInterrupts: true }), ...request.boot },
    },
    notes: source.notes,
  };
}

function readMemory(memory: U64 | undefined, errors: Problem[]): bigint {
  if (memory === undefined) return DEFAULT_MEMORY;
  const bytes = readU64(memory, '/memory', errors);
  if (bytes === null) return DEFAULT_MEMORY;
  if (bytes % PAGE !== 0n) errors.push({ pointer: '/memory', reason: `${hex(bytes)} is not a multiple of 4096 bytes` });
  if (bytes < MIN_MEMORY || bytes > MAX_MEMORY)
    errors.push({ pointer: '/memory', reason: `must be ${hex(MIN_MEMORY)} (16 MiB) to ${hex(MAX_MEMORY)} (64 TiB)` });
  return bytes;
}

function readSource(request: HostRequest, errors: Problem[]): Source {
  const { preset, topology, devices = [] } = request;
  if (preset !== undefined) {
    for (const other of ['topology', 'devices'] as const)
      if (request[other] !== undefined)
        errors.push({ pointer: `/${other}`, reason: 'give the functions once: `preset` is there already' });
    return fromPreset(preset, request.iommus, errors);
  }
  const own = devices.flatMap((device, index) => readFunction(device, `/devices/${index}`, errors) ?? []);
  if (topology) return fromTopology(topology, own, request.iommus, errors);
  return { functions: own, units: defaultUnits(own.map(requester), 'intel-vtd'), notes: [] };
}

/** Units of the request replace those of a preset, so its functions are placed anew; without any there are no groups. */
function fromPreset(name: PresetName, units: IommuRequest[] | undefined, errors: Problem[]): Source {
  if (!Object.hasOwn(PRESETS, name)) {
    errors.push({ pointer: '/preset', reason: `no such preset: one of ${PRESET_NAMES.join(', ')}` });
    return { functions: [], units: [], notes: [] };
  }
  const { functions, iommus } = structuredClone(PRESETS[name]);
  const wanted = functions.map((spec): WantedFunction => {
    const { iommu, ...unplaced } = spec;
    if (!units) return { spec, pointer: '/preset' };
    return { spec: units.length > 0 ? unplaced : { ...unplaced, group: null }, pointer: '/preset' };
  });
  return { functions: wanted, units: [...iommus], notes: [] };
}

/** What the text says, with what the request says of single functions over it. */
function fromTopology(
  topology: NonNullable<HostRequest['topology']>,
  overrides: WantedFunction[],
  units: IommuRequest[] | undefined,
  errors: Problem[],
): Source {
  const pointer = '/topology/text';
  const parsed = parseTopology(topology.text, topology.format, units?.length === 0);
  if ('errors' in parsed) {
    for (const { line, text, reason } of parsed.errors)
      errors.push({ pointer, reason: `line ${line}: ${text === null ? '' : `"${text}": `}${reason}` });
    return { functions: [], units: [], notes: [] };
  }
  const { platform, notes } = parsed;
  const functions = parsed.functions.map(({ line, iommu, ...spec }): WantedFunction => {
    const proven = { ...spec, ...(spec.driver && { provenDriver: spec.driver }) };
    if (units?.length === 0) return { spec: { ...proven, group: null }, pointer };
    return { spec: units ? proven : { ...proven, ...(iommu && { iommu }) }, pointer };
  });
  const names = new Set(functions.flatMap(({ spec }) => spec.iommu ?? []));
  const others = functions.filter(({ spec }) => !spec.iommu).map(requester);
  const chosen = units ? [] : namedUnits([...names], others, platform.kind);
  if (!units)
    notes.push({
      ...platform.from,
      what: `the IOMMU is taken for ${platform.kind} (${chosen[0]!.id}): ${platform.why}; \`iommus\` says otherwise`,
    });
  override(functions, overrides, errors);
  return { functions, units: chosen, notes };
}

function override(functions: WantedFunction[], overrides: WantedFunction[], errors: Problem[]): void {
  const byAddress = new Map(functions.map((fn) => [fn.spec.bdf, fn]));
  for (const { spec, pointer } of overrides) {
    const fn = byAddress.get(spec.bdf);
    if (!fn)
      errors.push({
        pointer: `${pointer}/bdf`,
        reason: `${spec.bdf} is not in the text: each of \`devices\` says more of a function there`,
      });
    else if (fn.fields)
      errors.push({ pointer: `${pointer}/bdf`, reason: `${spec.bdf} is there already: each function once` });
    else {
      // One that is no virtual function belongs to no physical one.
      if (spec.sriov !== undefined && spec.sriov !== 'vf') fn.spec.physicalFunction = null;
      Object.assign(fn.spec, spec);
      fn.pointer = pointer;
      fn.fields = true;
    }
  }
}
