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
import type { FunctionSpec, IommuUnitSpec } from '../machine/spec.ts';
import type { TopologyFunction } from '../machine/topology/functions.ts';
import { parseLspciGroups } from '../machine/topology/lspci.ts';
import { PRESET_NAMES, PRESETS, type PresetName } from '../machine/topology/presets.ts';
import { parseSysfsGroups } from '../machine/topology/sysfs.ts';
import type { HostSpec } from './command.ts';
import { type DeviceRequest, placeFunctions, readFunction, type WantedFunction } from './function-spec.ts';
import { defaultUnits, type IommuRequest, readUnits } from './iommu-spec.ts';
import { hex, type Problem, readU64, type U64 } from './request-values.ts';

export { buildFunction } from './function-spec.ts';
export type { DeviceRequest, IommuRequest };

export const TOPOLOGY_FORMATS = ['sysfs-iommu-groups', 'lspci-by-group'] as const;
export type TopologyFormat = (typeof TOPOLOGY_FORMATS)[number];

/** The body of POST /v1/hosts. At most one of `preset`, `topology` and `devices` gives the functions. */
export interface HostRequest {
  name?: string;
  profile?: Profile;
  /** Bytes, a multiple of 4096, 16 MiB to 64 TiB. */
  memory?: U64;
  /** The units; without them one of kind `intel-vtd` for each PCI domain, or what the preset has. */
  iommus?: IommuRequest[];
  devices?: DeviceRequest[];
  preset?: PresetName;
  topology?: { format: TopologyFormat; text: string };
  policies?: Partial<Policies>;
  boot?: Partial<BootOptions>;
}

const DEFAULT_MEMORY = 2n ** 34n;
const MIN_MEMORY = 2n ** 24n;
const MAX_MEMORY = 2n ** 46n;
const PAGE = 4096n;

/** What a host begins with, or everything that is wrong with the request. */
export function buildHostSpec(request: HostRequest): { spec: HostSpec } | { errors: Problem[] } {
  const errors: Problem[] = [];
  const memory = readMemory(request.memory, errors);
  const wanted = wantedFunctions(request, errors);
  const units = request.iommus ? readUnits(request.iommus, errors) : unitsFor(request, wanted);
  if (errors.length > 0) return { errors };
  const functions = placeFunctions(wanted, { iommus: units, functions: [] }, errors);
  if (errors.length > 0) return { errors };
  const unsafe = request.iommus?.some((unit) => unit.allowUnsafeInterrupts);
  return {
    spec: {
      machine: { memory: hex(memory), iommus: units, functions },
      profile: request.profile ?? PROFILES[0],
      policies: { ...DEFAULT_POLICIES, ...request.policies },
      boot: { ...DEFAULT_BOOT, ...(unsafe && { allowUnsafeInterrupts: true }), ...request.boot },
    },
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

function wantedFunctions(request: HostRequest, errors: Problem[]): WantedFunction[] {
  const { preset, topology, devices } = request;
  const sources = (['preset', 'topology', 'devices'] as const).filter((source) => request[source] !== undefined);
  for (const other of sources.slice(1))
    errors.push({ pointer: `/${other}`, reason: `give the functions once: \`${sources[0]}\` is there already` });
  if (sources.length > 1) return [];
  if (preset !== undefined) {
    if (!Object.hasOwn(PRESETS, preset)) {
      errors.push({ pointer: '/preset', reason: `no such preset: one of ${PRESET_NAMES.join(', ')}` });
      return [];
    }
    return PRESETS[preset].functions.map((spec) => fromPreset(spec, request.iommus !== undefined));
  }
  if (topology) return fromTopology(topology, errors);
  return (devices ?? []).flatMap((device, index) => readFunction(device, `/devices/${index}`, errors) ?? []);
}

/** Units of the request replace those of a preset, so its functions are placed anew. */
function fromPreset({ iommu, ...spec }: FunctionSpec, replaced: boolean): WantedFunction {
  return { spec: { ...structuredClone(spec), ...(replaced ? {} : { iommu }) }, pointer: '/preset' };
}

function fromTopology(topology: { format: TopologyFormat; text: string }, errors: Problem[]): WantedFunction[] {
  const parse = topology.format === 'sysfs-iommu-groups' ? parseSysfsGroups : parseLspciGroups;
  const parsed = parse(topology.text);
  const pointer = '/topology/text';
  if ('functions' in parsed) return parsed.functions.map((spec: TopologyFunction) => ({ spec, pointer }));
  for (const { line, reason } of parsed.errors) errors.push({ pointer, reason: `line ${line}: ${reason}` });
  return [];
}

function unitsFor(request: HostRequest, wanted: WantedFunction[]): IommuUnitSpec[] {
  const preset = request.preset !== undefined && Object.hasOwn(PRESETS, request.preset) && PRESETS[request.preset];
  return preset ? structuredClone([...preset.iommus]) : defaultUnits(wanted.map(({ spec }) => spec.bdf));
}
