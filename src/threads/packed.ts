/**
 * Plain data as the bytes of its JSON. A thread that only hands it on neither reads nor copies it, so that large data takes
 * the time of those two who make and need it, and of nobody between them.
 */

export type Packed<T> = Uint8Array<ArrayBuffer> & { readonly of?: T };

const decoder = new TextDecoder();

/** It ends with a line break, as answers do that people read. */
export function pack<T>(value: T): Packed<T> {
  const text = JSON.stringify(value);
  const size = Buffer.byteLength(text);
  const bytes = Buffer.allocUnsafeSlow(size + 1);
  bytes.write(text);
  bytes[size] = NEWLINE;
  return bytes;
}

const NEWLINE = 0x0a;

export const isPacked = (value: unknown): value is Packed<unknown> => value instanceof Uint8Array;

/** What was packed; what was not is returned as it is. */
export function unpack<T>(value: T | Packed<T>): T {
  return isPacked(value) ? (JSON.parse(decoder.decode(value)) as T) : value;
}
