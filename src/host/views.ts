/** What queries return: plain data. Addresses and byte counts are hexadecimal strings. */
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
  files: {
    token: string;
    handler: string;
    state: 'preserved' | 'waiting' | 'retrieved' | 'failed';
    errno: string | null;
  }[];
}

export interface DescriptorView {
  fd: number;
  kind: string;
  link: string;
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
  /** Which pass from now on fails; 1: the next one. */
  nth: number;
  errno: string;
}
