/**
 * The object table of an iommufd context (drivers/iommu/iommufd/main.c): one id space for all types, the lowest free
 * id first. An object gets its id while it is invisible (`reserve`), is built, and becomes visible in a step that cannot
 * fail (`commit`), or never (`abort`).
 */
import { assert, type Refusal, refuse } from '../errno.ts';
import { NumberTable } from '../number-table.ts';
import { TakenNumbers } from '../taken-numbers.ts';

export type ObjectType =
  | 'ioas'
  | 'device'
  | 'hwpt-paging'
  | 'hwpt-nested'
  | 'fault'
  | 'viommu'
  | 'vdevice'
  | 'veventq'
  | 'hw-queue'
  | 'access';

export abstract class IommufdObject {
  abstract readonly type: ObjectType;
  id = 0;
  private _users = 0;
  /** Undoes what the object holds; called when nothing uses it any more. */
  abstract destroy(): void;

  /** How many use it besides its own existence; IOMMU_DESTROY answers EBUSY while anybody does. */
  get users(): number {
    return this._users;
  }

  /** Somebody, or each of several, uses it from now on. */
  hold(users = 1): void {
    this._users += users;
  }

  /** Ends what as many calls of `hold` began. */
  drop(users = 1): void {
    assert(this._users >= users, 'an object is dropped by those who hold it');
    this._users -= users;
  }
}

/** Largest id: 31 bits. */
const MAX_ID = 0x7fffffff;

export class ObjectTable {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = { _taken: () => null };

  /** Null: reserved, or a tombstone. */
  private readonly _objects = new NumberTable<IommufdObject | null>();
  private _lowestFree = 1;
  /** The ids of `_objects`; null: not asked for yet. */
  private _taken: TakenNumbers | null = null;

  /** Objects by id, ascending, without reserved ids. */
  *visible(): Generator<IommufdObject> {
    for (const object of this._objects.values()) if (object) yield object;
  }

  /** Ids that are taken, those of tombstones too. */
  get ids(): Iterable<number> {
    return this._objects.keys();
  }

  /** No id below this one is free. */
  get lowestFree(): number {
    return this._lowestFree;
  }

  /** Whether there is nothing, not even a tombstone. */
  get empty(): boolean {
    return this._objects.size === 0;
  }

  reserve(): number {
    this._taken ??= new TakenNumbers(this._objects.keys());
    const id = this._taken.firstFree(this._lowestFree);
    assert(id <= MAX_ID, 'object ids are left');
    this._lowestFree = id + 1;
    this._taken.take(id);
    this._objects.set(id, null);
    return id;
  }

  commit<T extends IommufdObject>(id: number, object: T): T {
    assert(this._objects.get(id) === null, 'a reserved id is committed');
    object.id = id;
    this._objects.set(id, object);
    return object;
  }

  abort(id: number): void {
    this.remove(id);
  }

  /** Frees an id. */
  remove(id: number): void {
    this._objects.delete(id);
    this._taken?.give(id);
    this._lowestFree = Math.min(this._lowestFree, id);
  }

  /** The id is never given again: it reads as absent and cannot be destroyed. */
  tombstone(id: number): void {
    this._objects.set(id, null);
  }

  get(id: number): IommufdObject | undefined {
    return this._objects.get(id) ?? undefined;
  }

  /** The object of this type, or ENOENT: absent, of another type, unfinished. */
  lookup<T extends IommufdObject>(id: number, kind: abstract new (...args: never[]) => T, what: string): T | Refusal {
    const object = this.get(id);
    return object instanceof kind
      ? object
      : refuse(
          'ENOENT',
          'iommufd_get_object',
          `object ${id} of this iommufd is ${object ? `a ${object.type}, not ${what}` : 'not there'}`,
        );
  }
}
