/** What a kernel can do (profile), where designs differ (policies), and how it was started (boot options). */

export const PROFILES = ['persisted-domains', 'linux-7.3'] as const;
export type Profile = (typeof PROFILES)[number];

/** Values of each policy, the default first. They matter in the profile `persisted-domains` only. */
export const POLICY_VALUES = {
  finish: ['adopted', 'strict', 'ignore'],
  gate: ['claim', 'open'],
  markAutoHwpt: ['refuse', 'allow'],
  freezeRestoredMemfd: [true, false],
  hitlessReplace: [true, false],
  vfioFreezeResets: [false, true],
  virtualFunctions: ['refuse', 'allow'],
} as const;

export interface Policies {
  finish: 'adopted' | 'strict' | 'ignore';
  gate: 'claim' | 'open';
  markAutoHwpt: 'refuse' | 'allow';
  freezeRestoredMemfd: boolean;
  hitlessReplace: boolean;
  vfioFreezeResets: boolean;
  virtualFunctions: 'refuse' | 'allow';
}

export const DEFAULT_POLICIES: Policies = {
  finish: 'adopted',
  gate: 'claim',
  markAutoHwpt: 'refuse',
  freezeRestoredMemfd: true,
  hitlessReplace: true,
  vfioFreezeResets: false,
  virtualFunctions: 'refuse',
};

export interface BootOptions {
  /** `kho=`: kexec handover. */
  kho: boolean;
  /** `liveupdate=`: the Live Update Orchestrator. */
  liveupdate: boolean;
  /** Drivers built into the kernel; they probe the functions they fit at every boot. */
  builtinDrivers: string[];
  /** `iommufd.allow_unsafe_interrupts=`: VFIO may do without interrupt remapping. Absent: not. */
  allowUnsafeInterrupts?: boolean;
}

export const DEFAULT_BOOT: BootOptions = { kho: true, liveupdate: true, builtinDrivers: [] };
