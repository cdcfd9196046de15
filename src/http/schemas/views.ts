/** The schemas of src/host/views.ts, for what is below a host. */
import { z } from 'zod';
import type { SweepOutcome } from '../../host/past-views.ts';
import type * as views from '../../host/views.ts';
import { MAX_LISTED } from '../../limits.ts';
import { BAR_KINDS, IOMMU_KINDS, SRIOV } from '../../machine/spec.ts';
import { HazardData, HazardName } from './events.ts';
import { Base64, Bdf, ErrnoName, FaultPoint, Hex64, listOf, Nanoseconds, Range, strict } from './values.ts';

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

const DeviceLiveupdate = strict({
  session: z.string(),
  token: Hex64.meta({ description: 'Of its cdev in the session.' }),
  hwptToken: Hex64.nullable().meta({ description: 'Of its HWPT; null: it is on none that is marked.' }),
}).meta({ id: 'DeviceLiveupdate' }) satisfies z.ZodType<views.DeviceLiveupdate>;

const preservedFile = {
  device: Bdf.nullable().meta({ description: 'Of a cdev: which device.' }),
  size: Hex64.nullable().meta({ description: 'Of a memfd: its bytes.' }),
  hwpts: z
    .array(strict({ token: Hex64, domain: id }))
    .nullable()
    .meta({ description: 'Of an iommufd: its marked HWPTs.' }),
};

export const Device = strict({
  bdf: Bdf,
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
  liveupdate: DeviceLiveupdate.nullable().meta({
    description:
      'Where it stands in a session: of this kernel, or of the one before as long as that is not finished; null: in none.',
  }),
  interruptsEnabled: z.boolean().meta({
    description: 'A program has enabled interrupts by VFIO_DEVICE_SET_IRQS, or the switch of PATCH is on.',
  }),
  reset: z.boolean().meta({ description: 'Whether it can be reset.' }),
  canReset: z.boolean().meta({ description: 'The same as `reset`.' }),
  resets: z.int().meta({ description: 'Resets since the host was made.' }),
  sriov: z.enum(SRIOV),
  physicalFunction: Bdf.nullable().meta({
    description: 'Of a virtual function: the one that it belongs to, if known.',
  }),
  realDmaDevice: Bdf.nullable().meta({
    description: 'The function whose requester id its DMA carries, if not its own: behind Intel VMD.',
  }),
}).meta({ id: 'Device' }) satisfies z.ZodType<views.DeviceView>;

const pages = z.int().meta({ description: 'Pages of 4 KiB.' });
const count = z.string().regex(/^\d+$/);

export const Engine = strict({
  id,
  bdf: Bdf,
  access: z.enum(['read', 'write', 'both']),
  ranges: z.array(strict({ iova: Hex64, length: Hex64 })),
  bytesPerSecond: count.meta({ description: 'In a second of simulated time.' }),
  since: Nanoseconds,
  until: Nanoseconds.meta({ description: 'Now, or when it ended.' }),
  stopped: z.enum(['asked', 'reset', 'removed', 'power-cycle', 'quiesced']).nullable().meta({
    description:
      'Why it has ended; null: it runs. `quiesced`: its driver has stopped the device, as drivers do at a reboot.',
  }),
  pages: pages.meta({ description: 'Pages of 4 KiB of its working set.' }),
  continuousPages: pages.meta({
    description: 'Those of them that were reached at any time and have led to the same memory all the time.',
  }),
  continuous: z.boolean().meta({ description: 'All pages are.' }),
  accesses: count.meta({ description: 'Accesses of a page so far.' }),
  refused: count.meta({ description: 'Those of them that were refused.' }),
  gaps: z
    .array(
      strict({ since: Nanoseconds, until: Nanoseconds.nullable(), iova: Hex64, pages, refused: count }).meta({
        id: 'EngineGap',
      }),
    )
    .meta({ description: 'Pages that could not be reached, and when; `until` null: they cannot now. The first ones.' }),
  moved: z
    .array(strict({ at: Nanoseconds, iova: Hex64, pages }))
    .meta({ description: 'Pages that led to other memory from then on. The first ones.' }),
  freed: z
    .array(strict({ at: Nanoseconds, iova: Hex64, pages }))
    .meta({ description: 'Pages whose memory was freed under them. The first ones.' }),
  reused: z
    .array(strict({ at: Nanoseconds, iova: Hex64, pages }))
    .meta({ description: 'Pages that led to free memory, which somebody was given then. The first ones.' }),
  more: more(['gaps', 'moved', 'freed', 'reused'], ''),
}).meta({ id: 'Engine', description: 'DMA of a device that goes on by itself.' }) satisfies z.ZodType<views.EngineView>;
export const EngineList = listOf('EngineList', Engine);

const HandedOverDevice = strict({
  bdf: Bdf,
  fate: z.enum(['kept', 'lost', 'quiesced', 'idle']).meta({
    description:
      '`kept`: it has gone on running; `lost`: its DMA, or who could adopt it, is gone; `quiesced`: its driver has stopped it, as a driver does at a reboot; `idle`: nobody was using it.',
  }),
  state: z.enum(['L', 'A', 'S', 'X', 'N']).meta({ description: 'Where it stands in the kernel that runs now.' }),
  domain: id.nullable().meta({ description: 'Domain id with which it has gone on; null: none.' }),
  liveupdate: DeviceLiveupdate.nullable(),
  why: nullableText.meta({ description: 'Why it is lost.' }),
}).meta({ id: 'HandedOverDevice' }) satisfies z.ZodType<views.HandedOverDevice>;

const HandedOverFile = strict({
  session: z.string(),
  token: Hex64,
  handler: z.string(),
  kept: z.boolean().meta({ description: 'It can be retrieved in this kernel.' }),
  ...preservedFile,
}).meta({ id: 'HandedOverFile' }) satisfies z.ZodType<views.HandedOverFile>;

export const Handover = strict({
  mode: z.enum(['live-update', 'plain']),
  taken: z.boolean().meta({ description: 'Whether this kernel has taken anything over.' }),
  blackout: Nanoseconds.meta({ description: 'Simulated nanoseconds without a kernel.' }),
  devices: z.array(HandedOverDevice).meta({ description: 'Those first of which something was kept or lost.' }),
  sessions: z.array(strict({ name: z.string(), files: z.int() })),
  files: z.array(HandedOverFile),
  domains: z.array(strict({ id, kept: z.boolean(), devices: z.array(Bdf) })),
  more: more(['devices', 'sessions', 'files', 'domains'], ''),
}).meta({
  id: 'Handover',
  description: 'What a kexec has handed over, and what has become of it in the kernel that runs now.',
}) satisfies z.ZodType<views.HandoverView>;

const PreflightStep = strict({
  what: z.string().meta({ description: 'A sentence.' }),
  rest: nullableText.meta({ description: 'The REST operation that does it.' }),
  call: nullableText.meta({ description: 'The system call or ioctl that does it.' }),
  bdf: Bdf.nullable().meta({ description: 'The device that it is for; null: for all.' }),
}).meta({ id: 'PreflightStep' }) satisfies z.ZodType<views.PreflightStep>;

export const Preflight = strict({
  refusal: strict({ errno: ErrnoName, where: z.string(), why: z.string(), rule: nullableText })
    .nullable()
    .meta({ description: 'What reboot() would be refused with; null: nothing.' }),
  handedOver: Handover.nullable().meta({ description: 'What the answer of the kexec would tell; null: refused.' }),
  panic: nullableText.meta({ description: 'Why the next kernel would stop; null: it would run.' }),
  hazards: z
    .array(strict({ message: z.string(), data: HazardData }))
    .meta({ description: 'The hazards that the kexec would raise.' }),
  steps: z.array(PreflightStep).meta({
    description: 'What to do first, in this order, so that no device that is in use is left behind.',
  }),
  more: more(['hazards', 'steps'], ''),
}).meta({ id: 'Preflight', description: 'What a kexec would do now.' }) as z.ZodType<views.PreflightView>;

export const Group = strict({
  group: id,
  devices: z.array(Bdf),
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
  devices: z.array(Bdf),
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
      errno: ErrnoName.nullable(),
      ...preservedFile,
    }),
  ),
}).meta({ id: 'Session', description: 'A live update session.' }) satisfies z.ZodType<views.SessionView>;

const Descriptor = strict({
  fd: id,
  kind: z.string(),
  link: z.string().meta({ description: 'As in /proc/PID/fd.' }),
  preservedIn: nullableText.meta({ description: 'The session that the file is in; null: none.' }),
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
  devices: z.array(strict({ id, bdf: Bdf, hwpt: id.nullable() })),
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
  devices: z.array(Bdf),
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
  point: FaultPoint,
  nth: z
    .int()
    .nullable()
    .meta({ description: 'Which pass from now on fails, 1 being the next; null: none does any more.' }),
  times: z.int().meta({ description: 'How many passes in a row are to fail yet.' }),
  struck: z.int().meta({ description: 'How many have failed.' }),
  errno: ErrnoName,
}).meta({ id: 'Fault', description: 'A failure that is armed.' });

export const SweepResult = strict({
  point: FaultPoint,
  nth: z.int().meta({ description: 'Which pass through the point was refused, from 1 on.' }),
  errno: ErrnoName,
  struck: z.int().nullable().meta({ description: 'The request in which it struck, from 0 on.' }),
  outcome: z.enum(['absorbed', 'refused', 'hazard', 'device-lost', 'panic']).meta({
    description:
      '`absorbed`: no request was refused; `refused`: some were that would not have been; `device-lost`: a device stays out of reach until the next reboot.',
  }),
  refused: z
    .array(strict({ request: z.int(), errno: ErrnoName, why: z.string() }))
    .meta({ description: 'Requests that are refused, and would not have been.' }),
  hazards: z.array(HazardName).meta({ description: 'Hazards that would not have been raised.' }),
  unreachable: z.array(Bdf).meta({ description: 'Devices that nobody can reach before the next reboot.' }),
  panic: nullableText.meta({ description: 'Why the next kernel stops.' }),
  broken: nullableText.meta({
    description:
      'What in the simulated kernel does not agree with the rest of it, such as a frame of nobody, then or when all processes have ended; null: nothing, as it has to be.',
  }),
  explained: z.string().meta({ description: 'What has come of it, in a sentence.' }),
}).meta({ id: 'SweepResult' }) satisfies z.ZodType<SweepOutcome>;

export const Sweep = strict({
  points: z
    .array(strict({ point: FaultPoint, passes: z.int() }))
    .meta({ description: 'Fault points that the requests pass, and how often.' }),
  runs: z.array(SweepResult),
}).meta({ id: 'Sweep', description: 'What each failure that is possible leads to.' });

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
