/** The data directory: made where it is not there; and if it cannot be used, what is wrong with it and what to do. */
import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  lstatSync,
  mkdirSync,
  openSync,
  type Stats,
  statSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';

export const DATABASE = 'holdover.db';
export const LOCK = 'holdover.lock';
/** Everything that SQLite opens. */
const FILES = [LOCK, DATABASE, `${DATABASE}-wal`, `${DATABASE}-shm`];

const ANOTHER = 'name another directory with HOLDOVER_DATA_DIR';

/** What is in it is nobody else's on the machine: hosts of all tenants, and what proves their keys. */
const OWN_DIRECTORY = 0o700;
const OWN_FILE = 0o600;
const OF_OTHERS = 0o077;

/**
 * Makes the database's file where it is not there, and takes the files from everybody else where an earlier version, or who has
 * copied them, has left them readable. SQLite gives those that it makes beside it (-wal, -shm) the same mode.
 */
export function makeFiles(directory: string): void {
  closeSync(openSync(join(directory, DATABASE), constants.O_RDWR | constants.O_CREAT, OWN_FILE));
  for (const name of FILES) {
    const file = join(directory, name);
    const stats = statSync(file, { throwIfNoEntry: false });
    if (stats !== undefined && (stats.mode & OF_OTHERS) !== 0 && stats.uid === process.getuid?.())
      chmodSync(file, OWN_FILE);
  }
}

/** Makes it with its parents. Node's own way goes round for ever where a file system takes none, as /proc does. */
export function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, OWN_DIRECTORY);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EEXIST' && statSync(directory).isDirectory()) return;
    const parent = dirname(directory);
    if (code !== 'ENOENT' || parent === directory) throw error;
    makeDirectory(parent);
    mkdirSync(directory, OWN_DIRECTORY);
  }
}

/** What keeps this directory from being used, and what to do, for a person; `error` is what came of trying. */
export function explain(directory: string, error: unknown): string {
  const path = resolve(directory);
  const found = nearest(path);
  const it = found.path === path ? 'it' : found.path;
  if (!found.stats.isDirectory()) return `${it} is ${kind(found.stats)}: ${ANOTHER}.`;
  if (found.path !== path) return unmade(path, found.path, codeOf(error));
  try {
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
    for (const file of FILES) tryToOpen(join(path, file));
  } catch (refusal) {
    return unusable(path, refusal as NodeJS.ErrnoException);
  }
  return ofSqlite(codeOf(error), error instanceof Error ? error.message : String(error));
}

/** The deepest part of the path that is there. A link to nowhere is. */
function nearest(path: string): { path: string; stats: Stats } {
  for (let part = path; ; part = dirname(part)) {
    const stats = statOf(part);
    if (stats !== undefined || part === dirname(part)) return { path: part, stats: stats ?? statSync('/') };
  }
}

function statOf(path: string): Stats | undefined {
  for (const look of [statSync, lstatSync]) {
    try {
      return look(path);
    } catch {
      // Not there, or behind what is not a directory or may not be searched: a part nearer to the root tells.
    }
  }
  return undefined;
}

function kind(stats: Stats): string {
  if (stats.isFile()) return 'a file, not a directory';
  return stats.isSymbolicLink() ? 'a symbolic link to what is not there' : 'not a directory';
}

/** As SQLite would, which only says that it could not. */
function tryToOpen(file: string): void {
  const isLock = file.endsWith(LOCK);
  try {
    closeSync(openSync(file, isLock ? constants.O_RDWR | constants.O_CREAT : constants.O_RDWR));
  } catch (error) {
    if (isLock || codeOf(error) !== 'ENOENT') throw error;
  }
}

function unmade(path: string, parent: string, code: string): string {
  if (code === 'EACCES') {
    const make = `mkdir -p ${quoted(path)} && chown ${mine()} ${quoted(path)}`;
    return `${me()} may not make it in ${parent}: ${owned(parent)}. Have it made (${make}), or ${ANOTHER}.`;
  }
  return ofFileSystem(code) ?? `nothing can be made in ${parent} (${code}): ${ANOTHER}.`;
}

function unusable(directory: string, { code = '', path = directory }: NodeJS.ErrnoException): string {
  if (code === 'EISDIR') return `${path} is a directory where a file has to be: ${ANOTHER}.`;
  if (code !== 'EACCES') return ofFileSystem(code) ?? `no file can be opened in it (${code}): ${ANOTHER}.`;
  const isIt = path === directory;
  const { uid } = statSync(path);
  const isMine = uid === process.getuid?.();
  const files = isIt ? quoted(directory) : `${quoted(directory)}/holdover.*`;
  const mend = isMine ? `chmod u+rwX ${files}` : `chown ${mine()} ${files}`;
  const run = isMine ? '' : `, run Holdover as uid ${uid} (in a container: --user ${uid})`;
  return `${me()} may not read and write ${isIt ? 'it' : path}: ${owned(path)}. Let it (${mend})${run}, or ${ANOTHER}.`;
}

function ofFileSystem(code: string): string | undefined {
  if (code === 'ENAMETOOLONG') return `the path, or a name in it, is too long: ${ANOTHER}.`;
  if (code === 'EROFS') return `it is on a read-only file system: mount that writable, or ${ANOTHER}.`;
  return code === 'ENOSPC' || code === 'EDQUOT' ? FULL : undefined;
}

const FULL = `its disk is full: free some space, or ${ANOTHER}.`;

function ofSqlite(code: string, message: string): string {
  if (code === 'SQLITE_NOTADB') return `${DATABASE} in it is not a database: move that away, or ${ANOTHER}.`;
  if (code.startsWith('SQLITE_CORRUPT'))
    return `${DATABASE} in it is damaged (${message}): put back a copy, or ${ANOTHER}.`;
  if (code.startsWith('SQLITE_BUSY'))
    return `another program, such as sqlite3, has locked ${DATABASE} in it: end that, and start again.`;
  if (code === 'SQLITE_ERROR' || code.startsWith('SQLITE_CONSTRAINT'))
    return `${DATABASE} in it is damaged, or was changed by another program (${message}): put back a copy, or ${ANOTHER}.`;
  return code === 'SQLITE_FULL' ? FULL : `${message}, or ${ANOTHER}.`;
}

const codeOf = (error: unknown): string => String((error as { code?: unknown }).code ?? '');

const me = (): string => `this process (uid ${process.getuid?.()}, gid ${process.getgid?.()})`;
const mine = (): string => `${process.getuid?.()}:${process.getgid?.()}`;

function owned(path: string): string {
  const { uid, gid, mode } = statSync(path);
  return `that belongs to uid ${uid}, gid ${gid}, mode ${(mode & 0o7777).toString(8).padStart(4, '0')}`;
}

/** For a shell. */
const quoted = (path: string): string => (/^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`);
