/** What a machine is made of: plain data, as stored and as exported. Addresses are hexadecimal strings. */

export const IOMMU_KINDS = ['intel-vtd', 'amd-vi', 'arm-smmuv3', 'generic'] as const;
export type IommuKind = (typeof IOMMU_KINDS)[number];

export const RESERVED_TYPES = ['msi', 'sw-msi', 'reserved', 'direct', 'direct-relaxable'] as const;
export type ReservedType = (typeof RESERVED_TYPES)[number];

export interface ReservedRange {
  start: string;
  last: string;
  type: ReservedType;
}

/** A kind of page table that a unit can walk. */
export interface TableSpec {
  aperture: { start: string; last: string };
  /** Leaf sizes in bytes, powers of two, ascending, the smallest at least 0x800. */
  pageSizes: string[];
}

export interface IommuUnitSpec {
  id: string;
  kind: IommuKind;
  table: TableSpec;
  /** The other kind of page table that IOMMU_HWPT_ALLOC can ask for with driver data (kind `generic`). */
  table1?: TableSpec;
  /** Reserved ranges that every function behind the unit brings when it is attached. */
  reserved: ReservedRange[];
  dirtyTracking: boolean;
  nesting: boolean;
  /** Whether interrupts are isolated; without it VFIO refuses to bind. */
  interruptRemapping: boolean;
  cacheCoherency: boolean;
  /** Default domain of the groups behind it. */
  defaultDomain: 'dma' | 'identity' | 'blocked';
  /** Width of PASIDs; 0: none. */
  maxPasidLog2: number;
  /** What IOMMU_GET_HW_INFO reports: type, data in base64, its length. */
  hwInfo: { type: number; length: number; data?: string };
}

/** None, a physical function that has virtual ones, or a virtual function. */
export const SRIOV = ['none', 'pf', 'vf'] as const;
export type Sriov = (typeof SRIOV)[number];

export const BAR_KINDS = ['mem32', 'mem64', 'io', 'rom'] as const;

/** A base address register: 0 to 5, or 6, which is the expansion ROM. One of 64 bits takes its index and the next. */
export interface BarSpec {
  index: number;
  kind: (typeof BAR_KINDS)[number];
  prefetchable: boolean;
  /** Where the host has put it. */
  address: string;
  /** Bytes, a power of two. */
  size: string;
}

/** A capability in the first 256 bytes of a configuration space. */
export interface CapabilitySpec {
  offset: number;
  /** 1 PM, 5 MSI, 9 vendor, 16 PCI Express, 17 MSI-X. */
  id: number;
  /** Of MSI: how many vectors, a power of two; addresses of 64 bits; vectors can be masked. */
  msiVectors?: number;
  address64?: boolean;
  maskable?: boolean;
  /** Of MSI-X: how many vectors, and where its table and its pending bits are. */
  msixVectors?: number;
  tableBar?: number;
  tableOffset?: number;
  pbaBar?: number;
  pbaOffset?: number;
  /** Of others: its bytes behind the pointer to the next one, base64. */
  data?: string;
}

/** A capability behind the first 256 bytes of a configuration space of PCI Express. */
export interface ExtendedCapabilitySpec {
  offset: number;
  id: number;
  version: number;
}

/** What the configuration space of a function is made from. */
export interface ConfigSpec {
  /** 256, or 4096 with PCI Express. */
  size: number;
  progIf: number;
  revision: number;
  subsystemVendor: string;
  subsystemDevice: string;
  /** 1 to 4: INTA to INTD; 0: none. */
  interruptPin: number;
  bars: BarSpec[];
  /** In the order of their chain. */
  capabilities: CapabilitySpec[];
  extendedCapabilities: ExtendedCapabilitySpec[];
  /** The bytes that hardware has after its boot, base64; zeros at the end may be left out. Absent: made from the above. */
  image?: string;
}

export interface FunctionSpec {
  /** `dddd:bb:dd.f`. */
  bdf: string;
  vendor: string | null;
  device: string | null;
  /** Class and subclass as four hexadecimal digits, such as `0108`; null: unknown. */
  class: string | null;
  name: string | null;
  /** Group and unit; null where the host has no IOMMU. */
  group: number | null;
  iommu: string | null;
  /** Driver that has been bound to it when the host is made. */
  driver: string | null;
  /** Driver that the real machine had bound to it: it takes the function, of whatever class that is. */
  provenDriver?: string;
  /** Whether the function can be reset. */
  reset: boolean;
  ats: boolean;
  /** Whether it can have dirty pages tracked, where its unit can. */
  dirtyTracking: boolean;
  pasid: boolean;
  sriov: Sriov;
  /** The physical function of a virtual one (sysfs: `physfn`); null: unknown, or it is none. */
  physicalFunction: string | null;
  /** The function whose requester id its DMA carries (Linux: pci_real_dma_dev()), as behind Intel's VMD; null: itself. */
  realDmaDevice: string | null;
  /** Reserved ranges of this function alone, such as RMRRs. */
  reserved: ReservedRange[];
  /** Absent: what a function of its class has. */
  config?: ConfigSpec;
  /** What VFIO_DEVICE_GET_INFO reports. */
  regions: number;
  irqs: number;
}

export interface MachineSpec {
  /** Bytes of memory, a multiple of 4096. */
  memory: string;
  /** Without any, DMA goes to memory as it is. */
  iommus: IommuUnitSpec[];
  functions: FunctionSpec[];
}
