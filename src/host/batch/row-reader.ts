/** Reads operations, or runs of them, from JSON into columns. */

import { MAP_FIXED_IOVA, MAP_READABLE, MAP_WRITEABLE } from '../../kernel/uapi/iommufd.ts';
import { UMAX } from '../../machine/address.ts';
import { type Columns, MAP_FILE, Numbers, OP_BITS, Words } from './columns.ts';
import { FIELD, FIELDS, type Field, OP_NAMES, OPERATION, OPS, type Row, RUN, type Wrong, wrongWith } from './fields.ts';
import { CLOSE_BRACE, CLOSE_BRACKET, type JsonReader, OPEN_BRACE, Token } from './json-reader.ts';

const NAMES = FIELDS.map((name) => new Token(name));

const maskOf = (fields: readonly Field[]): number =>
  fields.reduce((mask, field) => mask | (1 << FIELDS.indexOf(field)), 0);
const ALLOWED = OPERATION.allowed.map(maskOf);
const REQUIRED = OPERATION.required.map(maskOf);

export class RowReader {
  readonly columns: Columns;
  readonly wrong: Wrong[] = [];
  private readonly _reader: JsonReader;
  /** JSON pointer of the list, and the number of the next element. */
  private readonly _pointer: string;
  index: number;
  /** The fields of the operation before this one, in their order, and its name: the next one is likely to be alike. */
  private readonly _order: number[] = [];
  private _op = 0;

  constructor(reader: JsonReader, runs: boolean, pointer: string, index = 0) {
    this._reader = reader;
    this._pointer = pointer;
    this.index = index;
    const rows = 16 + Math.floor((reader.end - reader.at) / 64);
    this.columns = {
      rows: 0,
      kind: new Numbers(rows),
      iova: new Words(rows),
      length: new Words(rows),
      start: new Words(rows),
      fd: new Numbers(rows),
      runs: runs ? { count: new Numbers(rows), stride: new Words(rows), startStride: new Words(rows) } : null,
      operations: 0,
    };
  }

  /** Reads `pause` more elements of the list (true), or to its end (false). */
  readList(pause: number): boolean {
    for (const until = this.index + pause; ; ) {
      this.readOne();
      if (!this._reader.more(CLOSE_BRACKET)) return false;
      if (this.index >= until) return true;
    }
  }

  /** Reads the next value, which should be an operation or a run. */
  readOne(): void {
    const { at } = this._reader;
    if (this.columns.runs !== null || !this._readUsual()) {
      this._reader.at = at;
      this._readAny(`${this._pointer}/${this.index}`);
    }
    this.index++;
  }

  /** Reads an operation in its usual form; otherwise false, and no column has changed. */
  private _readUsual(): boolean {
    const reader = this._reader;
    if (!reader.take(OPEN_BRACE)) return false;
    const order = this._order;
    let seen = 0;
    let op = 0;
    let fd = 0;
    let access = MAP_READABLE | MAP_WRITEABLE;
    let iovaHigh = 0;
    let iovaLow = 0;
    let lengthHigh = 0;
    let lengthLow = 0;
    let startHigh = 0;
    let startLow = 0;
    let position = 0;
    do {
      let field = order[position]!;
      if (position >= order.length || !reader.takeToken(NAMES[field]!)) {
        field = this._otherName();
        if (field < 0) return false;
        order[position] = field;
      }
      position++;
      if ((seen >>> field) & 1 || !reader.takeColon()) return false;
      seen |= 1 << field;
      switch (field) {
        case FIELD.op:
          if (!reader.takeToken(OP_NAMES[this._op]!) && !this._otherOp()) return false;
          op = this._op;
          break;
        case FIELD.iova:
          if (!reader.word64()) return false;
          iovaHigh = reader.high;
          iovaLow = reader.low;
          break;
        case FIELD.length:
          if (!reader.word64()) return false;
          lengthHigh = reader.high;
          lengthLow = reader.low;
          break;
        case FIELD.userVa:
        case FIELD.start:
          if (!reader.word64()) return false;
          startHigh = reader.high;
          startLow = reader.low;
          break;
        case FIELD.fd:
          fd = reader.takeInteger();
          if (fd < 0) return false;
          break;
        case FIELD.readable:
        case FIELD.writeable: {
          const value = reader.takeBoolean();
          if (value < 0) return false;
          if (value === 0) access &= ~(field === FIELD.readable ? MAP_READABLE : MAP_WRITEABLE);
          break;
        }
        default:
          return false;
      }
    } while (reader.takeComma());
    if (!reader.take(CLOSE_BRACE)) return false;
    if (seen & ~ALLOWED[op]! || (seen & REQUIRED[op]!) !== REQUIRED[op]!) return false;
    const { columns } = this;
    const fixed = (seen >>> FIELD.iova) & 1 ? MAP_FIXED_IOVA : 0;
    columns.kind.push(op | ((access | fixed) << OP_BITS));
    columns.iova.push(iovaHigh, iovaLow);
    columns.length.push(lengthHigh, lengthLow);
    columns.start.push(startHigh, startLow);
    columns.fd.push(fd);
    columns.rows++;
    columns.operations++;
    return true;
  }

  private _otherName(): number {
    return NAMES.findIndex((name) => this._reader.takeToken(name));
  }

  private _otherOp(): boolean {
    const op = OP_NAMES.findIndex((name) => this._reader.takeToken(name));
    if (op >= 0) this._op = op;
    return op >= 0;
  }

  private _readAny(pointer: string): void {
    const value = this._reader.value();
    const shape = this.columns.runs ? RUN : OPERATION;
    const found = wrongWith(value, shape, pointer);
    if (found.length === 0) this._push(value as Row, pointer);
    this.wrong.push(...found);
  }

  private _push(row: Row, pointer: string): void {
    const { columns } = this;
    const op = OPS.indexOf(row.op as (typeof OPS)[number]);
    const number = (field: Field): bigint => BigInt(row[field] ?? 0);
    const fixed = row.iova === undefined ? 0 : MAP_FIXED_IOVA;
    const access = (row.readable === false ? 0 : MAP_READABLE) | (row.writeable === false ? 0 : MAP_WRITEABLE);
    columns.kind.push(op | ((fixed | access) << OP_BITS));
    const [start, startStride] =
      op === MAP_FILE ? (['start', 'startStride'] as const) : (['userVa', 'userVaStride'] as const);
    columns.iova.pushBig(number('iova'));
    columns.length.pushBig(number('length'));
    columns.start.pushBig(number(start));
    columns.fd.push(Number(row.fd ?? 0));
    columns.rows++;
    if (!columns.runs) {
      columns.operations++;
      return;
    }
    const count = Number(row.count);
    const stride = number(row.stride === undefined ? 'length' : 'stride');
    const further = row[startStride] === undefined ? stride : number(startStride);
    columns.runs.count.push(count);
    columns.runs.stride.pushBig(stride);
    columns.runs.startStride.pushBig(further);
    columns.operations += count;
    const steps = BigInt(count - 1);
    if (number('iova') + steps * stride > UMAX || number(start) + steps * further > UMAX)
      this.wrong.push({ pointer: `${pointer}/count`, reason: 'the last of them would begin beyond 64 bits' });
  }
}
