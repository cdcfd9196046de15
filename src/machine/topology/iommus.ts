/** What an IOMMU unit of each kind is like unless its description says otherwise. */
import type { IommuKind, IommuUnitSpec, ReservedRange, TableSpec } from '../spec.ts';

/** Unit ids as `/sys/class/iommu` has them: this and a number. */
const ID_PREFIX: Record<IommuKind, string> = {
  'intel-vtd': 'dmar',
  'amd-vi': 'ivhd',
  'arm-smmuv3': 'smmu',
  generic: 'mock',
};

const TABLE_48_BITS: TableSpec = {
  aperture: { start: '0x0', last: '0xffffffffffff' },
  pageSizes: ['0x1000', '0x200000', '0x40000000'],
};

/** Writes there are interrupts on x86, never translated. */
const X86_MSI: ReservedRange = { start: '0xfee00000', last: '0xfeefffff', type: 'msi' };

/** drivers/iommu/amd/init.c and iommu.c: addresses of HyperTransport that no DMA may use. */
const HYPERTRANSPORT: ReservedRange = { start: '0xfd00000000', last: '0xffffffffff', type: 'reserved' };

/** MSI_IOVA_BASE of arm-smmu-v3: the kernel maps the doorbells of the interrupt controller there. */
const ARM_SW_MSI: ReservedRange = { start: '0x8000000', last: '0x80fffff', type: 'sw-msi' };

const COMMON = {
  nesting: false,
  interruptRemapping: true,
  cacheCoherency: true,
  defaultDomain: 'dma',
  maxPasidLog2: 0,
} as const;

const DEFAULTS: Record<IommuKind, Omit<IommuUnitSpec, 'id'>> = {
  'intel-vtd': {
    kind: 'intel-vtd',
    table: TABLE_48_BITS,
    reserved: [X86_MSI],
    dirtyTracking: false,
    ...COMMON,
    hwInfo: { type: 1, length: 24, data: 'AQAAAAAAAAAGBi8ijADSAEoP8AAAAAAA' },
  },
  'amd-vi': {
    kind: 'amd-vi',
    table: TABLE_48_BITS,
    reserved: [X86_MSI, HYPERTRANSPORT],
    dirtyTracking: true,
    ...COMMON,
    hwInfo: { type: 4, length: 16 },
  },
  'arm-smmuv3': {
    kind: 'arm-smmuv3',
    table: TABLE_48_BITS,
    reserved: [ARM_SW_MSI],
    dirtyTracking: true,
    ...COMMON,
    hwInfo: { type: 2, length: 40 },
  },
  /** drivers/iommu/iommufd/selftest.c: the mock IOMMU, whose pages are half a CPU page. */
  generic: {
    kind: 'generic',
    table: { aperture: { start: '0x1000000', last: '0x7fffffff' }, pageSizes: ['0x800', '0x1000'] },
    table1: { aperture: { start: '0x0', last: '0x3fffffffff' }, pageSizes: ['0x1000', '0x100000'] },
    reserved: [],
    dirtyTracking: true,
    ...COMMON,
    nesting: true,
    defaultDomain: 'blocked',
    maxPasidLog2: 20,
    hwInfo: { type: 0xfeedbeef, length: 8 },
  },
};

/** A unit of this kind with nothing changed; the caller owns it. */
export function defaultUnit(kind: IommuKind, id: string): IommuUnitSpec {
  return structuredClone({ id, ...DEFAULTS[kind] });
}

/** The kind of a unit that Linux has given this name. */
export function unitKind(id: string): IommuKind {
  return id.startsWith('dmar') ? 'intel-vtd' : id.startsWith('ivhd') ? 'amd-vi' : 'arm-smmuv3';
}

/** The id of the `index`-th unit of this kind, such as `dmar0`. */
export function unitId(kind: IommuKind, index: number): string {
  return `${ID_PREFIX[kind]}${index}`;
}
