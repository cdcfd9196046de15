/** What a sequence is made of. A step is numbers; what they mean depends on what is there when its turn comes. */

import type { Iommufd, PciFunction } from './model/objects.ts';
import type { Call, Model } from './model.ts';
import type { Picks } from './picks.ts';

export type Action =
  | { kind: 'call'; pid: number; call: Call }
  | { kind: 'dma'; fn: PciFunction; op: 'read' | 'write'; iova: bigint; data: Uint8Array }
  | { kind: 'reserve'; pid: number; fd: number; ioas: number; start: bigint; length: bigint }
  | { kind: 'exit'; pid: number }
  | { kind: 'start' }
  /** The whole state is compared. */
  | { kind: 'compare' };

export type Maker = (model: Model, picks: Picks) => Action;

export const hex = (value: bigint): string => `0x${value.toString(16)}`;
export const BAD_FD = 777;
export const BAD_ID = 9999;

export const call = (pid: number, name: string, parameters: Record<string, unknown>): Action => ({
  kind: 'call',
  pid,
  call: { call: name, ...parameters },
});

export function anyPid(model: Model, picks: Picks): number {
  return picks.one([...model.processes.keys()]);
}

export interface Descriptor<T> {
  pid: number;
  fd: number;
  file: T;
}

/** Descriptors of one kind, in all processes. */
export function descriptors<K extends 'iommufd' | 'cdev' | 'memfd' | 'null'>(
  model: Model,
  kind: K,
): Descriptor<Extract<NonNullable<ReturnType<typeof fileOf>>, { kind: K }>>[] {
  const found: Descriptor<Extract<NonNullable<ReturnType<typeof fileOf>>, { kind: K }>>[] = [];
  for (const [pid, process] of model.processes)
    for (const [fd, file] of process.descriptors)
      if (file.kind === kind) found.push({ pid, fd, file: file as (typeof found)[number]['file'] });
  return found;
}

function fileOf(model: Model, pid: number, fd: number) {
  return model.processes.get(pid)?.descriptors.get(fd);
}

/** An iommufd to ask, now and then something else. */
export function anyIommufd(model: Model, picks: Picks): Descriptor<Iommufd | null> {
  const all = descriptors(model, 'iommufd');
  if (all.length > 0 && !picks.rarely(40)) return picks.one(all);
  const pid = anyPid(model, picks);
  return { pid, fd: BAD_FD, file: null };
}

/** The id of an object of this type, now and then another one or none. */
export function anyId(context: Iommufd | null, picks: Picks, type: 'ioas' | 'hwpt' | 'device'): number {
  const ids = [...(context?.objects ?? [])];
  const wanted = ids.filter(([, object]) => object.type === type).map(([id]) => id);
  return picks.mostly(wanted, 20, [...ids.map(([id]) => id), BAD_ID, 0, 0x7fffffff]);
}
