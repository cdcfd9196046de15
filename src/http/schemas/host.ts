/** A host: its description, in which every field has a default, and its state. */
import { z } from 'zod';
import type { NextKernel } from '../../host/command.ts';
import type { ConfigRequest } from '../../host/config-spec.ts';
import {
  type DeviceRequest,
  type HostRequest,
  type IommuRequest,
  TOPOLOGY_FORMATS,
  type TopologyNote as TopologyNoteView,
} from '../../host/host-spec.ts';
import type { HostView } from '../../host/views.ts';
import { POLICY_VALUES, PROFILES } from '../../kernel/policies.ts';
import { MAX_FUNCTIONS, MAX_UNIT_INFO } from '../../limits.ts';
import { BAR_KINDS, IOMMU_KINDS, RESERVED_TYPES, SRIOV } from '../../machine/spec.ts';
import { PRESET_NAMES } from '../../machine/topology/presets.ts';
import { DAMAGE_KINDS, MOST_COUNTED } from '../../store/store.ts';
import type { Forms } from '../openapi-form.ts';
import { ExpiresAt, Labels, ttlSeconds } from './labels.ts';
import {
  Base64,
  bdfText,
  flag,
  Hex64,
  integer,
  listOf,
  Nanoseconds,
  name,
  RangeInput,
  S32_MAX,
  strict,
  Time,
  text,
  U64,
  u32,
} from './values.ts';
import { Device } from './views.ts';

const ReservedInput = strict({ start: U64, last: U64, type: z.enum(RESERVED_TYPES) }).meta({ id: 'ReservedInput' });

const PageSizes = z.array(U64).max(52).meta({ description: 'Powers of two, ascending, the smallest at least 0x800.' });

const IommuInput = strict({
  id: name('Such as `dmar0`, which is chosen if not given.').optional(),
  kind: z.enum(IOMMU_KINDS).meta({ description: 'Units of kind intel-vtd and generic can preserve domains.' }),
  aperture: RangeInput.optional(),
  pageSizes: PageSizes.optional(),
  table1: strict({ aperture: RangeInput, pageSizes: PageSizes })
    .meta({ description: 'The other kind of page table that IOMMU_HWPT_ALLOC can ask for.' })
    .optional(),
  reserved: z.array(ReservedInput).max(256).optional(),
  dirtyTracking: z.boolean().optional(),
  nesting: flag('IOMMU_HWPT_ALLOC takes NEST_PARENT. What nests on it is there for kind generic only.').optional(),
  interruptRemapping: flag(
    'Without it VFIO refuses to bind (EPERM), unless boot has `allowUnsafeInterrupts`.',
  ).optional(),
  allowUnsafeInterrupts: flag('The same as in `boot`: the kernel is booted with it.').optional(),
  cacheCoherency: flag('Without it vfio-pci refuses the functions behind it (EINVAL).').optional(),
  defaultDomain: z.enum(['dma', 'identity', 'blocked']).optional(),
  maxPasidLog2: integer(0, 20).meta({ description: 'Width of PASIDs; 0: none.' }).optional(),
  hwInfo: strict({ type: u32(), length: integer(0, MAX_UNIT_INFO), data: Base64.optional() })
    .meta({ description: 'What IOMMU_GET_HW_INFO reports; `data` has `length` bytes.' })
    .optional(),
}).meta({ id: 'IommuInput', examples: [{ kind: 'intel-vtd' }] }) satisfies z.ZodType<IommuRequest>;

const hexDigits = text(16, 'Four hexadecimal digits.').nullable().optional();

const BarInput = strict({
  index: integer(0, 6).meta({ description: '0 to 5; 6: the expansion ROM.' }),
  kind: z.enum(BAR_KINDS),
  prefetchable: z.boolean().optional(),
  address: U64.meta({ description: 'Where the host has put it.' }).optional(),
  size: U64.meta({ description: 'Bytes, a power of two.' }),
}).meta({ id: 'BarInput', examples: [{ index: 0, kind: 'mem64', size: '0x4000' }] });

const configOffset = integer(0x40, 0xff);

const CapabilityInput = strict({
  offset: configOffset,
  id: integer(0, 0xff).meta({ description: '1 PM, 5 MSI, 9 vendor, 16 PCI Express, 17 MSI-X.' }),
  msiVectors: integer(1, 32).meta({ description: 'Of MSI: how many, a power of two.' }).optional(),
  address64: z.boolean().optional(),
  maskable: z.boolean().optional(),
  msixVectors: integer(1, 2048).meta({ description: 'Of MSI-X: how many.' }).optional(),
  tableBar: integer(0, 5).optional(),
  tableOffset: u32().optional(),
  pbaBar: integer(0, 5).optional(),
  pbaOffset: u32().optional(),
  data: Base64.meta({ description: 'Of others: the bytes behind the pointer to the next one.' }).optional(),
}).meta({ id: 'CapabilityInput' });

const ExtendedCapabilityInput = strict({
  offset: integer(0x100, 0xfff),
  id: integer(0, 0xffff),
  version: integer(0, 15),
}).meta({ id: 'ExtendedCapabilityInput' });

const ConfigInput = strict({
  size: integer(256, 4096).meta({ description: '256, or 4096 with PCI Express.' }).optional(),
  progIf: integer(0, 0xff).optional(),
  revision: integer(0, 0xff).optional(),
  subsystemVendor: text(16, 'Four hexadecimal digits.').optional(),
  subsystemDevice: text(16, 'Four hexadecimal digits.').optional(),
  interruptPin: integer(0, 4).meta({ description: '1 to 4: INTA to INTD; 0: none.' }).optional(),
  bars: z.array(BarInput).max(7).optional(),
  capabilities: z.array(CapabilityInput).max(48).meta({ description: 'In the order of their chain.' }).optional(),
  extendedCapabilities: z.array(ExtendedCapabilityInput).max(64).optional(),
  image: Base64.meta({ description: 'The bytes after boot; made from the other fields if not given.' }).optional(),
}).meta({
  id: 'ConfigInput',
  description: 'What the configuration space is made from; what is not given is as functions of the class have it.',
}) satisfies z.ZodType<ConfigRequest>;

export const DeviceInput = strict({
  bdf: bdfText('Address, `dddd:bb:dd.f`.'),
  vendor: hexDigits,
  device: hexDigits,
  class: hexDigits,
  name: text(256, 'As lspci has it.').nullable().optional(),
  group: integer(0, S32_MAX)
    .nullable()
    .meta({ description: 'IOMMU group; a group of its own if not given, none where the host has no IOMMU.' })
    .optional(),
  iommu: text(64, 'Id of the unit.').nullable().optional(),
  driver: text(64, 'The driver that is bound to it: any name, such as vfio-pci, nvme, nouveau.').nullable().optional(),
  reset: flag('Whether it can be reset: by VFIO_DEVICE_RESET, by sysfs, at open and at close.').optional(),
  ats: z.boolean().optional(),
  dirtyTracking: z.boolean().optional(),
  pasid: z.boolean().optional(),
  sriov: z.enum(SRIOV).meta({ description: '`pf`: it has virtual functions; `vf`: it is one.' }).optional(),
  physicalFunction: bdfText('Of a virtual function: address of the one that it belongs to.').nullable().optional(),
  realDmaDevice: bdfText('The function of its group whose requester id its DMA carries: behind Intel VMD.')
    .nullable()
    .optional(),
  reserved: z.array(ReservedInput).max(256).optional(),
  config: ConfigInput.optional(),
  regions: integer(0, 255).optional(),
  irqs: integer(0, 255).optional(),
}).meta({
  id: 'DeviceInput',
  description: 'A PCI function. All but its address is optional.',
  examples: [{ bdf: '0000:01:00.0', vendor: '144d', device: 'a808', class: '0108', driver: 'vfio-pci' }],
}) satisfies z.ZodType<DeviceRequest>;

const policies = {
  finish: z.enum(POLICY_VALUES.finish),
  gate: z.enum(POLICY_VALUES.gate),
  markAutoHwpt: z.enum(POLICY_VALUES.markAutoHwpt),
  freezeRestoredMemfd: z.boolean(),
  hitlessReplace: z.boolean(),
  vfioFreezeResets: z.boolean(),
  virtualFunctions: z.enum(POLICY_VALUES.virtualFunctions),
};

const Policies = strict(policies).meta({
  id: 'Policies',
  description: 'Where designs of persisted domains differ.',
});

const boot = {
  kho: flag('kho=: kexec handover.'),
  liveupdate: flag('liveupdate=: the Live Update Orchestrator.'),
  builtinDrivers: z.array(text(64, 'Name of a driver.')).max(64).meta({
    description: 'Drivers that probe the functions they fit at every boot.',
  }),
  allowUnsafeInterrupts: flag(
    'iommufd.allow_unsafe_interrupts=: VFIO does without interrupt remapping; not if not given.',
  ).optional(),
};

const BootOptions = strict(boot).meta({ id: 'BootOptions' });
const BootInput = strict({
  kho: boot.kho.optional(),
  liveupdate: boot.liveupdate.optional(),
  builtinDrivers: boot.builtinDrivers.optional(),
  allowUnsafeInterrupts: boot.allowUnsafeInterrupts,
}).meta({ id: 'BootInput', description: 'Everything that is not given is as by default.' });

const Profile = z.enum(PROFILES).meta({ id: 'Profile', description: 'What the kernel can do.' });

const DESCRIBED = ['profile', 'memory', 'iommus', 'devices', 'preset', 'topology', 'policies', 'boot'];

const FORMS: Forms = {
  HostOfPreset: {
    description: 'A host that is a machine ready to use.',
    needs: ['preset'],
    without: ['topology', 'devices', 'from', 'at'],
  },
  HostOfTopology: {
    description: 'A host as a real machine tells it.',
    needs: ['topology'],
    without: ['preset', 'from', 'at'],
  },
  HostOfDevices: {
    description: 'A host of these functions, or of none.',
    needs: [],
    without: ['preset', 'topology', 'from', 'at'],
  },
  HostOfHost: { description: 'A host as another one is or was.', needs: ['from'], without: DESCRIBED },
};

export const HostInput = strict({
  name: name('For people; the id if not given.').optional(),
  from: text(64, 'Id of a host of yours: the new one is exactly as that one is.').optional(),
  at: integer(0, S32_MAX)
    .meta({
      description:
        'Beside `from`: as that one was behind this command, a `sequence` of its events; 0: when it was made.',
    })
    .optional(),
  profile: Profile.optional(),
  memory: U64.meta({ description: 'Bytes, a multiple of 4096, 16 MiB to 64 TiB; 16 GiB if not given.' }).optional(),
  iommus: z
    .array(IommuInput)
    .max(64)
    .meta({
      description:
        'The units, one for each PCI domain at least; `[]` is a host without an IOMMU. If not given, one for each PCI domain: of the kind that the topology’s text speaks for, else `intel-vtd`.',
    })
    .optional(),
  devices: z
    .array(DeviceInput)
    .max(MAX_FUNCTIONS)
    .meta({ description: 'The functions; beside `topology` what is given here replaces what the text says, by `bdf`.' })
    .optional(),
  preset: z.enum(PRESET_NAMES).meta({ description: 'A machine that is ready to use: GET /v1/presets.' }).optional(),
  topology: strict({
    format: z
      .enum(TOPOLOGY_FORMATS)
      .meta({ description: 'Which of the two it is; if not given, the text decides.' })
      .optional(),
    text: text(3 << 20, 'The output, as it is.'),
  })
    .meta({
      description:
        'What a real machine prints: `find /sys/kernel/iommu_groups -type l`, `ls -l` of the groups or the kernel’s log; or `lspci -nn` (with `-k`, too) grouped by IOMMU group.',
    })
    .optional(),
  policies: strict({
    finish: policies.finish.optional(),
    gate: policies.gate.optional(),
    markAutoHwpt: policies.markAutoHwpt.optional(),
    freezeRestoredMemfd: policies.freezeRestoredMemfd.optional(),
    hitlessReplace: policies.hitlessReplace.optional(),
    vfioFreezeResets: policies.vfioFreezeResets.optional(),
    virtualFunctions: policies.virtualFunctions.optional(),
  })
    .meta({ id: 'PoliciesInput' })
    .optional(),
  boot: BootInput.optional(),
  labels: Labels.optional(),
  ttlSeconds: ttlSeconds.optional(),
}).meta({
  id: 'HostInput',
  description:
    'The functions are those of `preset`, of `topology` (with `devices` over them), or of `devices`. Or else all is as another host has it: `from`.',
  forms: FORMS,
}) satisfies z.ZodType<HostRequest & CopyRequest>;

/** Of which host another one is made, and behind which command. */
export interface CopyRequest {
  from?: string | undefined;
  at?: number | undefined;
}

/** How the kernel that a kexec starts differs from the one that runs. */
export const NextKernelInput = strict({
  khoAbi: text(64, 'Version of the handover that it reads.').optional(),
  luoAbi: text(64, 'Version of the sessions that it reads.').optional(),
  iommuAbi: text(64, 'Version of the preserved IOMMU state that it reads.').optional(),
  pciAbi: text(64, 'Version of the preserved PCI state that it reads.').optional(),
  handlers: z.array(text(64, 'Compatible string.')).max(64).optional().meta({
    description: 'Compatible strings of the file handlers it has; all if not given.',
  }),
  profile: Profile.optional(),
  boot: BootInput.optional(),
}).meta({ id: 'NextKernelInput' }) satisfies z.ZodType<NextKernel>;

const view = {
  state: z.enum(['running', 'kdump', 'panic', 'kexec']).meta({
    description: '`kdump`: after a crash; `panic`: only a reset helps; `kexec`: frozen, the next kernel boots.',
  }),
  panic: z.string().nullable(),
  kernel: z.int().meta({ description: 'Number of the kernel that runs, from 1 on.' }),
  profile: Profile,
  policies: Policies,
  boot: BootOptions,
  liveupdateNumber: z.int().meta({ description: 'The counter that LUO hands on.' }),
  kexecCount: z.int().meta({ description: 'Kexecs with a handover since the last cold boot.' }),
  memory: strict({
    total: Hex64,
    free: Hex64,
    preserved: Hex64.meta({ description: 'Preserved for the next kernel.' }),
    reserved: Hex64.meta({ description: 'Handed over by the previous kernel, and not restored.' }),
    owners: z.record(z.string(), Hex64).meta({ description: 'Bytes by owner.' }),
  }),
  time: Nanoseconds,
};

/** The answer of a command on the whole machine. */
export const HostState = strict(view).meta({ id: 'HostState' }) satisfies z.ZodType<HostView>;

const identity = {
  id: z.string().meta({ examples: ['h-6jx2m4vq7r3ta'] }),
  name: z.string(),
  created: Time,
  labels: Labels,
  expiresAt: ExpiresAt,
};

const diverged = strict({ sequence: z.int(), op: z.string(), why: z.string() })
  .nullable()
  .meta({ description: 'Where a replay of its journal differed; such a host can be read and deleted only.' });

const since = Time.meta({ description: 'When this service has found it.' });

export const DamageItem = {
  kind: z.enum(DAMAGE_KINDS),
  what: z.string().meta({ description: 'What is hurt, what that means, and what to do.' }),
  since,
};

const word = {
  diverged,
  damage: z
    .array(strict(DamageItem).meta({ id: 'Damage' }))
    .nullable()
    .meta({ description: 'What is stored of it and is damaged, or is gone; null: nothing that is known.' }),
  setAside: strict({ reason: z.string(), since: Time }).nullable().meta({
    description:
      'Why it is not run: it has ended the thread that ran it. Whoever asks for that has it tried again; so does the next start of the service.',
  }),
};

const digest = z
  .string()
  .regex(/^[0-9a-f]{64}$/)
  .meta({
    description:
      'SHA-256 of its state. Hosts that are the same have the same, however they came about and wherever they run, with one version of the service; what only reads does not change it.',
  });

const RunningHost = strict({ ...identity, ...word, ...view, digest }).meta({ id: 'Host' });

const HostApart = strict({
  ...identity,
  ...word,
  spec: z
    .record(z.string(), z.unknown())
    .nullable()
    .meta({ description: 'What it was made as, in the form in which it is stored; null: that is damaged.' }),
}).meta({ id: 'HostApart', description: 'A host that is not run: `setAside` or `damage` says why.' });

export const Host = z.union([RunningHost, HostApart]);

const TopologyNote = strict({
  line: z.int().nullable().meta({ description: 'Number of the line, from 1 on; null: it is of no single line.' }),
  text: z.string().nullable().meta({ description: 'The line, shortened.' }),
  what: z.string().meta({ description: 'What was passed over, or concluded.' }),
}).meta({ id: 'TopologyNote' }) satisfies z.ZodType<TopologyNoteView>;

export const CreatedHost = strict({
  ...identity,
  ...view,
  devices: z.array(Device),
  notes: z.array(TopologyNote).meta({
    description: 'What was passed over in the text of `topology`, and what was concluded from it.',
  }),
}).meta({ id: 'CreatedHost' });

const NOT_KNOWN = 'null: not known without loading it, as what told it is of an earlier version, or no longer kept.';
const HostSummary = strict({
  ...identity,
  ...word,
  state: view.state.nullable().meta({ description: `As the host has it; ${NOT_KNOWN}` }),
  kernel: view.kernel.nullable().meta({ description: `Number of the kernel that runs; ${NOT_KNOWN}` }),
  hazards: z
    .int()
    .nullable()
    .meta({
      description: `How many of its events are hazards, up to ${MOST_COUNTED}; ${NOT_KNOWN}`,
    }),
}).meta({ id: 'HostSummary' });
export const HostList = listOf('HostList', HostSummary);

export const PresetList = listOf(
  'PresetList',
  strict({ name: z.enum(PRESET_NAMES), about: z.string(), functions: z.int(), groups: z.int() }).meta({ id: 'Preset' }),
);
