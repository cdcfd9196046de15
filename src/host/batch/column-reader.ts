/** Reads a batch that is given as columns: of each field a list of values, or one value for all operations. */
import { MAP_FIXED_IOVA, MAP_READABLE, MAP_WRITEABLE } from '../../kernel/uapi/iommufd.ts';
import { type Columns, MAP, MAP_FILE, Numbers, OP_BITS, Words } from './columns.ts';
import { FIELD, isAllowed, OP_NAMES, OPERATION, OPS, RULES, reasonFor, type Wrong } from './fields.ts';
import { CLOSE_BRACKET, type JsonReader, OPEN_BRACKET } from './json-reader.ts';

export const COLUMNS = Object.keys(FIELD) as ColumnName[];
export type ColumnName = keyof typeof FIELD;

/** Fields in whose lists null stands for a value that is not given. */
export const MAY_BE_NULL: readonly ColumnName[] = ['iova', 'userVa', 'fd', 'start'];

/** One field of all operations. */
class Column {
  readonly name: ColumnName;
  readonly words: Words | null;
  /** An op by its place in OPS, a boolean as 0 or 1. */
  readonly numbers: Numbers | null;
  /** A list, as opposed to one value for all. */
  readonly isList: boolean;
  /** 1 for each row that has null. */
  private _nulls: Uint8Array | null = null;

  /** `rows`: for how many there is room at first. */
  constructor(name: ColumnName, isList: boolean, rows: number) {
    const isNumber = name === 'op' || name === 'fd' || name === 'readable' || name === 'writeable';
    this.name = name;
    this.isList = isList;
    this.words = isNumber ? null : new Words(rows);
    this.numbers = isNumber ? new Numbers(rows) : null;
  }

  get rows(): number {
    return (this.words ?? this.numbers)!.rows;
  }

  get hasNulls(): boolean {
    return this._nulls !== null;
  }

  isNull(row: number): boolean {
    return this._nulls !== null && this._nulls[row] === 1;
  }

  /** The value of a row, of a column of numbers. */
  number(row: number): number {
    return this.numbers!.data[this.isList ? row : 0]!;
  }

  /** Reads the list until there are `rows` rows (true), or to its end (false). */
  readList(reader: JsonReader, rows: number, wrong: Wrong[]): boolean {
    const { words } = this;
    for (;;) {
      if (words !== null) {
        const room = Math.min(words.reserve(), rows);
        words.rows += reader.hexadecimals(words.data, words.rows, room);
        if (this.rows >= rows) return true;
      }
      if (words !== null && reader.word64()) words.push(reader.high, reader.low);
      else this.readOne(reader, wrong);
      if (!reader.more(CLOSE_BRACKET)) return false;
      if (this.rows >= rows) return true;
    }
  }

  readOne(reader: JsonReader, wrong: Wrong[]): void {
    const usual = this.numbers ? this._usualNumber(reader) : -1;
    if (usual >= 0) {
      this.numbers!.push(usual);
      return;
    }
    const value = reader.value();
    if (value === null && this.isList && MAY_BE_NULL.includes(this.name)) this._noteNull();
    else if (isAllowed(this.name, value)) {
      if (this.words) this.words.pushBig(BigInt(value as number | string));
      else this.numbers!.push(this.name === 'op' ? OPS.indexOf(value as never) : Number(value));
      return;
    } else {
      const row = this.isList ? `/${this.rows}` : '';
      wrong.push({ pointer: `/columns/${this.name}${row}`, reason: reasonFor(this.name, value) });
    }
    if (this.words) this.words.push(0, 0);
    else this.numbers!.push(0);
  }

  private _usualNumber(reader: JsonReader): number {
    if (this.name === 'op') return OP_NAMES.findIndex((name) => reader.takeToken(name));
    return this.name === 'fd' ? reader.takeInteger() : reader.takeBoolean();
  }

  private _noteNull(): void {
    const { rows } = this;
    if (this._nulls === null || rows >= this._nulls.length) {
      const larger = new Uint8Array(Math.max(64, rows * 2));
      if (this._nulls) larger.set(this._nulls);
      this._nulls = larger;
    }
    this._nulls[rows] = 1;
  }
}

export class ColumnReader {
  readonly wrong: Wrong[] = [];
  private readonly _columns = new Map<ColumnName, Column>();
  private readonly _reader: JsonReader;

  constructor(reader: JsonReader) {
    this._reader = reader;
  }

  /** Reads the value of a column, and yields after every `pause` rows. */
  *read(name: ColumnName, pause: number): Generator<void, void> {
    const reader = this._reader;
    const isList = reader.take(OPEN_BRACKET);
    const column = new Column(name, isList, isList ? this._likelyRows() : 1);
    this._columns.set(name, column);
    if (!isList) column.readOne(reader, this.wrong);
    else if (!reader.take(CLOSE_BRACKET)) while (column.readList(reader, column.rows + pause, this.wrong)) yield;
  }

  /**
   * How many rows a list is likely to have: as many as another list, or as the bytes allow. Room that is not used costs
   * nothing.
   */
  private _likelyRows(): number {
    const other = [...this._columns.values()].find(({ isList }) => isList);
    return Math.max(16, other?.rows ?? Math.floor((this._reader.end - this._reader.at) / 24));
  }

  /** Null where something is wrong. */
  finish(): Columns | null {
    const lists = [...this._columns.values()].filter(({ isList }) => isList);
    const rows = lists[0]?.rows ?? 0;
    if (lists.length === 0) this._refuse('', 'at least one column must be a list of values');
    for (const { name, rows: other } of lists)
      if (other !== rows) this._refuse(`/${name}`, `has ${other} values, but ${lists[0]!.name} has ${rows}`);
    if (this.wrong.length > 0) return null;
    const ops = this._opsPresent(rows);
    this._checkPresence(rows, ops);
    if (this.wrong.length > 0) return null;
    return {
      rows,
      kind: this._kinds(rows),
      iova: this._columns.get('iova')?.words ?? zeroes(),
      length: this._columns.get('length')?.words ?? zeroes(),
      start: this._starts(rows, ops),
      fd: this._columns.get('fd')?.numbers ?? zero(),
      runs: null,
      operations: rows,
    };
  }

  private _refuse(place: string, reason: string): void {
    this.wrong.push({ pointer: `/columns${place}`, reason });
  }

  /** A bit for each operation that occurs. */
  private _opsPresent(rows: number): number {
    const column = this._columns.get('op');
    let present = 0;
    if (rows === 0) return present;
    if (!column?.isList) return 1 << (column?.number(0) ?? MAP);
    for (let row = 0; row < rows; row++) present |= 1 << column.number(row);
    return present;
  }

  /** Every column must be for one of the operations, and each of these must have what it needs. */
  private _checkPresence(rows: number, present: number): void {
    const ops = OPS.keys()
      .filter((op) => (present >>> op) & 1)
      .toArray();
    if (present !== 0)
      for (const name of this._columns.keys())
        if (!ops.some((op) => OPERATION.allowed[op]!.includes(name)))
          this._refuse(`/${name}`, 'none of the operations has this field');
    for (const op of ops)
      for (const name of OPERATION.required[op]! as readonly ColumnName[]) {
        if (name === 'op') continue;
        const column = this._columns.get(name);
        const reason = `required: ${RULES[name]}, for ${OPS[op]}`;
        if (!column) this._refuse(`/${name}`, reason);
        else if (column.hasNulls)
          for (let row = 0; row < rows && this.wrong.length < 100; row++)
            if (column.isNull(row) && this._op(row) === op) this._refuse(`/${name}/${row}`, reason);
      }
  }

  private _op(row: number): number {
    return this._columns.get('op')?.number(row) ?? MAP;
  }

  private _kinds(rows: number): Numbers {
    const iova = this._columns.get('iova');
    const readable = this._columns.get('readable');
    const writeable = this._columns.get('writeable');
    const op = this._columns.get('op');
    const varies = op?.isList || readable?.isList || writeable?.isList || iova?.hasNulls;
    const kinds = new Numbers(Math.max(1, varies ? rows : 1));
    for (let row = 0; row < (varies ? rows : 1); row++) {
      const fixed = iova && !iova.isNull(row) ? MAP_FIXED_IOVA : 0;
      const access =
        (readable?.number(row) === 0 ? 0 : MAP_READABLE) | (writeable?.number(row) === 0 ? 0 : MAP_WRITEABLE);
      kinds.push((op?.number(row) ?? MAP) | ((fixed | access) << OP_BITS));
    }
    return kinds;
  }

  private _starts(rows: number, present: number): Words {
    const userVa = this._columns.get('userVa');
    const start = this._columns.get('start');
    if (!userVa || !start) return (userVa ?? start)?.words ?? zeroes();
    if (present === 1 << MAP_FILE) return start.words!;
    if ((present & (1 << MAP_FILE)) === 0) return userVa.words!;
    const merged = new Words(Math.max(1, rows));
    for (let row = 0; row < rows; row++) {
      const { words, isList } = this._op(row) === MAP_FILE ? start : userVa;
      const at = (isList ? row : 0) * 2;
      merged.push(words!.data[at]!, words!.data[at + 1]!);
    }
    return merged;
  }
}

function zeroes(): Words {
  const words = new Words(1);
  words.push(0, 0);
  return words;
}

function zero(): Numbers {
  const numbers = new Numbers(1);
  numbers.push(0);
  return numbers;
}
