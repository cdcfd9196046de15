/**
 * Reads JSON from bytes, value by value, without making objects of it. What is common is read directly: numbers and
 * hexadecimal strings as pairs of words, names that are known. Everything else is passed over by its grammar and given
 * to JSON.parse, so that all that JSON allows is understood as JSON.parse understands it. Long because all its methods
 * share one place in the bytes.
 */
import { WORD } from '../../machine/address.ts';

const TAB = 0x09;
export const NEWLINE = 0x0a;
const RETURN = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const LOWER_E = 0x65;
const POINT = 0x2e;
/** `0x` */
const HEX_PREFIX = 0x3078;

export const OPEN_BRACE = 0x7b;
export const CLOSE_BRACE = 0x7d;
export const OPEN_BRACKET = 0x5b;
export const CLOSE_BRACKET = 0x5d;

/** Deeper than this nothing is looked at. */
const MAX_DEPTH = 64;
/** Any number of this many decimal digits is exact in a double. Odd: digits are read in pairs, and one more. */
const EXACT_DIGITS = 15;

/** Values of hexadecimal digits by byte, and of pairs of them by two bytes; 255 and 0xffff: no digit. */
const HEX = new Uint8Array(256).fill(255);
const HEX_PAIRS = new Uint16Array(1 << 16).fill(0xffff);
for (let digit = 0; digit < 16; digit++) {
  HEX[digit.toString(16).charCodeAt(0)] = digit;
  HEX[digit.toString(16).toUpperCase().charCodeAt(0)] = digit;
}
const digits = [...HEX.entries()].filter(([, value]) => value < 16);
for (const [first, high] of digits)
  for (const [second, low] of digits) HEX_PAIRS[(first << 8) | second] = high * 16 + low;

/** Values of pairs of decimal digits by two bytes; 255: no digits. */
const DECIMAL_PAIRS = new Uint8Array(1 << 16).fill(255);
for (let value = 0; value < 100; value++)
  DECIMAL_PAIRS[((ZERO + Math.floor(value / 10)) << 8) | (ZERO + (value % 10))] = value;

/** Within this many bytes of the end of the body nothing is read the fast way, which reads several bytes at once. */
const MARGIN = 32;

/** A string as it usually stands in JSON, with its quotes: four bytes or more, which are compared four at a time. */
export class Token {
  readonly length: number;
  /** The first and the last four bytes, which may overlap, and the words between. */
  readonly first: number;
  readonly last: number;
  readonly between: readonly number[];

  constructor(text: string) {
    const bytes = new TextEncoder().encode(JSON.stringify(text));
    const view = new DataView(bytes.buffer);
    const between: number[] = [];
    for (let at = 4; at + 4 < bytes.length; at += 4) between.push(view.getInt32(at));
    this.length = bytes.length;
    this.first = view.getInt32(0);
    this.last = view.getInt32(bytes.length - 4);
    this.between = between;
  }
}

/** The bytes are not JSON; `position` says where they stop being it. */
export class NotJson extends Error {
  readonly position: number;

  constructor(position: number) {
    super('not JSON');
    this.position = position;
  }
}

const TRUE = new TextEncoder().encode('true');
const FALSE = new TextEncoder().encode('false');
const DECODER = new TextDecoder('utf-8', { ignoreBOM: true });

export class JsonReader {
  readonly bytes: Uint8Array;
  /** The next byte. */
  at = 0;
  /** Behind the last byte. */
  end: number;
  /** The number that `word64` read. */
  high = 0;
  low = 0;

  private readonly _view: DataView;
  private readonly _safe: number;

  constructor(bytes: Uint8Array) {
    this._view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    // A plain Uint8Array, never a Buffer: one class of array keeps the hot loops fast.
    this.bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.end = bytes.length;
    this._safe = bytes.length - MARGIN;
  }

  /** Passes over white space. Returns the byte behind it, or -1 at the end. */
  skipSpace(): number {
    const { bytes, end } = this;
    let at = this.at;
    let byte = -1;
    for (; at < end; at++) {
      byte = bytes[at]!;
      if (byte > SPACE || (byte !== SPACE && byte !== NEWLINE && byte !== RETURN && byte !== TAB)) break;
    }
    this.at = at;
    return at < end ? byte : -1;
  }

  fail(): never {
    throw new NotJson(this.at);
  }

  /** Passes over this byte, and white space before it. */
  expect(byte: number): void {
    if (this.skipSpace() !== byte) this.fail();
    this.at++;
  }

  /** Passes over the next byte, and white space before it, if it is this one; returns whether it is. */
  take(byte: number): boolean {
    if (this.bytes[this.at] !== byte && this.skipSpace() !== byte) return false;
    this.at++;
    return true;
  }

  /** Behind an element: true if another one follows, false (and behind it) at the closing byte. */
  more(close: number): boolean {
    if (this.take(COMMA)) return true;
    this.expect(close);
    return false;
  }

  /** Reads a name and the colon behind it. */
  name(): string {
    if (this.skipSpace() !== QUOTE) this.fail();
    const start = this.at;
    this._skipString();
    const name = this.parse(start) as string;
    this.expect(COLON);
    return name;
  }

  takeColon(): boolean {
    return this.take(COLON);
  }

  takeComma(): boolean {
    return this.take(COMMA);
  }

  /** 1 or 0 for true or false, which are passed over; otherwise -1. */
  takeBoolean(): number {
    const byte = this.skipSpace();
    if (byte !== TRUE[0] && byte !== FALSE[0]) return -1;
    const text = byte === TRUE[0] ? TRUE : FALSE;
    for (let index = 0; index < text.length; index++) if (this.bytes[this.at + index] !== text[index]) return -1;
    this.at += text.length;
    return byte === TRUE[0] ? 1 : 0;
  }

  /** Passes over this string, if it is what follows, white space aside; otherwise stays where it is. */
  takeToken({ length, first, last, between }: Token): boolean {
    if (this.bytes[this.at]! <= SPACE) this.skipSpace();
    const { at, _view: view } = this;
    if (at > this._safe || view.getInt32(at) !== first || view.getInt32(at + length - 4) !== last) return false;
    if (length > 8)
      for (let word = 0; word < between.length; word++)
        if (view.getInt32(at + 4 + word * 4) !== between[word]) return false;
    this.at = at + length;
    return true;
  }

  /** Reads a 64-bit number in one of its usual forms. Otherwise false, and stays where it is. */
  word64(): boolean {
    const { bytes } = this;
    if (bytes[this.at]! <= SPACE) this.skipSpace();
    const first = this.at;
    if (first > this._safe) return false;
    const byte = bytes[first]!;
    if (byte === QUOTE) return this._hexadecimal(first);
    if (byte < ZERO || byte > NINE) return false;
    return this._decimal(first);
  }

  private _hexadecimal(first: number): boolean {
    const { bytes, _view: view } = this;
    if (view.getUint16(first + 1) !== HEX_PREFIX) return false;
    let at = first + 3;
    let high = 0;
    let low = 0;
    for (let pair = HEX_PAIRS[view.getUint16(at)]!; pair < 256 && at < first + 19; ) {
      high = (high << 8) | (low >>> 24);
      low = (low << 8) | pair;
      at += 2;
      pair = HEX_PAIRS[view.getUint16(at)]!;
    }
    const digit = HEX[bytes[at]!]!;
    if (digit < 16) {
      high = (high << 4) | (low >>> 28);
      low = (low << 4) | digit;
      at++;
    }
    if (bytes[at] !== QUOTE || at === first + 3 || at > first + 19) return false;
    this.high = high >>> 0;
    this.low = low >>> 0;
    this.at = at + 1;
    return true;
  }

  /**
   * Reads hexadecimal strings of a list into pairs of words, from row `from` to row `until`, as long as each has a comma
   * right behind it. Returns how many were read; the next one is left to `word64`.
   */
  hexadecimals(data: Uint32Array, from: number, until: number): number {
    const { bytes, _view: view, _safe: safe } = this;
    let at = this.at;
    let row = from;
    // Neighbours are likely to begin with the same eight digits: these and their value are remembered.
    let known = false;
    let left = 0;
    let right = 0;
    let value = 0;
    while (row < until && at <= safe && bytes[at] === QUOTE && view.getUint16(at + 1) === HEX_PREFIX) {
      const first = at + 3;
      let digit = first;
      let high = 0;
      let low = 0;
      if (known && view.getInt32(first) === left && view.getInt32(first + 4) === right) {
        low = value;
        digit = first + 8;
      }
      for (let pair = HEX_PAIRS[view.getUint16(digit)]!; pair < 256 && digit < first + 16; ) {
        high = (high << 8) | (low >>> 24);
        low = (low << 8) | pair;
        digit += 2;
        if (digit === first + 8) {
          left = view.getInt32(first);
          right = view.getInt32(first + 4);
          value = low;
          known = true;
        }
        pair = HEX_PAIRS[view.getUint16(digit)]!;
      }
      const last = HEX[bytes[digit]!]!;
      if (last < 16) {
        high = (high << 4) | (low >>> 28);
        low = (low << 4) | last;
        digit++;
      }
      if (digit === first || digit > first + 16 || bytes[digit] !== QUOTE || bytes[digit + 1] !== COMMA) break;
      data[row * 2] = high;
      data[row * 2 + 1] = low;
      row++;
      at = digit + 2;
    }
    this.at = at;
    return row - from;
  }

  private _decimal(first: number): boolean {
    const { bytes, _view: view } = this;
    let at = first;
    // The first eight digits, two at a time, and what is behind them.
    let value = 0;
    let more = 0;
    let scale = 1;
    let pair = DECIMAL_PAIRS[view.getUint16(at)]!;
    for (; pair < 100 && at < first + 8; pair = DECIMAL_PAIRS[view.getUint16(at)]!) {
      value = value * 100 + pair;
      at += 2;
    }
    if (at === first + 8)
      for (; pair < 100 && at < first + EXACT_DIGITS - 1; pair = DECIMAL_PAIRS[view.getUint16(at)]!) {
        more = more * 100 + pair;
        scale *= 100;
        at += 2;
      }
    let byte = bytes[at]!;
    if (byte >= ZERO && byte <= NINE) {
      more = more * 10 + (byte - ZERO);
      scale *= 10;
      byte = bytes[++at]!;
    }
    // One that goes on, as a fraction or with an exponent or with more digits, or that begins with 0.
    if ((byte >= ZERO && byte <= NINE) || byte === POINT || (byte | 0x20) === LOWER_E) return false;
    if (bytes[first] === ZERO && at > first + 1) return false;
    value = value * scale + more;
    this.high = Math.floor(value / WORD);
    this.low = value >>> 0;
    this.at = at;
    return true;
  }

  /** A number from 0 to 2^31-1 in its usual form, which is passed over; otherwise -1. */
  takeInteger(): number {
    const byte = this.skipSpace();
    const { at } = this;
    if (byte >= ZERO && byte <= NINE && this.word64() && this.high === 0 && this.low <= 0x7fffffff) return this.low;
    this.at = at;
    return -1;
  }

  /** Passes over the next value and returns it. */
  value(): unknown {
    this.skipSpace();
    const start = this.at;
    this.skipValue();
    return this.parse(start);
  }

  /** The value of the bytes from `start` to the current place, which were passed over and so are JSON. */
  parse(start: number): unknown {
    return JSON.parse(DECODER.decode(this.bytes.subarray(start, this.at)));
  }

  skipValue(depth = 0): void {
    const byte = this.skipSpace();
    if (byte === QUOTE) this._skipString();
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) this._skipNested(byte, depth);
    else if (byte === MINUS || (byte >= ZERO && byte <= NINE)) this._skipNumber();
    else this._skipWord();
  }

  private _skipNested(open: number, depth: number): void {
    if (depth === MAX_DEPTH) this.fail();
    const close = open + 2;
    this.at++;
    if (this.take(close)) return;
    do {
      if (open === OPEN_BRACE) {
        if (this.skipSpace() !== QUOTE) this.fail();
        this._skipString();
        this.expect(COLON);
      }
      this.skipValue(depth + 1);
    } while (this.more(close));
  }

  private _skipString(): void {
    const { bytes, end } = this;
    for (this.at++; this.at < end; this.at++) {
      const byte = bytes[this.at]!;
      if (byte === QUOTE) {
        this.at++;
        return;
      }
      if (byte < SPACE) break;
      if (byte === BACKSLASH) this._skipEscape();
    }
    this.fail();
  }

  /** Goes to the last byte of an escape. */
  private _skipEscape(): void {
    const kind = this.bytes[++this.at];
    if (kind === undefined || !'"\\/bfnrtu'.includes(String.fromCharCode(kind))) this.fail();
    if (kind !== 0x75) return;
    for (let digit = 0; digit < 4; digit++) if (!(HEX[this.bytes[++this.at] ?? 0]! < 16)) this.fail();
  }

  private _skipNumber(): void {
    if (this.bytes[this.at] === MINUS) this.at++;
    if (this.bytes[this.at] === ZERO) this.at++;
    else this._skipDigits();
    if (this.bytes[this.at] === POINT) {
      this.at++;
      this._skipDigits();
    }
    if ((this.bytes[this.at]! | 0x20) !== LOWER_E) return;
    this.at++;
    const sign = this.bytes[this.at];
    if (sign === MINUS || sign === 0x2b) this.at++;
    this._skipDigits();
  }

  private _skipDigits(): void {
    const start = this.at;
    while (this.bytes[this.at]! >= ZERO && this.bytes[this.at]! <= NINE) this.at++;
    if (this.at === start) this.fail();
  }

  private _skipWord(): void {
    for (const word of ['true', 'false', 'null']) {
      if (this.bytes[this.at] !== word.charCodeAt(0)) continue;
      for (let index = 0; index < word.length; index++) {
        if (this.bytes[this.at] !== word.charCodeAt(index)) this.fail();
        this.at++;
      }
      return;
    }
    this.fail();
  }
}
