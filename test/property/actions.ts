/** What a sequence is made of. A step is numbers; what they mean depends on what is there when its turn comes. */

import type { Iommufd, IommufdObject, PciFunction } from './model/objects.ts';
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
const BAD_ID = 9999;

export const call = (pid: number, name: string, parameters: Record<string, unknown>): Action => ({
  kind: 'call',
  pid,
  call: { call: name, ...parameters },
});

/** Mostly the first one, so that things meet. */
export function anyPid(model: Model, picks: Picks): number {
  const [first, ...others] = [...model.processes.keys()];
  return picks.mostly([first!], 4, others.length > 0 ? others : [first!]);
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

/** An iommufd to ask, one with such an object if there is any; now and then something else. */
export function anyIommufd(
  model: Model,
  picks: Picks,
  type: IommufdObject['type'] = 'ioas',
): Descriptor<Iommufd | null> {
  const all = descriptors(model, 'iommufd');
  const fitting = all.filter(({ file }) => [...file.objects.values()].some((object) => object.type === type));
  const usual = fitting.length > 0 && !picks.rarely(8) ? fitting : all;
  return picks.mostly<Descriptor<Iommufd | null>>(usual, 40, [{ pid: anyPid(model, picks), fd: BAD_FD, file: null }]);
}

/** The id of an object of this type, now and then another one or none. */
export function anyId(context: Iommufd | null, picks: Picks, type: IommufdObject['type']): number {
  const ids = [...(context?.objects ?? [])];
  const wanted = ids.filter(([, object]) => object.type === type).map(([id]) => id);
  return picks.mostly(wanted, 20, [...ids.map(([id]) => id), BAD_ID, 0, 0x7fffffff]);
}
