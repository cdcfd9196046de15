/** What the stories of all generated clients say alike. */

/** The answer of a generated client. */
interface Answer<Data> {
  data?: Data;
  error?: unknown;
}

export function holds(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(`it does not hold that ${what}`);
}

/** The body of an answer that has to be one. */
export function granted<Data>({ data, error }: Answer<Data>): NonNullable<Data> {
  if (data === undefined || data === null) throw new Error(JSON.stringify(error));
  return data;
}

/** Of an answer without a body. */
export function done({ error }: Answer<unknown>): void {
  if (error !== undefined) throw new Error(JSON.stringify(error));
}

export const DEVICE = '0000:01:00.0';
export const IOVA = '0x100000000';
export const READ = { op: 'read', iova: IOVA, length: 5 } as const;
export const HELLO = 'aGVsbG8=';
/** Bytes of the memory of the guest. */
export const SIZE = 0x400000;
