/**
 * What a host takes: about how many bytes of memory, of every object that can be reached from it, and how many of what
 * there can be many of. Nearly all of a large host is in typed arrays, of which there are few, so even that takes a
 * fraction of a millisecond.
 */
import { AreaTable } from '../kernel/iommufd/areas/area-table.ts';
import { AddressSpace } from '../kernel/mm/address-space.ts';
import { Process } from '../kernel/process.ts';

export interface HostUse {
  /** Bytes of memory, about. */
  memory: number;
  /** Those of them that are not in typed arrays: garbage collection looks at them again and again. */
  objects: number;
  /** Mappings of all IOASes, and of the memory of all processes. */
  mappings: number;
  /** Open descriptors of all processes. */
  descriptors: number;
}

/** What V8 takes for an object, a slot of it, an entry of a map or set, and a typed array beside its bytes. */
const OBJECT = 32;
const SLOT = 8;
const ENTRY = 32;
const TYPED_ARRAY = 160;

/** Objects, and items of lists, that are looked at in one step. */
const STEP = 4096;

/** In steps, between which the host must not change. What is frozen is shared with other hosts, and not counted. */
export function* footprint(host: object): Generator<void, HostUse> {
  const seen = new Set<object>([host]);
  const pending: object[] = [host];
  let bytes = 0;
  let inArrays = 0;
  let mappings = 0;
  let descriptors = 0;
  const add = (value: unknown): void => {
    if (typeof value === 'string') bytes += value.length;
    if (typeof value !== 'object' || value === null || seen.has(value) || Object.isFrozen(value)) return;
    seen.add(value);
    pending.push(value);
  };
  /** Counts a plain object without others in it, of which there may be many, and only one list has it. */
  const addRecord = (value: unknown): boolean => {
    if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return false;
    if (Object.getPrototypeOf(value) !== Object.prototype) return false;
    let all = OBJECT;
    for (const key in value) {
      const field = (value as Record<string, unknown>)[key];
      if (typeof field === 'object' && field !== null) return false;
      all += SLOT + (typeof field === 'string' ? field.length : 0);
    }
    bytes += all;
    return true;
  };
  for (let left = STEP; pending.length > 0; left--) {
    if (left <= 0) {
      left = STEP;
      yield;
    }
    const object = pending.pop()!;
    if (ArrayBuffer.isView(object)) {
      bytes += TYPED_ARRAY;
      inArrays += object.byteLength;
    } else if (Array.isArray(object)) {
      bytes += OBJECT + SLOT * object.length;
      for (const item of object) {
        if (left-- <= 0) {
          left = STEP;
          yield;
        }
        if (!addRecord(item)) add(item);
      }
    } else if (object instanceof Map) {
      bytes += OBJECT + ENTRY * object.size;
      for (const [key, value] of object) {
        if (left-- <= 0) {
          left = STEP;
          yield;
        }
        add(key);
        add(value);
      }
    } else if (object instanceof Set) {
      bytes += OBJECT + ENTRY * object.size;
      for (const item of object) add(item);
    } else {
      if (object instanceof AreaTable) mappings += object.size;
      else if (object instanceof AddressSpace) mappings += object.mappings.length;
      else if (object instanceof Process) descriptors += object.descriptors.size;
      bytes += OBJECT;
      for (const value of Object.values(object)) {
        bytes += SLOT;
        add(value);
      }
    }
  }
  return { memory: bytes + inArrays, objects: bytes, mappings, descriptors };
}
