/** Machines that are ready to use: two that somebody has, and three that are good to try things on. */
import type { FunctionSpec, IommuKind, IommuUnitSpec } from '../spec.ts';
import { functionSpec } from './functions.ts';
import { defaultUnit, unitId } from './iommus.ts';
import { ALDER_LAKE, RYZEN_2400G } from './preset-texts.ts';
import { parseTopology } from './topology.ts';

export const PRESET_NAMES = ['vmm-lab', 'ryzen-2400g', 'alder-lake', 'smmu-server', 'mock'] as const;
export type PresetName = (typeof PRESET_NAMES)[number];

export interface Preset {
  /** One sentence: what it is and what it is good for. */
  readonly about: string;
  readonly iommus: readonly IommuUnitSpec[];
  readonly functions: readonly FunctionSpec[];
}

/** Its functions are made when they are asked for: to read the texts of two machines takes some milliseconds of each start. */
function machine(kind: IommuKind, about: string, make: (iommu: string) => FunctionSpec[]): Preset {
  const unit = defaultUnit(kind, unitId(kind, 0));
  let functions: FunctionSpec[] | undefined;
  return {
    about,
    iommus: [unit],
    get functions() {
      functions ??= make(unit.id);
      return functions;
    },
  };
}

/** The texts are part of the program, so one that cannot be read is a bug. */
function functionsOf(text: string, iommu: string): FunctionSpec[] {
  const topology = parseTopology(text, undefined);
  if ('errors' in topology) throw new Error(`a preset's topology cannot be read: ${JSON.stringify(topology.errors)}`);
  return topology.functions.map(({ line, said, ...fn }) => functionSpec({ ...fn, iommu }));
}

const NVME = { class: '0108', vendor: '144d', device: 'a808', name: 'Samsung NVMe SSD Controller PM981' };
const NIC = { class: '0200', vendor: '8086', device: '1521', name: 'Intel I350 Gigabit Network Connection' };

export const PRESETS: Readonly<Record<PresetName, Preset>> = {
  'vmm-lab': machine(
    'intel-vtd',
    'A small VT-d server for live updates: two NVMe drives each alone in its group and both ports of a NIC sharing ' +
      'one, all four on vfio-pci, and a third drive that the kernel uses through its nvme driver.',
    (iommu) => [
      functionSpec({ bdf: '0000:01:00.0', group: 0, iommu, ...NVME, driver: 'vfio-pci' }),
      functionSpec({ bdf: '0000:02:00.0', group: 1, iommu, ...NVME, driver: 'vfio-pci' }),
      functionSpec({ bdf: '0000:03:00.0', group: 2, iommu, ...NIC, driver: 'vfio-pci' }),
      functionSpec({ bdf: '0000:03:00.1', group: 2, iommu, ...NIC, driver: 'vfio-pci' }),
      functionSpec({ bdf: '0000:04:00.0', group: 3, iommu, ...NVME, driver: 'nvme' }),
    ],
  ),
  'ryzen-2400g': machine(
    'amd-vi',
    'A real AMD Ryzen 2400G desktop with one large group of 11 functions behind its chipset; its AMD-Vi unit cannot ' +
      'preserve domains.',
    (iommu) => functionsOf(RYZEN_2400G, iommu),
  ),
  'alder-lake': machine(
    'intel-vtd',
    'A real 12th-generation Intel desktop with 24 groups, among them a GPU, two NVMe drives and a NIC that are each ' +
      'alone in theirs.',
    (iommu) => functionsOf(ALDER_LAKE, iommu),
  ),
  'smmu-server': machine(
    'arm-smmuv3',
    'An Arm server behind an SMMUv3, whose interrupts need a window of IOVAs (software MSI) and which can track dirty ' +
      'pages; it cannot preserve domains.',
    (iommu) => [
      functionSpec({ bdf: '0000:01:00.0', group: 0, iommu, ...NVME }),
      functionSpec({ bdf: '0000:02:00.0', group: 1, iommu, ...NIC }),
      functionSpec({ bdf: '0000:02:00.1', group: 2, iommu, ...NIC }),
    ],
  ),
  mock: machine(
    'generic',
    'The mock IOMMU of the kernel’s own iommufd tests, with pages of 2 KiB and no functions yet: add them one by one.',
    () => [],
  ),
};
