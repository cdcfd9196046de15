/** Executes a batch, operation by operation, each exactly as its ioctl would be. */

import { ERRNO, type Errno, type Refusal } from '../../kernel/errno.ts';
import type { Faults } from '../../kernel/faults.ts';
import {
  accessOf,
  checkMap,
  mapFile,
  mapUser,
  mapUserPages,
  unmap,
  unmapPages,
} from '../../kernel/iommufd/io-pagetable/mapping.ts';
import type { Account } from '../../kernel/iommufd/io-pagetable/pages.ts';
import { type Span, span } from '../../kernel/iommufd/io-pagetable/span.ts';
import { accountOf, type Ioas } from '../../kernel/iommufd/ioas.ts';
import type { Process } from '../../kernel/process.ts';
import { MAP_FIXED_IOVA } from '../../kernel/uapi/iommufd.ts';
import { MAX_BATCH_ERRORS } from '../../limits.ts';
import { hex, hexOf, PAGE_SIZE, WORD } from '../../machine/address.ts';
import { Alike } from './alike.ts';
import { type Columns, MAP, MAP_FILE, OP_BITS, OP_MASK, UNMAP, Words } from './columns.ts';
import type { BatchOptions } from './decode.ts';
import { ReadAhead } from './read-ahead.ts';

/** Fewer operations than this are not done at once: it would not pay. */
const FEW = 8;
const MOST_PATIENCE = 64;

export interface BatchError {
  /** Number of the operation in the batch, from 0. */
  index: number;
  errno: Errno;
  where: string;
  why: string;
  rule?: string;
  /** The fault that was armed and has struck. */
  fault?: number;
}

/** Where an operation mapped, how much it unmapped, or why it was refused; null if it was not tried, or was undone. */
export type BatchResult = { iova: string } | { length: string } | { errno: Errno } | null;

export interface BatchView {
  /** Operations that took effect, that were refused, and that were not tried. */
  applied: number;
  failed: number;
  skipped: number;
  /** Bytes of all maps, and of all unmaps, that took effect. */
  mappedBytes: string;
  unmappedBytes: string;
  /** The first MAX_BATCH_ERRORS of those that were refused. */
  errors: BatchError[];
}

/** A number of bytes as words; the low one may be large for a while. */
interface Bytes {
  high: number;
  low: number;
}

export class BatchExecution {
  private readonly _ioas: Ioas;
  private readonly _account: Account;
  private readonly _faults: Faults;
  private readonly _columns: Columns;
  private readonly _options: BatchOptions;
  private readonly _base: number;
  /** The next operation: its number, its row, and, in a run, its place there. */
  private _index = 0;
  private _row = 0;
  private _place = 0;
  private _ended = false;
  /** The next operation's kind, descriptor and addresses. */
  private _kind = 0;
  private _fd = 0;
  private readonly _at: Span = span(0n, 0n, 0n);
  private readonly _alike = new Alike();
  private readonly _readAhead: ReadAhead;
  /**
   * How many operations are done singly before several are tried at once again, and how many after the next failed try.
   */
  private _patience = 0;
  private _impatience = 1;
  /** The next operation is an unmap that a step has begun and not finished. */
  private _paused = false;
  private _applied = 0;
  private _failed = 0;
  private readonly _errors: BatchError[] = [];
  private readonly _results: { values: Words; outcomes: Uint8Array } | null;
  private readonly _counted: Bytes = { high: 0, low: 0 };
  private readonly _mapped: Bytes = { high: 0, low: 0 };
  private readonly _unmapped: Bytes = { high: 0, low: 0 };
  private _checksum = 0x811c9dc5 | 0;

  /** `base`: how many operations came before, for the numbers in `errors`. */
  constructor(ioas: Ioas, process: Process, columns: Columns, options: BatchOptions, base: number) {
    this._ioas = ioas;
    this._account = accountOf(ioas.context, process);
    this._faults = ioas.context.kernel.faults;
    this._columns = columns;
    this._options = options;
    this._base = base;
    this._readAhead = new ReadAhead(ioas.iopt, columns);
    const { operations } = columns;
    this._results = options.results
      ? { values: new Words(Math.max(1, operations)), outcomes: new Uint8Array(operations) }
      : null;
  }

  /** Whether something was done that must be undone (`rollback`): whoever keeps the host builds it anew. */
  get mustUndo(): boolean {
    if (this._options.onError !== 'rollback' || this._failed === 0) return false;
    return this._applied > 0 || this._unmapped.high > 0 || this._unmapped.low > 0;
  }

  /** Differs, but for a chance, if any operation had another outcome: a replay must give the same. */
  get checksum(): number {
    return this._checksum >>> 0;
  }

  /** Executes about `operations` more operations, or fewer large ones. True: nothing is left to do. */
  step(operations: number): boolean {
    const { runs, rows } = this._columns;
    for (let left = operations; left > 0 && this._row < rows && !this._ended; ) {
      if (runs === null) {
        this._readAhead.before(this._row);
        this._enter(this._row);
      } else this._enterOfRun(runs);
      const cost = costOf(this._at);
      const done = this._paused ? 0 : this._performMany(Math.ceil(left / cost));
      // An unmap of very many areas goes on in the next step.
      if (done === 0 && !this._perform(left)) break;
      left -= Math.max(1, done) * cost;
      this._advance(Math.max(1, done));
    }
    normalize(this._mapped);
    normalize(this._unmapped);
    return this._ended || this._row >= rows;
  }

  private _advance(operations: number): void {
    const { runs } = this._columns;
    this._index += operations;
    if (runs === null) {
      this._row += operations;
      return;
    }
    this._place += operations;
    if (this._place < runs.count.data[this._row]!) return;
    this._place = 0;
    this._row++;
  }

  private _enter(row: number): void {
    const { kind, iova, length, start, fd } = this._columns;
    const at = this._at;
    this._kind = kind.data[kind.rows === 1 ? 0 : row]!;
    this._fd = fd.data[fd.rows === 1 ? 0 : row]!;
    const ofIova = iova.rows === 1 ? 0 : row * 2;
    at.iovaHigh = iova.data[ofIova]!;
    at.iovaLow = iova.data[ofIova + 1]!;
    const ofLength = length.rows === 1 ? 0 : row * 2;
    at.lengthHigh = length.data[ofLength]!;
    at.lengthLow = length.data[ofLength + 1]!;
    const ofStart = start.rows === 1 ? 0 : row * 2;
    at.startHigh = start.data[ofStart]!;
    at.startLow = start.data[ofStart + 1]!;
  }

  private _enterOfRun({ stride, startStride }: NonNullable<Columns['runs']>): void {
    const row = this._row;
    this._enter(row);
    const fixed = (this._kind >>> OP_BITS) & MAP_FIXED_IOVA;
    const at = this._at;
    if (this._place === 0) return;
    if (fixed || (this._kind & OP_MASK) === UNMAP) {
      const iova = further(at.iovaHigh, at.iovaLow, stride, row, this._place);
      at.iovaHigh = iova.high;
      at.iovaLow = iova.low;
    }
    const start = further(at.startHigh, at.startLow, startStride, row, this._place);
    at.startHigh = start.high;
    at.startLow = start.low;
  }

  /**
   * Does up to `most` operations at once, if they are alike and none is refused. Returns how many were done; 0 if none
   * could be.
   */
  private _performMany(most: number): number {
    if (this._patience > 0) {
      this._patience--;
      return 0;
    }
    const op = this._kind & OP_MASK;
    const flags = this._kind >>> OP_BITS;
    if (op === MAP_FILE || (op === MAP && !(flags & MAP_FIXED_IOVA))) return 0;
    // One of them is to be refused.
    if (op === MAP && this._faults.isArmed('ioas.map')) return 0;
    const count = Math.min(most, this._alike.end(this._columns, this._row, this._place));
    if (count < FEW) return this._giveUp();
    const { stride, startStride } = this._alike;
    const { iopt } = this._ioas;
    const done =
      op === MAP
        ? mapUserPages(iopt, this._at, accessOf(flags), this._account, count, stride, startStride)
        : unmapPages(iopt, this._at, count, stride);
    if (done === 0) return this._giveUp();
    this._impatience = 1;
    this._noteMany(op, done, stride);
    return done;
  }

  /** What hinders this operation is likely to hinder the next ones: they are done one by one for a while. Returns 0. */
  private _giveUp(): number {
    this._patience = this._impatience;
    this._impatience = Math.min(this._impatience * 2, MOST_PATIENCE);
    return 0;
  }

  private _noteMany(op: number, done: number, stride: number): void {
    const { lengthHigh, lengthLow } = this._at;
    const bytes = op === MAP ? this._mapped : this._unmapped;
    bytes.high += lengthHigh * done;
    bytes.low += lengthLow * done;
    this._applied += done;
    if (op === UNMAP) for (let some = 0; some < done; some++) this._mix(lengthHigh * 31 + lengthLow);
    if (!this._results) return;
    const { values, outcomes } = this._results;
    const { iovaHigh, iovaLow } = this._at;
    outcomes.fill(op === MAP ? MAPPED : UNMAPPED, this._index, this._index + done);
    for (let some = 0; some < done; some++) {
      const low = iovaLow + some * stride * PAGE_SIZE;
      if (op === MAP) values.push(iovaHigh + Math.floor(low / WORD), low % WORD);
      else values.push(lengthHigh, lengthLow);
    }
  }

  /** Does the next operation. False: an unmap is not done after about `most` areas, and this is to be called again. */
  private _perform(most: number): boolean {
    const at = this._at;
    const { iopt } = this._ioas;
    const op = this._kind & OP_MASK;
    let refusal: Refusal | null;
    if (op === UNMAP) {
      const counted = this._counted;
      if (!this._paused) {
        counted.high = 0;
        counted.low = 0;
      }
      const outcome = unmap(iopt, at, counted, most);
      normalize(counted);
      this._paused = outcome === 'more';
      if (outcome === 'more') return false;
      refusal = outcome;
      this._unmapped.high += counted.high;
      this._unmapped.low += counted.low;
      this._mix(counted.high * 31 + counted.low);
    } else {
      const flags = this._kind >>> OP_BITS;
      const fixed = (flags & MAP_FIXED_IOVA) !== 0;
      if (op === MAP)
        refusal =
          checkMap('iommufd_ioas_map', flags, at) ??
          mapUser(iopt, at, fixed, accessOf(flags), this._account, this._faults);
      else
        refusal =
          checkMap('iommufd_ioas_map_file', flags, at) ??
          mapFile(iopt, at, fixed, accessOf(flags), this._account, this._fd, this._faults);
      if (refusal === null) {
        this._mapped.high += at.lengthHigh;
        this._mapped.low += at.lengthLow;
        if (!fixed) this._mix(at.iovaHigh * 31 + at.iovaLow);
      }
    }
    if (refusal !== null) this._refused(refusal);
    else {
      this._applied++;
      if (this._results) this._note(op);
    }
    return true;
  }

  private _mix(value: number): void {
    this._checksum = Math.imul(this._checksum ^ value, 0x01000193);
  }

  private _note(op: number): void {
    const { values, outcomes } = this._results!;
    outcomes[this._index] = op === UNMAP ? UNMAPPED : MAPPED;
    if (op === UNMAP) values.pushBig((BigInt(this._counted.high) << 32n) + BigInt(this._counted.low));
    else values.push(this._at.iovaHigh, this._at.iovaLow);
  }

  private _refused({ errno, where, why, rule, fault }: Refusal): void {
    this._failed++;
    this._mix(ERRNO[errno]);
    if (this._errors.length < MAX_BATCH_ERRORS)
      this._errors.push({
        index: this._base + this._index,
        errno,
        where,
        why,
        ...(rule !== undefined && { rule }),
        ...(fault !== undefined && { fault }),
      });
    if (this._results) {
      this._results.outcomes[this._index] = ERRNO[errno];
      this._results.values.push(0, 0);
    }
    if (this._options.onError !== 'continue') this._ended = true;
  }

  view(): BatchView {
    const undone = this._options.onError === 'rollback' && this._failed > 0;
    const applied = undone ? 0 : this._applied;
    return {
      applied,
      failed: this._failed,
      skipped: this._columns.operations - applied - this._failed,
      mappedBytes: bytesAsHex(undone ? ZERO : this._mapped),
      unmappedBytes: bytesAsHex(undone ? ZERO : this._unmapped),
      errors: this._errors,
    };
  }

  /** The outcome of each operation; null if the batch did not ask for them. */
  results(): BatchResult[] | null {
    if (!this._results) return null;
    const { values, outcomes } = this._results;
    const undone = this._options.onError === 'rollback' && this._failed > 0;
    return Array.from(outcomes, (outcome, index) => {
      if (outcome === SKIPPED) return null;
      if (outcome !== MAPPED && outcome !== UNMAPPED) return { errno: NAMES[outcome]! };
      if (undone) return null;
      const value = hex(values.big(index));
      return outcome === UNMAPPED ? { length: value } : { iova: value };
    });
  }
}

/** What a large operation takes, as so many small ones: its pages may be small, and each has an entry in a table. */
const costOf = ({ lengthHigh, lengthLow }: Span): number => 1 + lengthHigh * 2 ** 12 + (lengthLow >>> 20);

/** Outcomes of operations; any other number is that of an errno, which are all smaller. */
const SKIPPED = 0;
const MAPPED = 254;
const UNMAPPED = 255;

/** A start and `place` strides, as words. The sum has 64 bits at the most, and `place` 24. */
function further(high: number, low: number, { data }: Words, row: number, place: number): Bytes {
  const stride = data[row * 2 + 1]!;
  const upper = place * (stride >>> 16);
  const sum = low + place * (stride & 0xffff) + (upper % 0x10000) * 0x10000;
  const carry = Math.floor(upper / 0x10000) + Math.floor(sum / WORD);
  return { high: high + place * data[row * 2]! + carry, low: sum % WORD };
}

const ZERO: Bytes = { high: 0, low: 0 };

/** Errnos by number. */
const NAMES: Record<number, Errno> = Object.fromEntries(
  Object.entries(ERRNO).map(([name, number]) => [number, name as Errno]),
);

function normalize(bytes: Bytes): void {
  bytes.high += Math.floor(bytes.low / WORD);
  bytes.low -= Math.floor(bytes.low / WORD) * WORD;
}

const bytesAsHex = ({ high, low }: Bytes): string => hexOf(high, low);
