/**
 * Reads the body of a batch: JSON in one of three shapes, or lines with an operation each. It is read in pieces, so that
 * a large one does not keep a lane to itself.
 */
import { MAX_BATCH_ERRORS, MAX_OPERATIONS, MAX_RESULTS } from '../../limits.ts';
import { didYouMean } from '../../nearest.ts';
import { unknownField } from '../request-values.ts';
import { COLUMNS, type ColumnName, ColumnReader } from './column-reader.ts';
import type { Columns } from './columns.ts';
import { escapePointer, type Wrong } from './fields.ts';
import { CLOSE_BRACE, CLOSE_BRACKET, JsonReader, NEWLINE, NotJson, OPEN_BRACE, OPEN_BRACKET } from './json-reader.ts';
import { RowReader } from './row-reader.ts';

export const ON_ERROR = ['stop', 'continue', 'rollback'] as const;
export type OnError = (typeof ON_ERROR)[number];

export interface BatchOptions {
  onError: OnError;
  /** The answer lists the outcome of every operation. */
  results: boolean;
}

/** A batch that was read, or why the body is none. */
export type Decoded =
  | { kind: 'batch'; columns: Columns; options: BatchOptions }
  | { kind: 'malformed'; detail: string }
  | { kind: 'invalid'; errors: Wrong[] };

const TOP = ['onError', 'results', 'operations', 'columns', 'runs'] as const;

/** Reads a JSON body to its end, and yields after every `pause` operations. */
export function* decodeJson(bytes: Uint8Array, pause: number): Generator<void, Decoded> {
  try {
    return yield* new JsonBody(new JsonReader(bytes), pause).read();
  } catch (error) {
    if (!(error instanceof NotJson)) throw error;
    return { kind: 'malformed', detail: placeOf(bytes, error.position) };
  }
}

/**
 * Reads lines with an operation each, and yields after every `pause` lines. `base`: how many operations came before
 * these.
 */
export function* decodeLines(
  bytes: Uint8Array,
  base: number,
  options: BatchOptions,
  pause: number,
): Generator<void, Decoded> {
  const reader = new JsonReader(bytes);
  const rows = new RowReader(reader, false, '', base);
  for (let lines = 1; reader.at < bytes.length; lines++) {
    const newline = bytes.indexOf(NEWLINE, reader.at);
    reader.end = newline < 0 ? bytes.length : newline;
    readLine(reader, rows);
    reader.at = reader.end + 1;
    if (rows.wrong.length >= MAX_BATCH_ERRORS) break;
    if (lines % pause === 0) yield;
  }
  if (rows.wrong.length > 0) return { kind: 'invalid', errors: rows.wrong };
  return { kind: 'batch', columns: rows.columns, options };
}

function readLine(reader: JsonReader, rows: RowReader): void {
  if (reader.skipSpace() < 0) return;
  const { index, wrong } = rows;
  const before = wrong.length;
  try {
    rows.readOne();
    if (reader.skipSpace() >= 0) reader.fail();
  } catch (error) {
    if (!(error instanceof NotJson)) throw error;
    wrong.splice(before, wrong.length, { pointer: `/${index}`, reason: 'this line is not one JSON object' });
    rows.index = index + 1;
  }
}

function placeOf(bytes: Uint8Array, position: number): string {
  if (position >= bytes.length) return 'it ends too early';
  const before = bytes.subarray(0, position);
  let line = 1;
  for (const byte of before) if (byte === 0x0a) line++;
  const column = position - before.lastIndexOf(0x0a);
  return `the parser gave up at position ${position} (line ${line} column ${column})`;
}

class JsonBody {
  private readonly _reader: JsonReader;
  private readonly _pause: number;
  private readonly _wrong: Wrong[] = [];
  private readonly _options: BatchOptions = { onError: 'stop', results: false };
  private readonly _given = new Set<string>();
  private _columns: Columns | null = null;

  constructor(reader: JsonReader, pause: number) {
    this._reader = reader;
    this._pause = pause;
  }

  *read(): Generator<void, Decoded> {
    const reader = this._reader;
    if (reader.skipSpace() !== OPEN_BRACE) {
      reader.skipValue();
      this._refuse('', 'expected a JSON object');
    } else {
      reader.expect(OPEN_BRACE);
      if (!reader.take(CLOSE_BRACE))
        do {
          yield* this._field(reader.name());
          if (this._wrong.length >= MAX_BATCH_ERRORS) return { kind: 'invalid', errors: this._wrong };
        } while (reader.more(CLOSE_BRACE));
      this._checkShape();
    }
    if (reader.skipSpace() >= 0) reader.fail();
    if (this._wrong.length > 0 || this._columns === null) return { kind: 'invalid', errors: this._wrong };
    return { kind: 'batch', columns: this._columns, options: this._options };
  }

  private _refuse(pointer: string, reason: string): void {
    this._wrong.push({ pointer, reason });
  }

  private *_field(name: string): Generator<void, void> {
    const reader = this._reader;
    if (this._given.has(name)) this._refuse(`/${escapePointer(name)}`, 'given twice');
    this._given.add(name);
    switch (name) {
      case 'onError': {
        const value = reader.value();
        if (ON_ERROR.includes(value as OnError)) this._options.onError = value as OnError;
        else this._refuse('/onError', `expected one of ${ON_ERROR.join(', ')}${didYouMean(value, ON_ERROR)}`);
        return;
      }
      case 'results': {
        const value = reader.value();
        if (typeof value === 'boolean') this._options.results = value;
        else this._refuse('/results', 'expected true or false');
        return;
      }
      case 'operations':
      case 'runs':
        return yield* this._rows(name);
      case 'columns':
        return yield* this._readColumns();
      default:
        reader.skipValue();
        this._refuse(`/${escapePointer(name)}`, unknownField(TOP));
    }
  }

  private *_rows(name: 'operations' | 'runs'): Generator<void, void> {
    const reader = this._reader;
    if (reader.skipSpace() !== OPEN_BRACKET) {
      reader.skipValue();
      return this._refuse(`/${name}`, 'expected a JSON array');
    }
    reader.expect(OPEN_BRACKET);
    const rows = new RowReader(reader, name === 'runs', `/${name}`);
    if (!reader.take(CLOSE_BRACKET)) while (rows.readList(this._pause) && rows.wrong.length < MAX_BATCH_ERRORS) yield;
    this._wrong.push(...rows.wrong);
    this._columns = rows.columns;
  }

  private *_readColumns(): Generator<void, void> {
    const reader = this._reader;
    if (reader.skipSpace() !== OPEN_BRACE) {
      reader.skipValue();
      return this._refuse('/columns', 'expected a JSON object');
    }
    reader.expect(OPEN_BRACE);
    const columns = new ColumnReader(reader);
    if (!reader.take(CLOSE_BRACE))
      do {
        const name = reader.name();
        if (COLUMNS.includes(name as ColumnName)) yield* columns.read(name as ColumnName, this._pause);
        else {
          reader.skipValue();
          const pointer = `/columns/${escapePointer(name)}`;
          columns.wrong.push({ pointer, reason: unknownField(COLUMNS) });
        }
        if (columns.wrong.length >= MAX_BATCH_ERRORS) break;
      } while (reader.more(CLOSE_BRACE));
    this._columns = columns.finish();
    this._wrong.push(...columns.wrong);
  }

  private _checkShape(): void {
    const shapes = ['operations', 'columns', 'runs'].filter((name) => this._given.has(name));
    if (shapes.length !== 1) this._refuse('', 'expected exactly one of operations, columns and runs');
    const operations = this._columns?.operations ?? 0;
    if (operations > MAX_OPERATIONS)
      this._refuse(`/${shapes[0]}`, `${operations} operations, but a batch has ${MAX_OPERATIONS} at the most`);
    if (this._options.results && operations > MAX_RESULTS)
      this._refuse('/results', `outcomes are answered of at most ${MAX_RESULTS} operations: these are ${operations}`);
  }
}
