/**
 * What can be asked of a host: commands change it and are journaled, queries only read. Both are plain JSON data, so
 * that they can cross threads, be stored and be replayed.
 */
import type { Errno } from '../kernel/errno.ts';
import type { EventData, EventKind } from '../kernel/events.ts';
import type { BootOptions, Policies, Profile } from '../kernel/policies.ts';
import type { CallInput } from '../kernel/uapi/calls.ts';
import type { IrqType } from '../kernel/vfio/pci/irqs.ts';
import type { FunctionSpec, MachineSpec } from '../machine/spec.ts';
import type { SweepPlan, SweepRun } from './past-views.ts';

/** All that a host begins with. It is stored with the host; the journal begins after it. */
export interface HostSpec {
  machine: MachineSpec;
  profile: Profile;
  policies: Policies;
  boot: BootOptions;
}

export type { CallInput, CallResult } from '../kernel/uapi/calls.ts';

export interface DmaAccess {
  op: 'read' | 'write';
  /** Hexadecimal. */
  iova: string;
  length: number;
  /** Base64, for a write; absent: zeroes. */
  data?: string;
}

export type DmaResult =
  | { ok: true; data?: string }
  | { ok: false; fault: { reason: string; op: 'read' | 'write'; iova: string; bdf: string } };

/** How the kernel that a kexec starts differs from the running one; fields that are absent stay as they are. */
export interface NextKernel {
  khoAbi?: string;
  luoAbi?: string;
  iommuAbi?: string;
  pciAbi?: string;
  /** Compatible strings of its file handlers; absent: all. */
  handlers?: string[];
  profile?: Profile;
  boot?: Partial<BootOptions>;
}

export type KexecImage = 'loaded' | 'none' | 'loading';

export type Command =
  | { op: 'calls'; pid: number; calls: CallInput[]; stopOnError?: boolean }
  | { op: 'process.create'; name?: string; capabilities?: string[] }
  | { op: 'process.kill'; pid: number }
  | { op: 'device.add'; device: FunctionSpec }
  | { op: 'device.remove'; bdf: string }
  | { op: 'device.update'; bdf: string; interruptsEnabled: boolean }
  | { op: 'device.dma'; bdf: string; accesses: DmaAccess[] }
  | { op: 'device.flr'; bdf: string }
  /** Ranges of pages, ascending and disjoint, hexadecimal; bytes in a second of simulated time, decimal. */
  | {
      op: 'engine.start';
      bdf: string;
      access: 'read' | 'write' | 'both';
      ranges: { iova: string; length: string }[];
      bytesPerSecond: string;
    }
  /** Ends it, and forgets what it has seen. */
  | { op: 'engine.stop'; bdf: string; id: number }
  | { op: 'device.bar'; bdf: string; bar: number; offset: string; data: string }
  | { op: 'device.interrupt'; bdf: string; type: IrqType; vector: number }
  | { op: 'driver.bind'; bdf: string; driver: string }
  | { op: 'driver.unbind'; bdf: string; driver?: string }
  | { op: 'group.type'; group: number; type: string }
  | { op: 'ioas.reserve'; pid: number; fd: number; ioas: number; start: string; length: string }
  | { op: 'kexec.freeze'; mode: 'live-update' | 'plain'; image: KexecImage; kernel?: NextKernel; pid?: number }
  | { op: 'kexec.boot'; handover: string | null }
  | { op: 'crash' }
  | { op: 'reset' }
  | { op: 'clock.advance'; nanoseconds: string }
  | { op: 'fault.arm'; point: string; nth?: number; times?: number; errno?: Errno }
  | { op: 'fault.disarm'; id: number }
  /** Gives what the host is then a name. `sequence`: of this very command, which the lane knows. */
  | { op: 'snapshot.put'; name: string; sequence?: number }
  | { op: 'snapshot.delete'; name: string };

/**
 * The host is again what it was when that snapshot was taken. The lane does this: in the journal the payload is the state, of that
 * engine, as it was behind that command.
 */
export interface RestoreCommand {
  op: 'restore';
  name: string;
  sequence: number;
  engine: string;
}

export type CallsCommand = Extract<Command, { op: 'calls' }>;
export type DmaCommand = Extract<Command, { op: 'device.dma' }>;

/**
 * Maps and unmaps of one IOAS as one command. The payload, bytes that go beside the command, has the operations: as the
 * body of the request (`json`, with `onError` and `results` in it, or `lines`), or, in the journal, as `packed`
 * columns.
 */
export interface BatchCommand {
  op: 'batch';
  pid: number;
  fd: number;
  ioas: number;
  format: 'json' | 'lines' | 'packed';
  /** What a refusal does to the operations behind it, and, with `rollback`, to those before it. */
  onError?: 'stop' | 'continue' | 'rollback';
  results?: boolean;
  /** With `lines`: how many operations of the same request came before. */
  base?: number;
}

/** Which part of a list; without a limit all of it, as it is. */
export interface Paging {
  limit?: number;
  /** The token of the last item of the page before. */
  after?: string | undefined;
}

export type HostQuery =
  /** `digest`: with that of its state, which the lane adds. */
  | { view: 'host'; digest?: boolean }
  | ({ view: 'devices' } & Paging)
  | { view: 'device'; bdf: string }
  | { view: 'config'; bdf: string }
  | { view: 'translation'; bdf: string; iova: string; length: string }
  | { view: 'host-engines' }
  | { view: 'engines'; bdf: string }
  | { view: 'engine'; bdf: string; id: number }
  | { view: 'bar'; bdf: string; bar: number; offset: string; length: number }
  | ({ view: 'groups' } & Paging)
  | { view: 'group'; group: number }
  | ({ view: 'domains' } & Paging)
  | ({ view: 'sessions' } & Paging)
  | ({ view: 'processes' } & Paging)
  | { view: 'process'; pid: number }
  | ({ view: 'descriptors'; pid: number } & Paging)
  | ({ view: 'areas'; pid: number } & Paging)
  | { view: 'memory'; pid: number; address: string; length: string }
  | { view: 'iommufd'; pid: number; fd: number }
  | ({ view: 'objects'; pid: number; fd: number } & Paging)
  | { view: 'ioas'; pid: number; fd: number; ioas: number }
  | { view: 'mappings'; pid: number; fd: number; ioas: number; after?: string; limit: number }
  | { view: 'hwpt'; pid: number; fd: number; hwpt: number }
  | { view: 'faults' }
  | { view: 'snapshots' };

/** What a kexec would do now: it is done to a copy of the host, which lanes know how to make. */
export interface PreflightQuery {
  view: 'preflight';
  mode: 'live-update' | 'plain';
  kernel?: NextKernel;
}

/** What comes of commands on copies of the host: without a failure, or with one each. */
export interface SweepQuery {
  view: 'sweep';
  commands: readonly Command[];
  /** Absent: the plan is asked for. */
  runs?: readonly SweepRun[];
  plan?: SweepPlan;
}

export type Query = HostQuery | PreflightQuery | SweepQuery;

/**
 * What a host answers. `not-found`: something that the path names is not there; `refused`: by the kernel, or by the
 * state of the machine; `malformed` and `invalid`: the payload of a batch is wrong. All but `ok` have changed nothing.
 */
export type Answer = Outcome & {
  /** The hazards that it has caused, the first ones; not there where there are none. They are among its events, too. */
  hazards?: readonly CausedEvent[];
  /** Of the last command that the host has behind it then: lanes tell it. */
  sequence?: number;
};

type Outcome =
  /** On its way from a lane a large value is packed (src/threads/packed.ts). */
  | { kind: 'ok'; value: unknown }
  | { kind: 'not-found'; what: string }
  | Refused
  | { kind: 'malformed'; detail: string }
  | { kind: 'invalid'; errors: { pointer: string; reason: string }[] };

export interface Refused {
  kind: 'refused';
  errno: Errno;
  where: string;
  why: string;
  rule?: string;
  /** The fault that was armed and has struck. */
  fault?: number;
  /** If a host cannot be made: the functions whose drivers cannot be bound. The first one decides the errno. */
  functions?: { bdf: string; errno: Errno; why: string }[];
}

/** What must be stored together with a command before its answer may be given. */
export type HostRecord =
  /** The serialized state for the next kernel: JSON text, or null where nothing is handed over. */
  { kind: 'handover'; text: string | null } | { kind: 'die' };

/** What a kernel or its hardware told the log. */
export interface EmittedEvent {
  /** Simulated nanoseconds, decimal. */
  time: string;
  /** Number of the kernel that ran. */
  kernel: number;
  kind: EventKind;
  message: string;
  data: EventData;
}

/** An event with its place in the log of the host. */
export interface CausedEvent extends EmittedEvent {
  /** Of the command that caused it; 0: the making of the host. */
  sequence: number;
  /** Among the events of that command, from 0 on. */
  index: number;
}

export interface Execution {
  answer: Answer;
  records: HostRecord[];
  /** In the order in which they were emitted: they leave the host with the command that caused them. */
  events: readonly EmittedEvent[];
}
