/** What queries return: plain data. Addresses and byte counts are hexadecimal strings. */
import type { Errno } from '../kernel/errno.ts';
import type { EventData, EventKind, Severity } from '../kernel/events.ts';
import type { BootOptions, Policies, Profile } from '../kernel/policies.ts';
import type { ConfigSpec, IommuKind, Sriov } from '../machine/spec.ts';

export interface HostView {
  /**
   * `running`; `kdump` after a crash (the crash kernel, without live update); `panic`: the kernel has stopped, only a
   * reset helps; `kexec`: frozen, the next kernel has not booted yet.
   */
  state: 'running' | 'kdump' | 'panic' | 'kexec';
  /** Why the kernel stopped, in state `panic`. */
  panic: string | null;
  /** Number of the kernel that runs: 1 for the first, then one more with every boot. */
  kernel: number;
  profile: Profile;
  policies: Policies;
  boot: BootOptions;
  /** The counter of live updates that LUO hands over: 0 after a cold boot. */
  liveupdateNumber: number;
  /** Kexecs with a handover since the last cold boot. */
  kexecCount: number;
  memory: {
    total: string;
    free: string;
    /** Bytes preserved for the next kernel. */
    preserved: string;
    /** Bytes handed over by the previous kernel that nobody has restored yet. */
    reserved: string;
    /** Bytes by owner: `memfd`, `anonymous`, `page-table`, … */
    owners: Record<string, string>;
  };
  /** Simulated nanoseconds since the host was made, decimal. */
  time: string;
}

export interface DeviceView {
  bdf: string;
  name: string | null;
  vendor: string | null;
  device: string | null;
  class: string | null;
  /** Group and unit are null where the host has no IOMMU. */
  group: number | null;
  iommu: string | null;
  iommuKind: IommuKind | null;
  driver: string | null;
  /** The driver will be unbound when the last descriptor is closed. */
  unbinding: boolean;
  /** `/dev/vfio/devices/vfioN`, or null. */
  cdev: string | null;
  /** Who owns its DMA: a kernel driver, the restored state, an iommufd (or a legacy group). */
  owner: 'kernel' | 'luo' | 'iommufd' | null;
  /** State of a persisted domain: luo mode, adopted, swapped, blocked, none. */
  state: 'L' | 'A' | 'S' | 'X' | 'N';
  domain: {
    /** `none`: the host has no IOMMU, and DMA goes to memory as it is. */
    kind: 'default' | 'identity' | 'blocked' | 'paging' | 'nested' | 'none';
    id: number | null;
    restored: boolean;
  };
  preserved: boolean;
  /** Where it stands in a session of this kernel, or of the one before as long as that is not finished; null: in none. */
  liveupdate: DeviceLiveupdate | null;
  interruptsEnabled: boolean;
  /** Whether it can be reset, as its description says; the same as `canReset`. */
  reset: boolean;
  canReset: boolean;
  resets: number;
  sriov: Sriov;
  /** The physical function of a virtual one; null: unknown, or it is none. */
  physicalFunction: string | null;
  /** The function whose requester id its DMA carries; null: its own. */
  realDmaDevice: string | null;
}

export interface DeviceLiveupdate {
  session: string;
  /** Of its cdev in the session. */
  token: string;
  /** Of its HWPT; null: it is on none that is marked. */
  hwptToken: string | null;
}

/** What a file in a session is: one of the three. */
export interface PreservedFile {
  /** Of a cdev. */
  device: string | null;
  /** Of a memfd, in bytes. */
  size: string | null;
  /** Of an iommufd: its marked HWPTs, and their domains. */
  hwpts: readonly { token: string; domain: number }[] | null;
}

/** What has become of the DMA of an engine. */
export interface EngineView {
  id: number;
  bdf: string;
  access: 'read' | 'write' | 'both';
  ranges: readonly { iova: string; length: string }[];
  /** In a second of simulated time, decimal. */
  bytesPerSecond: string;
  /** Simulated nanoseconds, decimal, as all times here. */
  since: string;
  /** Now, or when it ended. */
  until: string;
  stopped: 'asked' | 'reset' | 'removed' | 'power-cycle' | 'quiesced' | null;
  /** Pages of 4 KiB of its working set. */
  pages: number;
  /** Those of them that were reached at any time, and led to the same memory all the time. */
  continuousPages: number;
  /** All pages are continuous. */
  continuous: boolean;
  /** Accesses of a page so far, and those of them that were refused, decimal. */
  accesses: string;
  refused: string;
  /** Pages that could not be reached, and from when until when; `until` null: they cannot now. */
  gaps: readonly { since: string; until: string | null; iova: string; pages: number; refused: string }[];
  /** Pages that led to other memory from then on. */
  moved: readonly { at: string; iova: string; pages: number }[];
  /** Pages whose memory was freed under them. */
  freed: readonly { at: string; iova: string; pages: number }[];
  /** Pages that lead to memory which somebody else was given. */
  reused: readonly { at: string; iova: string; pages: number }[];
  more?: { gaps: number; moved: number; freed: number; reused: number };
}

/** What a kexec has handed over, and what has become of it in the kernel that runs now. */
export interface HandoverView {
  mode: 'live-update' | 'plain';
  /** Whether this kernel has taken anything over. */
  taken: boolean;
  /** Simulated nanoseconds without a kernel. */
  blackout: string;
  /** The first ones of each, those first of which something was kept or lost. */
  devices: readonly HandedOverDevice[];
  sessions: readonly { name: string; files: number }[];
  files: readonly HandedOverFile[];
  domains: readonly { id: number; kept: boolean; devices: readonly string[] }[];
  /** How many there are besides. */
  more?: { devices: number; sessions: number; files: number; domains: number };
}

export interface HandedOverDevice {
  bdf: string;
  /**
   * `kept`: it has gone on running; `lost`: its DMA, or who could adopt it, is gone; `quiesced`: its driver has stopped it,
   * as a driver does at a reboot; `idle`: nobody was using it.
   */
  fate: 'kept' | 'lost' | 'quiesced' | 'idle';
  /** Where it stands in the kernel that runs now; see DeviceView. */
  state: DeviceView['state'];
  /** Domain that it has gone on with; null: none. */
  domain: number | null;
  liveupdate: DeviceLiveupdate | null;
  /** Why it is lost. */
  why: string | null;
}

/** What a kexec would do now. */
export interface PreflightView {
  /** What reboot() would be refused with; null: nothing. */
  refusal: { errno: Errno; where: string; why: string; rule: string | null } | null;
  /** What would be handed over; null: nothing, as it would be refused. */
  handedOver: HandoverView | null;
  /** Why the next kernel would stop; null: it would run. */
  panic: string | null;
  /** The hazards that would be raised, the first ones. */
  hazards: readonly { message: string; data: EventData }[];
  /** What to do first, in this order, so that no device that is in use is left behind. */
  steps: readonly PreflightStep[];
  more?: { hazards: number; steps: number };
}

export interface PreflightStep {
  /** A sentence. */
  what: string;
  /** The REST operation, and the call, that do it; null: there is none for it. */
  rest: string | null;
  call: string | null;
  /** The device that it is for; null: for all. */
  bdf: string | null;
}

export interface HandedOverFile extends PreservedFile {
  session: string;
  token: string;
  handler: string;
  /** Whether it can be retrieved in this kernel. */
  kept: boolean;
}

export interface GroupView {
  group: number;
  devices: string[];
  owner: DeviceView['owner'];
  ownerCount: number;
  type: string;
  domain: DeviceView['domain'];
  reserved: { start: string; last: string; type: string }[];
}

export interface DomainView {
  /** Domain id in the IOMMU. */
  id: number;
  restored: boolean;
  preserved: boolean;
  devices: string[];
  tablePages: number;
  pageSizes: string[];
  aperture: { start: string; last: string };
}

export interface SessionView {
  name: string;
  side: 'outgoing' | 'incoming';
  /** An outgoing session is `open`; an incoming one `waiting`, `retrieved` or `stuck`. */
  state: 'open' | 'waiting' | 'retrieved' | 'stuck';
  files: SessionFileView[];
}

export interface SessionFileView extends PreservedFile {
  token: string;
  handler: string;
  state: 'preserved' | 'waiting' | 'retrieved' | 'failed';
  errno: string | null;
}

export interface DescriptorView {
  fd: number;
  kind: string;
  link: string;
  /** The session that the file is in; null: none. */
  preservedIn: string | null;
}

export interface AreaView {
  address: string;
  length: string;
  backing: 'anonymous' | 'file';
}

export interface ProcessView {
  pid: number;
  name: string;
  uid: number;
  capabilities: string[];
  /** The first ones. */
  descriptors: DescriptorView[];
  memory: AreaView[];
  lockedBytes: string;
  /** How many there are besides. */
  more?: { descriptors: number; memory: number };
}

export interface ObjectView {
  id: number;
  type: string;
  users: number;
}

export interface IommufdView {
  /** The first ones, as of the lists below. */
  objects: ObjectView[];
  ioases: number[];
  hwpts: number[];
  devices: { id: number; bdf: string; hwpt: number | null }[];
  preserved: boolean;
  restored: boolean;
  /** How many there are besides. */
  more?: { objects: number; ioases: number; hwpts: number; devices: number };
}

export interface IoasView {
  ioas: number;
  areas: number;
  bytes: string;
  alignment: string;
  hwpts: number[];
  immutable: boolean;
  allowed: { start: string; last: string }[];
  reserved: { start: string; last: string }[];
}

export interface MappingView {
  iova: string;
  length: string;
  readable: boolean;
  writeable: boolean;
  source: 'user' | 'file';
  /** Address in the process, or first byte of the file. */
  offset: string;
}

export interface HwptView {
  hwpt: number;
  type: 'paging' | 'nested';
  ioas: number | null;
  auto: boolean;
  restored: boolean;
  token: string | null;
  domain: number | null;
  devices: string[];
  dirtyTracking: boolean;
}

/** The configuration space of a function as hardware has it now, and what it is made from. */
export interface ConfigView extends Pick<ConfigSpec, 'size' | 'bars' | 'capabilities' | 'extendedCapabilities'> {
  /** All of its bytes, base64. */
  data: string;
}

/** A run of a translation, or of a process's memory: contiguous addresses and contiguous physical memory. */
export interface TranslationRun {
  address: string;
  length: string;
  physical: string;
  readable: boolean;
  writeable: boolean;
}

export interface HostEvent {
  /** `sequence` and `index`. */
  id: string;
  /** Of the command that caused it; 0: the making of the host. */
  sequence: number;
  /** Among the events of that command, from 0 on. */
  index: number;
  /** Simulated nanoseconds, decimal. */
  time: string;
  kernel: number;
  kind: EventKind;
  severity: Severity;
  message: string;
  data: EventData;
}

export interface FaultView {
  id: number;
  point: string;
  /** Which pass from now on fails; 1: the next one; null: none does any more. */
  nth: number | null;
  /** How many passes in a row are to fail yet. */
  times: number;
  /** How many have failed. */
  struck: number;
  errno: string;
}
