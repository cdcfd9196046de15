/**
 * Chunks of 64 bytes, one behind the other in a few large arrays, without gaps: so that one byte in each of many frames
 * takes little, and what goes is given back. Each knows its number, by which others find its place.
 */

/** Bytes of a chunk. */
export const CHUNK_SIZE = 64;
/** Chunks of an array, but for the first one, which begins small. */
const MOST = 4096;
const LEAST = 16;

export class ByteChunks {
  private readonly _bytes: Uint8Array[] = [];
  private readonly _numbers: Float64Array[] = [];
  private _length = 0;

  /** Adds a chunk of zeroes and returns its place. */
  add(number: number): number {
    const place = this._length++;
    const array = Math.floor(place / MOST);
    const room = this._numbers[array]?.length ?? 0;
    if (place % MOST === room % MOST && room < MOST) this._enlarge(array, room);
    this._numbers[array]![place % MOST] = number;
    const at = (place % MOST) * CHUNK_SIZE;
    this._bytes[array]!.fill(0, at, at + CHUNK_SIZE);
    return place;
  }

  /** Takes a chunk out. Returns the number of the one that has come into its place; -1: none. */
  remove(place: number): number {
    const last = --this._length;
    const number = place < last ? this.numberOf(last) : -1;
    if (place < last) {
      const from = (last % MOST) * CHUNK_SIZE;
      const bytes = this._bytes[Math.floor(last / MOST)]!;
      this._bytes[Math.floor(place / MOST)]!.set(bytes.subarray(from, from + CHUNK_SIZE), (place % MOST) * CHUNK_SIZE);
      this._numbers[Math.floor(place / MOST)]![place % MOST] = number;
    }
    if (last % MOST === 0) {
      this._bytes.pop();
      this._numbers.pop();
    }
    return number;
  }

  numberOf(place: number): number {
    return this._numbers[Math.floor(place / MOST)]![place % MOST]!;
  }

  /** The bytes of a chunk, to be read and written before one comes or goes. */
  at(place: number): Uint8Array {
    const from = (place % MOST) * CHUNK_SIZE;
    return this._bytes[Math.floor(place / MOST)]!.subarray(from, from + CHUNK_SIZE);
  }

  private _enlarge(array: number, room: number): void {
    const chunks = array > 0 ? MOST : Math.max(LEAST, room * 2);
    const bytes = new Uint8Array(chunks * CHUNK_SIZE);
    const numbers = new Float64Array(chunks);
    if (room > 0) {
      bytes.set(this._bytes[array]!);
      numbers.set(this._numbers[array]!);
    }
    this._bytes[array] = bytes;
    this._numbers[array] = numbers;
  }
}
