/** What SQLite says as an error of the contract. */
import { StoreDamaged, StoreFull, StoreUnavailable } from '../errors.ts';
import { DATABASE } from './directory.ts';

export function unavailable(what: string, cause: unknown): StoreUnavailable {
  if (isDamage(cause)) return new StoreDamaged(`${what}: ${damaged(reason(cause))}`, { cause });
  const kind = codeOf(cause) === 'SQLITE_FULL' ? StoreFull : StoreUnavailable;
  return new kind(`${what}: ${reason(cause)}`, { cause });
}

export function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** What is wrong with the database, and what to do. */
export const damaged = (why: string): string =>
  `the database (${DATABASE} in HOLDOVER_DATA_DIR) is damaged (${why}): have the service stopped, and a copy of it put back`;

/** What SQLite says, beside SQLITE_CORRUPT…, where what it reads is not what it has written: such as a number that is none any more. */
const DAMAGE = ['SQLITE_NOTADB', 'SQLITE_IOERR_SHORT_READ', 'SQLITE_CONSTRAINT_DATATYPE', 'SQLITE_CONSTRAINT_NOTNULL'];

/** Whether what is read is not what was written. */
export function isDamage(cause: unknown): boolean {
  const code = codeOf(cause);
  return cause instanceof StoreDamaged || code.startsWith('SQLITE_CORRUPT') || DAMAGE.includes(code);
}

/** Whether SQLite cannot read now, which says nothing about what it would read. */
export const isFailure = (cause: unknown): boolean => codeOf(cause).startsWith('SQLITE_') && !isDamage(cause);

export const codeOf = (cause: unknown): string => String((cause as { code?: unknown } | undefined)?.code ?? '');
