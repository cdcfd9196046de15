/**
 * Hazards: what no errno tells, and what a real machine would tell by lost or corrupted data. A closed list: each has a name
 * that stays, what happened, the rule of the design behind it, and what to do. The events, the answers, GET /v1/hazards and
 * docs/hazards.md read this one source.
 */
import { type EventFields, FIELDS } from './event-fields.ts';
import { both } from './faces.ts';

export type HazardSeverity = 'warning' | 'error';

interface HazardShape {
  /** `warning`: nothing is lost; `error`: DMA has ended, memory is lost or somebody else's, or something is out of reach. */
  readonly severity: HazardSeverity;
  /** When it is raised. */
  readonly about: string;
  /** What to do, in both faces of the API. */
  readonly advice: string;
  /** The rule of the design, where one is behind it always. */
  readonly rule?: string;
  readonly data: EventFields;
}

const { bdf, group, domain, session, driver, errno } = FIELDS;
const iova = { type: 'hex', about: 'The first IOVA that this is true of.' } as const;
const bytes = { type: 'hex', about: 'How many bytes this is true of.' } as const;
const frame = { type: 'integer', about: 'Number of the 4 KiB frame.' } as const;

export const HAZARDS = {
  'device-left-behind': {
    severity: 'error',
    about:
      'A kexec has ended the DMA of a device that a program was using: the device was not handed over, or its domain was not.',
    advice: `Before the next kexec preserve in one session, in this order: the memory (memfds), the iommufd with its HWPT marked (${both('markHwpt')}), the cdev (${both('preserve')}). One that came out of a session has to be adopted and moved to a HWPT of this kernel first. GET …/preflight tells what is missing.`,
    data: {
      bdf,
      pid: { type: 'integer', nullable: true, about: 'The process that had it open; null: none had.' },
      why: {
        type: 'text',
        values: ['no-session', 'not-adopted', 'plain-kexec', 'no-liveupdate', 'not-taken'],
        about:
          '`no-session`: its cdev was in no session; `not-adopted`: it came from the kernel before, and nobody has adopted it; `plain-kexec`: nothing is handed over by one; `no-liveupdate`: the kernel has no Live Update Orchestrator; `not-taken`: it was handed over, and the next kernel has not taken it.',
      },
    },
  },
  'session-lost': {
    severity: 'error',
    about:
      'A session of the kernel before was not finished before a kexec: it does not travel on, and what was in it is gone.',
    advice: `Retrieve it (${both('retrieveSession')}), and what is in it, finish it (${both('finish')}), and preserve in a new session what the next kernel needs, before the next kexec.`,
    rule: 'R24',
    data: { session },
  },
  'session-stuck': {
    severity: 'error',
    about: 'A session was closed and cannot finish: nobody can reach it any more in this kernel.',
    advice: `Keep the descriptor of a retrieved session open until FINISH (${both('finish')}) has succeeded, in an agent that outlives the VMM if need be. What is in it comes back with no reboot: devices keep their domains until then.`,
    rule: 'R4',
    data: { session },
  },
  'never-adopted': {
    severity: 'error',
    about:
      'Nobody can adopt a restored device any more in this kernel: it keeps its domain, out of reach, until the next reboot.',
    advice: `Reboot, and in the next update bind vfio-pci (${both('bindDriver')}) before the cdev is retrieved (${both('retrieve')}), and bind it to its iommufd (${both('bindIommufd')}) before the session is finished or closed.`,
    rule: 'R3',
    data: {
      bdf,
      why: {
        type: 'text',
        values: ['finished', 'retrieve-failed', 'session-stuck', 'session-failed', 'liveupdate-off'],
        optional: true,
        about:
          '`finished`: its session was; `retrieve-failed`: that of its cdev or its iommufd has, which is final; `session-stuck`: its session was closed; `session-failed`: this kernel cannot read its session; `liveupdate-off`: it is booted without `kho` or `liveupdate`.',
      },
    },
  },
  'removed-before-adopted': {
    severity: 'error',
    about: 'A restored device was removed before it was adopted: its DMA has ended for good.',
    advice: 'Adopt a device (BIND of its retrieved cdev) before it is unplugged, or wait with the removal.',
    rule: 'R1',
    data: { bdf, id: domain },
  },
  'domain-dropped': {
    severity: 'error',
    about: 'A domain that was handed over is freed, as none of the devices that could have adopted it is there.',
    advice: `Put the cdev of each device of a marked HWPT into the session (${both('preserve')}), and do not unplug it during the update.`,
    rule: 'R1',
    data: { id: domain },
  },
  'memory-lost-under-domain': {
    severity: 'error',
    about: 'Memory was freed, or never preserved, that a restored domain maps: devices go on using it.',
    advice: `Seal memfds (F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW) before they are mapped, preserve them, and retrieve them before FINISH. Now: move the device to another HWPT (${both('attach')}) and destroy the restored one.`,
    rule: 'R20',
    data: { id: domain },
  },
  'stray-write': {
    severity: 'error',
    about: 'A device has written into a frame that nobody owns.',
    advice: `Its domain maps memory that was freed. Move it to a HWPT over memory that is there (${both('attach')}), or detach it.`,
    data: { bdf, frame },
  },
  'foreign-write': {
    severity: 'error',
    about: 'A device has written into a frame that belongs to somebody else by now.',
    advice: `Somebody else’s memory is corrupted on a real machine. Move the device to a HWPT over memory that is its own (${both('attach')}), or detach it; preserve memory before the next update.`,
    data: {
      bdf,
      frame,
      owner: { type: 'text', about: 'What it is used for now, such as `page-table` or `memfd`.' },
    },
  },
  'replace-window': {
    severity: 'warning',
    about:
      'Without the policy `hitlessReplace`: DMA of the group was refused for a moment while its domain was replaced.',
    advice:
      'Stop the device before the replacement, or use hardware (policy `hitlessReplace`) that replaces without a gap.',
    rule: 'R12',
    data: { group },
  },
  'incomplete-hot-swap': {
    severity: 'error',
    about: 'A device has moved from a restored HWPT to one that maps less: the rest faults from now on.',
    advice: `Map all of the guest’s memory in the new IOAS first (${both('mapFile')}): GET …/devices/{bdf}/translation shows what the device has. Now: map what is missing; it does not fault any more then.`,
    rule: 'R12',
    data: { bdf, iova, bytes },
  },
  'other-memory-hot-swap': {
    severity: 'error',
    about: 'A device has moved from a restored HWPT to one that maps other memory at the same IOVAs.',
    advice: `Map the retrieved memfd, not a new one, with the same offsets (${both('mapFile')}). Now: attach it to a HWPT that does, and copy what was written meanwhile.`,
    rule: 'R12',
    data: { bdf, iova, bytes },
  },
  'probe-refused': {
    severity: 'warning',
    about:
      'A driver that is built into the kernel was refused a function, as the restored domain of its group is attached.',
    advice:
      'Bind vfio-pci and adopt the device; the driver can have it after the cdev is closed. Or leave the driver out of `boot.builtinDrivers` of the next kernel.',
    rule: 'R5',
    data: { bdf, driver, errno },
  },
  'handover-ignored': {
    severity: 'error',
    about: 'A kernel has booted that does not take over what was handed over, or not all of it, and says nothing.',
    advice:
      'Boot a kernel that knows the handover: with `kho` and `liveupdate`, of the profile `persisted-domains` if domains are in it, and of the same ABI. GET …/preflight with the next kernel tells before.',
    rule: 'R23',
    data: {
      why: {
        type: 'text',
        values: ['abi', 'liveupdate-off', 'profile'],
        about:
          '`abi`: it knows another version of the handover only; `liveupdate-off`: it is booted without `kho` or `liveupdate`; `profile`: a kernel of its profile knows no domains.',
      },
    },
  },
} as const satisfies Readonly<Record<string, HazardShape>>;

export type Hazard = keyof typeof HAZARDS;

export const HAZARD_NAMES = Object.keys(HAZARDS) as Hazard[];
