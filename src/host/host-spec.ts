/**
 * Turns the description of a host into the plain data that it begins with. All that needs more than one field is
 * checked here; errors are values that point (RFC 6901) into the request.
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
import type { ConfigSpec, IommuUnitSpec } from '../machine/spec.ts';
import type { SaidConfig } from '../machine/topology/lspci-config.ts';
import { PRESET_NAMES, PRESETS, type PresetName } from '../machine/topology/presets.ts';
import { type Line, quoted, type TopologyNote } from '../machine/topology/text.ts';
import { parseTopology, TOPOLOGY_FORMATS, type TopologyFormat } from '../machine/topology/topology.ts';
import type { HostSpec } from './command.ts';
import { readConfig } from './config-spec.ts';
import { type DeviceRequest, placeFunctions, readFunction, requester, type WantedFunction } from './function-spec.ts';
import { defaultUnits, type IommuRequest, namedUnits, readUnits } from './iommu-spec.ts';
import { type Problem, readU64, type U64 } from './request-values.ts';

export { buildFunction } from './function-spec.ts';
export { type DeviceRequest, type IommuRequest, TOPOLOGY_FORMATS, type TopologyNote };

/**
 * The body of POST /v1/hosts. Functions come from `preset`, `topology`, `devices`, or from `topology` and `devices`.
 */
export interface HostRequest {
  name?: string;
  profile?: Profile;
  /** Bytes, a multiple of 4096, 16 MiB to 64 TiB. */
  memory?: U64;
  /** The units; empty: a host without an IOMMU. Absent: one for each PCI domain, or those of the preset. */
  iommus?: IommuRequest[];
  /** With a topology: fields that replace what the text says of the function at this address. */
  devices?: DeviceRequest[];
  preset?: PresetName;
  /** `format` absent: it is detected in the text. */
  topology?: { format?: TopologyFormat; text: string };
  policies?: Partial<Policies>;
  boot?: Partial<BootOptions>;
}

const DEFAULT_MEMORY = 2n ** 34n;

export interface BuiltHost {
  spec: HostSpec;
  /** What was skipped in the topology's text, or concluded from it. */
  notes: TopologyNote[];
}

/** The functions of a request, and the units that it has unless it says otherwise. */
interface Source {
  functions: WantedFunction[];
  units: IommuUnitSpec[];
  notes: TopologyNote[];
}

/** Makes what a host begins with; or returns all that is wrong with the request. */
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

/**
 * The functions of a preset. Units of the request replace its own, and functions are placed anew; without any there are
 * no groups.
 */
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

/** The functions of a topology's text, changed by what the request says of single ones. */
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
  const functions = parsed.functions.map(({ line, iommu, said, ...spec }): WantedFunction => {
    const config = said && configFromText(said, spec, line, notes);
    const proven = { ...spec, ...(spec.driver && { provenDriver: spec.driver }), ...(config && { config }) };
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

/** What a text says of a configuration space, as far as it can be so: BARs at least, or nothing. */
function configFromText(
  said: SaidConfig,
  spec: WantedFunction['spec'],
  line: Line,
  notes: TopologyNote[],
): ConfigSpec | undefined {
  const { bars } = said;
  for (const part of bars?.length ? [said, { bars }] : [said]) {
    const errors: Problem[] = [];
    const config = readConfig(part, spec, '', errors);
    const [first] = errors;
    if (!first) return config;
    const what = `what it says of BARs and capabilities is not taken over as it is: ${first.pointer.slice(1)}: ${first.reason}`;
    notes.push({ line: line.number, text: quoted(line.raw), what });
  }
  return undefined;
}

function override(functions: WantedFunction[], overrides: WantedFunction[], errors: Problem[]): void {
  const byAddress = new Map(functions.map((fn) => [fn.spec.bdf, fn]));
  for (const { spec, pointer, config } of overrides) {
    const fn = byAddress.get(spec.bdf);
    if (!fn)
      errors.push({
        pointer: `${pointer}/bdf`,
        reason: `${spec.bdf} is not in the text: each of \`devices\` says more of a function there`,
      });
    else if (fn.fields)
      errors.push({ pointer: `${pointer}/bdf`, reason: `${spec.bdf} is there already: each function once` });
    else {
      // Only a virtual function belongs to a physical one.
      if (spec.sriov !== undefined && spec.sriov !== 'vf') fn.spec.physicalFunction = null;
      Object.assign(fn.spec, spec);
      fn.pointer = pointer;
      if (config) fn.config = config;
      fn.fields = true;
    }
  }
}
