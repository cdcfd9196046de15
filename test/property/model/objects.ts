/** What an iommufd of the model holds. Users of an object are counted by looking who uses it. */
import { Failure, type Range } from './base.ts';
import type { Domain, Format, Ioas } from './ioas.ts';
import type { Inode } from './memory.ts';

export interface Unit {
  kind: 'generic' | 'intel-vtd';
  formats: readonly [Format, Format | null];
  dirtyTracking: boolean;
  nesting: boolean;
  hwInfo: { type: number; data: Uint8Array };
}

export interface PciFunction {
  bdf: string;
  group: number;
  cdev: string;
  dirtyTracking: boolean;
  /** What the unit and the function itself reserve. */
  reserved: readonly Range[];
}

export interface IoasObject {
  type: 'ioas';
  space: Ioas;
  /** Oldest first. */
  hwpts: Hwpt[];
}

export interface Hwpt {
  type: 'hwpt';
  ioas: IoasObject;
  domain: Domain;
  auto: boolean;
  nestParent: boolean;
}

export interface Device {
  type: 'device';
  fn: PciFunction;
}

export type IommufdObject = IoasObject | Hwpt | Device;

/** What the devices of a group are attached to. */
export interface Attachment {
  hwpt: Hwpt;
  devices: Device[];
}

export interface Iommufd {
  kind: 'iommufd';
  objects: Map<number, IommufdObject>;
  attachments: Map<number, Attachment>;
  vfioIoas: IoasObject | null;
  /** RLIMIT_MODE. */
  perProcess: boolean;
}

export interface Cdev {
  kind: 'cdev';
  fn: PciFunction;
  bound: { context: Iommufd; device: Device } | null;
}

export interface Memfd {
  kind: 'memfd';
  inode: Inode;
}

export type OpenFile = Iommufd | Cdev | Memfd | { kind: 'null' };

export function addObject(context: Iommufd, object: IommufdObject): number {
  let id = 1;
  while (context.objects.has(id)) id++;
  context.objects.set(id, object);
  return id;
}

export function idOf(context: Iommufd, object: IommufdObject): number {
  for (const [id, other] of context.objects) if (other === object) return id;
  throw new Error('the object is in the table');
}

export function users(context: Iommufd, object: IommufdObject): number {
  if (object.type === 'ioas') return object.hwpts.length;
  if (object.type === 'device') return 1;
  return [...context.attachments.values()]
    .filter(({ hwpt }) => hwpt === object)
    .reduce((sum, { devices }) => sum + devices.length, 0);
}

export function findIoas(context: Iommufd, id: number): IoasObject {
  const object = context.objects.get(id);
  if (object?.type !== 'ioas') throw new Failure('ENOENT');
  return object;
}

export function findHwpt(context: Iommufd, id: number): Hwpt {
  const object = context.objects.get(id);
  if (object?.type !== 'hwpt') throw new Failure('ENOENT');
  return object;
}

export function findDevice(context: Iommufd, id: number): Device {
  const object = context.objects.get(id);
  if (object?.type !== 'device') throw new Failure('ENOENT');
  return object;
}

/** Takes an object out of its iommufd and undoes what it did. */
export function destroyObject(context: Iommufd, object: IommufdObject): void {
  context.objects.delete(idOf(context, object));
  if (object.type === 'ioas') {
    object.space.destroy();
    if (context.vfioIoas === object) context.vfioIoas = null;
  } else if (object.type === 'hwpt') {
    object.ioas.hwpts = object.ioas.hwpts.filter((other) => other !== object);
    object.ioas.space.removeDomain(object.domain);
  }
}
