/** The sources of an IOAS: found by number, for areas, and by what they are, so that equal ones are one. */
import type { OpenFile } from '../../file.ts';
import type { Process } from '../../process.ts';
import { type Account, type Origin, type SharedPages, Source } from './pages.ts';

export class SourceList {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = { _last: () => null };

  private readonly _byNumber: (Source | null)[] = [];
  private readonly _free: number[] = [];
  /** Listed sources, by the process or file that they are of, or by their shared pages. */
  private readonly _byOrigin = new Map<Process | OpenFile | SharedPages, Source[]>();

  /** The source that `ofProcess` found last, as long as an area shows it. */
  private _last: Source | null = null;

  *[Symbol.iterator](): Generator<Source> {
    for (const source of this._byNumber) if (source) yield source;
  }

  /** How many numbers there are, and which of them are given next. */
  get numbers(): number {
    return this._byNumber.length;
  }
  get free(): readonly number[] {
    return this._free;
  }

  /** Sources by what they are of. */
  get byOrigin(): ReadonlyMap<object, readonly Source[]> {
    return this._byOrigin;
  }

  at(number: number): Source {
    return this._byNumber[number]!;
  }

  /** The source for memory of the account's process. Most maps want the source of the map before. */
  ofProcess(writable: boolean, account: Account): Source {
    const last = this._last;
    if (last !== null && last.writable === writable && sameAccount(last.account, account)) return last;
    const found = this.find({ kind: 'user', process: account.process }, writable, account);
    if (found.number >= 0) this._last = found;
    return found;
  }

  /** The source for memory that is mapped now. A new one is not listed until an area shows it (`number`). */
  find(origin: Origin, writable: boolean, account: Account): Source {
    const known = this._byOrigin.get(originKey(origin));
    for (const source of known ?? [])
      if (source.writable === writable && sameOrigin(source.origin, origin) && sameAccount(source.account, account))
        return source;
    return new Source(origin, writable, account, null);
  }

  /** The source for pages that areas share. */
  forShared(shared: SharedPages): Source {
    const known = this._byOrigin.get(shared)?.[0];
    return known ?? new Source(shared.origin, shared.writable, shared.account, shared);
  }

  /** Returns the number of a source. With its first area it is listed, and holds its file. */
  number(source: Source): number {
    if (source.number >= 0) return source.number;
    const number = this._free.pop() ?? this._byNumber.length;
    this._byNumber[number] = source;
    source.number = number;
    const key = source.shared ?? originKey(source.origin);
    const others = this._byOrigin.get(key);
    if (others) others.push(source);
    else this._byOrigin.set(key, [source]);
    if (source.origin.kind === 'file') source.origin.file.get();
    return number;
  }

  /** Takes a source that no area shows any more off the list, and drops its file. */
  remove(source: Source): void {
    this._byNumber[source.number] = null;
    this._free.push(source.number);
    source.number = -1;
    if (this._last === source) this._last = null;
    const key = source.shared ?? originKey(source.origin);
    const others = this._byOrigin.get(key)!.filter((other) => other !== source);
    if (others.length > 0) this._byOrigin.set(key, others);
    else this._byOrigin.delete(key);
    if (source.origin.kind === 'file') source.origin.file.put();
  }
}

const originKey = (origin: Origin): Process | OpenFile => (origin.kind === 'user' ? origin.process : origin.file);

function sameOrigin(a: Origin, b: Origin): boolean {
  return a.kind === 'user' || (b.kind === 'file' && a.sealedAtMap === b.sealedAtMap);
}

const sameAccount = (a: Account, b: Account): boolean =>
  a.mode === b.mode && a.process === b.process && a.uid === b.uid && a.counter === b.counter;
