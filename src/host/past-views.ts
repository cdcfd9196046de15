/** What is told of what a host has done and was, and of what would come of commands on copies of it: plain data. */

/** Which pass through which fault point is refused. */
export interface SweepRun {
  point: string;
  /** From 1 on. */
  nth: number;
}

/** What comes of commands where nothing fails: what a sweep compares with. */
export interface SweepPlan {
  /** Fault points that are passed, and how often. */
  points: readonly { point: string; passes: number }[];
  refusals: readonly ({ errno: string; why: string } | null)[];
  hazards: readonly string[];
}

export interface SweepOutcome extends SweepRun {
  errno: string;
  /** The request in which it struck, from 0 on; null: in none. */
  struck: number | null;
  /**
   * `absorbed`: nobody has noticed; `refused`: requests were refused that would not have been; `hazard`; `device-lost`: a device
   * stays out of reach until the next reboot; `panic`.
   */
  outcome: 'absorbed' | 'refused' | 'hazard' | 'device-lost' | 'panic';
  refused: readonly { request: number; errno: string; why: string }[];
  /** Hazards that would not have been raised. */
  hazards: readonly string[];
  unreachable: readonly string[];
  panic: string | null;
  /**
   * What in the simulated kernel does not agree with the rest of it, such as a frame of nobody, then or when all processes have
   * ended; null: nothing, as it has to be.
   */
  broken: string | null;
}

/** A name for what a host was. */
export interface SnapshotView {
  name: string;
  /** The command that has given it, behind which the host was so. */
  sequence: number;
  /** Number of the kernel that ran. */
  kernel: number;
  /** Simulated nanoseconds, decimal. */
  time: string;
}

/** A command of a host, as its journal has it. */
export interface HistoryItem {
  sequence: number;
  op: string;
  /** As it was given, without the bytes that came with it. */
  command: object;
  /** Bytes that came with it. */
  payload: number;
  /** What it was answered, and how many events it has caused; where that was asked for. */
  answer?: unknown;
  events?: number;
}

export interface HistoryView {
  items: readonly HistoryItem[];
  nextPageToken: string | null;
}

export interface Change {
  /** Of what has changed, as a JSON pointer. */
  path: string;
  change: 'added' | 'removed' | 'changed';
  from?: unknown;
  to?: unknown;
}

/** What has changed on a host between two of its commands. */
export interface DiffView {
  from: number;
  to: number;
  /** A page of them. */
  changes: readonly Change[];
  nextPageToken: string | null;
}
