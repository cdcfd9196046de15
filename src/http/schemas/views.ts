/** The schemas of src/host/views.ts, for what is below a host. */
import { z } from 'zod';
import type * as views from '../../host/views.ts';
import { MAX_LISTED } from '../../limits.ts';
import { BAR_KINDS, IOMMU_KINDS, SRIOV } from '../../machine/spec.ts';
import { Base64, ErrnoName, Hex64, listOf, Range, strict } from './values.ts';

const id = z.int();
const nullableText = z.string().nullable();

const Owner = z.enum(['kernel', 'luo', 'iommufd']).nullable().meta({
  id: 'Owner',
  description: 'Who owns its DMA: a kernel driver, the restored state, an iommufd (or a legacy group), or nobody.',
});

const DeviceDomain = strict({
  kind: z.enum(['default', 'identity', 'blocked', 'paging', 'nested', 'none']).meta({
    description: '`none`: the host has no IOMMU, and DMA goes to memory as it is.',
  }),
  id: id.nullable().meta({ description: 'Domain id in the IOMMU.' }),
  restored: z.boolean(),
}).meta({ id: 'DeviceDomain', description: 'The domain that translates its DMA.' });

export const Device = strict({
  bdf: z.string(),
  name: nullableText,
  vendor: nullableText,
  device: nullableText,
  class: nullableText,
  group: id.nullable().meta({ description: 'Its IOMMU group; null where the host has no IOMMU.' }),
  iommu: nullableText.meta({ description: 'Id of the IOMMU unit; null where the host has none.' }),
  iommuKind: z.enum(IOMMU_KINDS).nullable(),
  driver: nullableText,
  unbinding: z.boolean().meta({ description: 'The driver lets go as soon as the last descriptor is closed.' }),
  cdev: nullableText.meta({ description: 'Path such as /dev/vfio/devices/vfio0.' }),
  owner: Owner,
  state: z.enum(['L', 'A', 'S', 'X', 'N']).meta({
    description: 'Of persisted domains: luo mode, adopted, swapped, blocked; N: no restored state applies.',
  }),
  domain: DeviceDomain,
  preserved: z.boolean(),
  interruptsEnabled: z.boolean().meta({
    description: 'A program has enabled interrupts by VFIO_DEVICE_SET_IRQS, or the switch of PATCH is on.',
  }),
  reset: z.boolean().meta({ description: 'Whether it can be reset.' }),
  canReset: z.boolean().meta({ description: 'The same as `reset`.' }),
  resets: z.int().meta({ description: 'Resets since the host was made.' }),
  sriov: z.enum(SRIOV),
  physicalFunction: nullableText.meta({ description: 'Of a virtual function: the one that it belongs to, if known.' }),
  realDmaDevice: nullableText.meta({
    description: 'The function whose requester id its DMA carries, if not its own: behind Intel VMD.',
  }),
}).meta({ id: 'Device' }) satisfies z.ZodType<views.DeviceView>;

export const Group = strict({
  group: id,
  devices: z.array(z.string()),
  owner: Owner,
  ownerCount: z.int(),
  type: z.string().meta({ description: 'Type of the default domain, as in sysfs.' }),
  domain: DeviceDomain,
  reserved: z.array(strict({ start: Hex64, last: Hex64, type: z.string() })),
}).meta({ id: 'Group' }) satisfies z.ZodType<views.GroupView>;

const Domain = strict({
  id,
  restored: z.boolean(),
  preserved: z.boolean(),
  devices: z.array(z.string()),
  tablePages: z.int().meta({ description: '4 KiB frames that its page table takes.' }),
  pageSizes: z.array(Hex64),
  aperture: Range,
}).meta({ id: 'Domain' }) satisfies z.ZodType<views.DomainView>;

const Session = strict({
  name: z.string(),
  side: z.enum(['outgoing', 'incoming']),
  state: z.enum(['open', 'waiting', 'retrieved', 'stuck']),
  files: z.array(
    strict({
      token: Hex64,
      handler: z.string(),
      state: z.enum(['preserved', 'waiting', 'retrieved', 'failed']),
      errno: nullableText,
    }),
  ),
}).meta({ id: 'Session', description: 'A live update session.' }) satisfies z.ZodType<views.SessionView>;

const Descriptor = strict({
  fd: id,
  kind: z.string(),
  link: z.string().meta({ description: 'As in /proc/PID/fd.' }),
}).meta({ id: 'OpenDescriptor' }) satisfies z.ZodType<views.DescriptorView>;

const Area = strict({ address: Hex64, length: Hex64, backing: z.enum(['anonymous', 'file']) }).meta({
  id: 'MemoryArea',
}) satisfies z.ZodType<views.AreaView>;

/** How many items of which lists are left out. */
function more<Name extends string>(names: readonly Name[], list: string) {
  const counts = Object.fromEntries(names.map((name) => [name, z.int()])) as Record<Name, z.ZodInt>;
  return strict(counts)
    .meta({
      description: `How many there are besides the first ${MAX_LISTED} of each, which are shown here; not there where none is left out. ${list}`,
    })
    .optional();
}

export const Process = strict({
  pid: id,
  name: z.string(),
  uid: id,
  capabilities: z.array(z.string()),
  descriptors: z.array(Descriptor),
  memory: z.array(Area),
  lockedBytes: Hex64,
  more: more(['descriptors', 'memory'], 'GET descriptors and memory below the process list all.'),
}).meta({ id: 'Process' }) satisfies z.ZodType<views.ProcessView>;

const IommufdObject = strict({ id, type: z.string(), users: z.int() }).meta({
  id: 'IommufdObject',
}) satisfies z.ZodType<views.ObjectView>;

export const Iommufd = strict({
  objects: z.array(IommufdObject),
  ioases: z.array(id),
  hwpts: z.array(id),
  devices: z.array(strict({ id, bdf: z.string(), hwpt: id.nullable() })),
  preserved: z.boolean(),
  restored: z.boolean(),
  more: more(['objects', 'ioases', 'hwpts', 'devices'], 'GET objects below the iommufd lists all.'),
}).meta({ id: 'Iommufd' }) satisfies z.ZodType<views.IommufdView>;

export const Ioas = strict({
  ioas: id,
  areas: z.int(),
  bytes: Hex64,
  alignment: Hex64,
  hwpts: z.array(id),
  immutable: z.boolean().meta({ description: 'Preserved for the next kernel: mappings cannot change.' }),
  allowed: z.array(Range),
  reserved: z.array(Range),
}).meta({ id: 'Ioas', description: 'An IO address space.' }) satisfies z.ZodType<views.IoasView>;

const Mapping = strict({
  iova: Hex64,
  length: Hex64,
  readable: z.boolean(),
  writeable: z.boolean(),
  source: z.enum(['user', 'file']),
  offset: Hex64.meta({ description: 'Address in the process, or first byte of the file.' }),
}).meta({ id: 'Mapping' }) satisfies z.ZodType<views.MappingView>;

export const Hwpt = strict({
  hwpt: id,
  type: z.enum(['paging', 'nested']),
  ioas: id.nullable(),
  auto: z.boolean().meta({ description: 'Made by attaching to an IOAS.' }),
  restored: z.boolean(),
  token: Hex64.nullable(),
  domain: id.nullable(),
  devices: z.array(z.string()),
  dirtyTracking: z.boolean(),
}).meta({ id: 'Hwpt', description: 'A hardware page table.' }) satisfies z.ZodType<views.HwptView>;

const Bar = strict({
  index: z.int().meta({ description: '0 to 5; 6: the expansion ROM.' }),
  kind: z.enum(BAR_KINDS),
  prefetchable: z.boolean(),
  address: Hex64.meta({ description: 'Where the host has put it.' }),
  size: Hex64,
}).meta({ id: 'Bar', description: 'A base address register.' });

const Capability = strict({
  offset: z.int(),
  id: z.int(),
  msiVectors: z.int().optional(),
  address64: z.boolean().optional(),
  maskable: z.boolean().optional(),
  msixVectors: z.int().optional(),
  tableBar: z.int().optional(),
  tableOffset: z.int().optional(),
  pbaBar: z.int().optional(),
  pbaOffset: z.int().optional(),
  data: Base64.optional(),
}).meta({ id: 'Capability', description: '1 PM, 5 MSI, 9 vendor, 16 PCI Express, 17 MSI-X.' });

const ExtendedCapability = strict({ offset: z.int(), id: z.int(), version: z.int() }).meta({
  id: 'ExtendedCapability',
});

export const ConfigSpace = strict({
  size: z.int().meta({ description: 'Bytes: 256, or 4096 with PCI Express.' }),
  data: Base64.meta({
    description: 'All of its bytes as hardware has them now. What a program reads through VFIO differs.',
  }),
  bars: z.array(Bar),
  capabilities: z.array(Capability).meta({ description: 'In the order of their chain.' }),
  extendedCapabilities: z.array(ExtendedCapability),
}).meta({
  id: 'ConfigSpace',
  description: 'The configuration space of a PCI function.',
}) satisfies z.ZodType<views.ConfigView>;

const TranslationRun = strict({
  address: Hex64,
  length: Hex64,
  physical: Hex64,
  readable: z.boolean(),
  writeable: z.boolean(),
}).meta({
  id: 'TranslationRun',
  description: 'Contiguous addresses that lead to contiguous physical memory.',
}) satisfies z.ZodType<views.TranslationRun>;

export const Fault = strict({
  id,
  point: z.string(),
  nth: z.int().meta({ description: 'The next how-manieth pass fails.' }),
  errno: ErrnoName,
}).meta({ id: 'Fault', description: 'A failure that is armed.' });

export const DeviceList = listOf('DeviceList', Device);
export const GroupList = listOf('GroupList', Group);
export const DomainList = listOf('DomainList', Domain);
export const SessionList = listOf('SessionList', Session);
export const ProcessList = listOf('ProcessList', Process);
export const DescriptorList = listOf('OpenDescriptorList', Descriptor);
export const AreaList = listOf('MemoryAreaList', Area);
export const ObjectList = listOf('IommufdObjectList', IommufdObject);
export const MappingList = listOf('MappingList', Mapping);
export const TranslationRunList = listOf('TranslationRunList', TranslationRun);
