/**
 * What a kernel and its hardware tell the log of their host: a closed list of kinds, each with its severity and the data
 * that it carries. The types of `emit`, the schemas of the HTTP face and docs/events.md read this one source.
 */
import { FAULT_REASONS } from '../machine/iommu-unit.ts';
import type { Errno } from './errno.ts';
import { type EventField, type EventFields, type EventVariants, FIELDS } from './event-fields.ts';
import { FAULT_POINT_NAMES } from './faults.ts';
import { HAZARDS, type Hazard } from './hazards.ts';

/** From the least to the most severe. */
export const SEVERITIES = ['info', 'notice', 'warning', 'error'] as const;
export type Severity = (typeof SEVERITIES)[number];

interface EventShape {
  readonly severity: Severity;
  /** When it is emitted. */
  readonly about: string;
  readonly data: EventFields;
  /** Where the data has other fields for each value of one of them: that one, and the fields by its value. */
  readonly variants?: { readonly by: string; readonly about: string; readonly of: EventVariants };
}

const { bdf, group, driver, domain, hwpt, session, handler, token, errno } = FIELDS;

const DOMAIN_KINDS = ['default', 'identity', 'blocked', 'paging', 'nested'] as const;
const FILE = { session, token, handler } as const;
const engine = { type: 'integer', about: 'Id of the engine.' } as const;
const iova = { type: 'hex', about: 'The first IOVA of it.' } as const;
const state = {
  type: 'text',
  values: ['running', 'kdump', 'panic', 'kexec'],
  optional: true,
  about: 'In which state the host is.',
} as const;
const bytes = { type: 'hex', about: 'How many bytes it is.' } as const;

export const EVENTS = {
  boot: {
    severity: 'info',
    about: 'A kernel has booted; its built-in drivers probe next.',
    data: {
      profile: { type: 'text', about: 'Profile of the kernel.' },
      handover: { type: 'flag', about: 'Whether it has taken over what the kernel before preserved.' },
      liveupdate: { type: 'flag', about: 'Whether it has a Live Update Orchestrator.' },
    },
  },
  copy: {
    severity: 'info',
    about: 'The host was made of another one, as that was behind one of its commands.',
    data: {
      of: { type: 'text', about: 'Id of the other one.' },
      sequence: { type: 'integer', about: 'The command, counted from 1 on; 0: none.' },
      state,
    },
  },
  restored: {
    severity: 'notice',
    about: 'The host is again what it was when a named snapshot was taken.',
    data: {
      name: { type: 'text', about: 'Name of the snapshot.' },
      sequence: { type: 'integer', about: 'The command behind which it was so.' },
      state,
    },
  },
  'boot.cold': {
    severity: 'warning',
    about: 'A kernel that does not know the format of the handover boots without it.',
    data: {},
  },
  kexec: {
    severity: 'notice',
    about: 'A kernel ends for the next one: nothing could refuse the freeze any more.',
    data: {
      mode: { type: 'text', values: ['live-update', 'plain'], about: '`plain` hands nothing over.' },
      sessions: { type: 'integer', optional: true, about: 'How many sessions are handed over.' },
      files: { type: 'integer', optional: true, about: 'How many files in them.' },
      devices: { type: 'integer', optional: true, about: 'How many devices go on running.' },
      leftBehind: {
        type: 'integer',
        optional: true,
        about: 'How many devices lose their DMA: a hazard tells of each.',
      },
    },
  },
  panic: {
    severity: 'error',
    about: 'A kernel stops at boot, since it cannot use what was handed over. Only a reset helps.',
    data: { reason: { type: 'text', about: 'Why, in a sentence.' }, errno },
  },
  crash: { severity: 'error', about: 'The kernel crashes; the crash kernel boots next.', data: {} },
  reset: { severity: 'notice', about: 'The power of the host is cycled.', data: {} },
  'power-loss': {
    severity: 'error',
    about: 'The machine loses power between freeze and boot (fault point `kexec.power-loss`): nothing is handed over.',
    data: {},
  },
  'process.exit': {
    severity: 'info',
    about: 'A process has ended, and all that it had open is closed.',
    data: { pid: { type: 'integer', about: 'Number of the process.' } },
  },
  'pci.add': {
    severity: 'info',
    about: 'A function was plugged in.',
    data: {
      bdf,
      group: { type: 'integer', nullable: true, about: 'Its IOMMU group; null where the host has no IOMMU.' },
    },
  },
  'pci.remove': { severity: 'info', about: 'A function is gone.', data: { bdf } },
  'pci.reset': {
    severity: 'notice',
    about: 'A function was reset.',
    data: {
      bdf,
      why: {
        type: 'text',
        values: ['VFIO_DEVICE_RESET', 'VFIO_DEVICE_PCI_HOT_RESET', 'FLR', 'open', 'close', 'freeze', 'sysfs'],
        about: 'What asked for it.',
      },
    },
  },
  'pci.interrupt': { severity: 'info', about: 'A device has written to the interrupt window.', data: { bdf } },
  'driver.bind': { severity: 'info', about: 'A driver has taken a function.', data: { bdf, driver } },
  'driver.probe': {
    severity: 'error',
    about: 'The probe of a function by a driver has failed.',
    data: { bdf, driver, errno },
  },
  'driver.unbinding': {
    severity: 'notice',
    about: 'An unbind or a removal waits until the files of the VFIO device are closed.',
    data: { bdf, driver },
  },
  'driver.unbind': { severity: 'info', about: 'A driver has let go of a function.', data: { bdf, driver } },
  'iommu.attach': {
    severity: 'info',
    about: 'The domain that translates the DMA of a function is another one.',
    data: {
      bdf,
      group,
      from: { type: 'text', values: DOMAIN_KINDS, about: 'Kind of the domain before.' },
      domain: { type: 'text', values: DOMAIN_KINDS, about: 'Kind of the domain now.' },
      id: { type: 'integer', nullable: true, about: 'Its domain id, if it is of kind `paging`.' },
    },
  },
  'iommu.free': {
    severity: 'info',
    about: 'A domain is freed, with its page table.',
    data: { id: domain, restored: { type: 'flag', about: 'Whether it came from the kernel before.' } },
  },
  'vfio.bind': {
    severity: 'info',
    about: 'A VFIO device is bound to an iommufd.',
    data: { bdf, device: { type: 'integer', about: 'Id of the device in the iommufd.' } },
  },
  'vfio.interrupt': {
    severity: 'info',
    about: 'A VFIO device raises an interrupt, or one that was pending is unmasked.',
    data: {
      bdf,
      type: { type: 'text', values: ['intx', 'msi', 'msix'], about: 'What kind of interrupt it is.' },
      vector: { type: 'integer', about: 'Number of the vector; 0 for INTx.' },
      delivered: { type: 'flag', about: 'Whether an eventfd was signalled.' },
      pending: { type: 'flag', about: 'Whether it is kept until it is unmasked.' },
    },
  },
  'vfio.preserve': { severity: 'info', about: 'A VFIO device is to be handed over.', data: { bdf } },
  'luo.session': { severity: 'info', about: 'A session was created or retrieved.', data: { session } },
  'luo.preserve': { severity: 'info', about: 'A file was put into a session.', data: FILE },
  'luo.unpreserve': { severity: 'info', about: 'A session was closed before the kexec: its file stays.', data: FILE },
  'luo.freeze': { severity: 'info', about: 'A file of a session is frozen for the kexec.', data: FILE },
  'luo.unfreeze': {
    severity: 'notice',
    about: 'The freeze of another file has failed: this one is as it was before.',
    data: FILE,
  },
  'luo.retrieve': { severity: 'info', about: 'A file was taken out of a session for the first time.', data: FILE },
  'luo.finish': { severity: 'info', about: 'A file of a session is finished: it is like any other now.', data: FILE },
  'luo.failed': {
    severity: 'error',
    about: 'A session cannot be read, as this kernel has no handler for one of its files.',
    data: { session, handler },
  },
  'luo.stuck': {
    severity: 'error',
    about: 'A session was closed but cannot finish: it is out of reach until the next reboot.',
    data: { session },
  },
  'restore.device': {
    severity: 'info',
    about: 'At boot: a device stays on the domain that the kernel before has left it.',
    data: { bdf, id: domain },
  },
  'restore.dropped': {
    severity: 'warning',
    about: 'A domain that was handed over is freed, as none of the devices that could have been adopted is there.',
    data: { id: domain },
  },
  'restore.adopted': {
    severity: 'info',
    about: 'A restored device is bound to its iommufd, still on its restored domain.',
    data: { bdf, hwpt, id: domain },
  },
  'restore.swapped': {
    severity: 'info',
    about: 'A device moves from a restored HWPT to another one.',
    data: { bdf, from: { type: 'integer', about: 'Id of the restored HWPT.' }, hwpt },
  },
  'dma.fault': {
    severity: 'warning',
    about: 'The IOMMU has refused an access of a device.',
    data: {
      bdf,
      reason: { type: 'text', values: FAULT_REASONS, about: 'Why, in a word.' },
      op: { type: 'text', values: ['read', 'write'], about: 'What the device tried.' },
      iova: { type: 'hex', about: 'The first address that was refused.' },
    },
  },
  'engine.gap': {
    severity: 'warning',
    about: 'The accesses of an engine of a device to part of its working set are refused from now on.',
    data: { engine, bdf, iova, bytes },
  },
  'engine.resumed': {
    severity: 'notice',
    about: 'An engine reaches part of its working set again.',
    data: { engine, bdf, iova, bytes },
  },
  'engine.moved': {
    severity: 'notice',
    about: 'Part of the working set of an engine leads to other memory than before.',
    data: { engine, bdf, iova, bytes },
  },
  'engine.stopped': {
    severity: 'notice',
    about: 'An engine of a device has ended.',
    data: {
      engine,
      bdf,
      why: {
        type: 'text',
        values: ['asked', 'reset', 'removed', 'power-cycle', 'quiesced'],
        about: '`reset`: of its function; `quiesced`: its driver has stopped the device, as drivers do at a reboot.',
      },
    },
  },
  hazard: {
    // At most: each has its own.
    severity: 'error',
    about: 'Something has gone wrong that no errno tells.',
    data: {},
    variants: { by: 'hazard', about: 'Which hazard it is.', of: HAZARDS },
  },
  'fault.injected': {
    severity: 'notice',
    about: 'A fault that was armed has struck.',
    data: {
      fault: { type: 'integer', about: 'Id of the armed fault.' },
      point: { type: 'text', values: FAULT_POINT_NAMES, about: 'Its fault point.' },
      errno,
    },
  },
} as const satisfies Record<string, EventShape>;

export type EventKind = keyof typeof EVENTS;

export const EVENT_KINDS = Object.keys(EVENTS) as EventKind[];

type Plain<Field extends EventField> = Field extends { values: readonly (infer Text)[] }
  ? Text
  : { bdf: string; text: string; hex: string; errno: Errno; integer: number; flag: boolean }[Field['type']];

type Value<Field extends EventField> = Field extends { nullable: true } ? Plain<Field> | null : Plain<Field>;

type Values<Fields extends EventFields> = { -readonly [Name in keyof Fields]: Value<Fields[Name]> };

type HazardData = {
  [Name in keyof typeof HAZARDS]: { hazard: Name } & Values<(typeof HAZARDS)[Name]['data']>;
}[keyof typeof HAZARDS];

/** What an event of the kind carries, without the rule. */
export type EventDataOf<Kind extends EventKind> = Kind extends 'hazard'
  ? HazardData
  : Values<(typeof EVENTS)[Kind]['data']>;

/** What an event carries, with the rule of the design behind it where there is one. */
export type EventData = Record<string, string | number | boolean | null>;

export interface EventSink {
  /** `rule`: the rule of the design behind it, where there is one. */
  emit<Kind extends EventKind>(kind: Kind, message: string, data: EventDataOf<Kind>, rule?: string): void;
}

/** How severe an event is: of a hazard that says which one it is. */
export function severityOf(kind: EventKind, { hazard }: EventData): Severity {
  if (kind !== 'hazard' || !Object.hasOwn(HAZARDS, String(hazard))) return EVENTS[kind].severity;
  return HAZARDS[hazard as Hazard].severity;
}
