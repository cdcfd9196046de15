/** What the quiet tenant's host must say, whatever happens: each number that was written has a place of its own. */
export interface Witness {
  /** Where the process takes calls; its memfd is descriptor 3. */
  path: string;
  /** Numbers whose writes were acknowledged. */
  acknowledged: number[];
}

/** The memfd has a place for so many: an hour of them. */
export const WITNESS_BYTES = 1 << 18;
export const NUMBER_BYTES = 4;
