/** Where a function has its table of MSI-X, and the bits of messages that are pending. */
import type { PciFunction } from './function.ts';

const MSIX = 17;

/** Bytes of a vector in the table, and at which of them its control word begins; bit 0 of that masks it. */
export const VECTOR_BYTES = 16;
export const VECTOR_CONTROL = 12;
/** Pending bits are read in words of so many. */
const PENDING_BITS = 64;

export interface Msix {
  vectors: number;
  /** BAR and first byte in it. */
  tableBar: number;
  tableOffset: number;
  pbaBar: number;
  pbaOffset: number;
}

/** Null: the function has no MSI-X. */
export function msixOf({ config }: PciFunction): Msix | null {
  const capability = config.spec.capabilities.find(({ id }) => id === MSIX);
  if (!capability) return null;
  const { msixVectors = 1, tableBar = 0, tableOffset = 0, pbaBar = 0, pbaOffset = 0 } = capability;
  return { vectors: msixVectors, tableBar, tableOffset, pbaBar, pbaOffset };
}

/** Where bytes of a BAR begin and end: the first of them, and the one behind the last. */
export interface Extent {
  start: number;
  end: number;
}

const NOWHERE: Extent = { start: 0, end: 0 };

/** What of BAR `bar` is the table. */
export function tableIn(msix: Msix | null, bar: number): Extent {
  if (msix?.tableBar !== bar) return NOWHERE;
  return { start: msix.tableOffset, end: msix.tableOffset + msix.vectors * VECTOR_BYTES };
}

/** What of BAR `bar` are the pending bits. */
export function pendingIn(msix: Msix | null, bar: number): Extent {
  if (msix?.pbaBar !== bar) return NOWHERE;
  const bytes = (Math.ceil(msix.vectors / PENDING_BITS) * PENDING_BITS) / 8;
  return { start: msix.pbaOffset, end: msix.pbaOffset + bytes };
}
