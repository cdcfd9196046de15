/**
 * Plain data as the bytes of its JSON. A thread that only hands it on neither reads nor copies it, so that large data takes
 * the time of those two who make and need it, and of nobody between them.
 */

export type Packed<T> = Uint8Array<ArrayBuffer> & { readonly of?: T };

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export const pack = <T>(value: T): Packed<T> => encoder.encode(JSON.stringify(value));

/** What was packed; what was not is returned as it is. */
export function unpack<T extends object | null>(value: T | Packed<T>): T {
  return value instanceof Uint8Array ? (JSON.parse(decoder.decode(value)) as T) : value;
}
