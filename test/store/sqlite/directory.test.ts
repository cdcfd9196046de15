/** What a data directory can be that cannot be used, and what is said then. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import Database from 'better-sqlite3';
import { openStore } from '../../../src/store/sqlite/store.ts';
import { temporaryDirectory } from '../../support/service.ts';
import { temporaryStore } from '../../support/store.ts';

const STORE = new URL('../../../src/store/sqlite/store.ts', import.meta.url).href;
const ANOTHER_UID = 65534;
const IS_ROOT = process.getuid?.() === 0;

/** Why it cannot be opened, behind the name of the directory. */
function reasonOf(directory: string): string {
  try {
    openStore({ directory }).close();
  } catch (error) {
    return withoutName(directory, error as Error);
  }
  return assert.fail(`${directory} could be opened`);
}

function withoutName(directory: string, { name, message }: { name: string; message: string }): string {
  const start = `cannot open the data directory ${directory}: `;
  assert.equal(name, 'StoreUnavailable');
  assert.equal(message.slice(0, start.length), start);
  return message.slice(start.length);
}

/** The same in a process of its own: of another user, where the tests are root's, and ended if it takes too long. */
function reasonOfAnother(directory: string): string {
  // The native part is loaded while it may be.
  const script = `
    import Database from 'better-sqlite3';
    const { openStore } = await import(${JSON.stringify(STORE)});
    new Database(':memory:').close();
    if (${IS_ROOT}) { process.setgroups([]); process.setgid(${ANOTHER_UID}); process.setuid(${ANOTHER_UID}); }
    try { openStore({ directory: ${JSON.stringify(directory)} }); }
    catch ({ name, message }) { console.log(JSON.stringify({ name, message })); }`;
  const { stdout, stderr, signal } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: new URL('../../..', import.meta.url),
    encoding: 'utf8',
    timeout: 30_000,
    killSignal: 'SIGKILL',
  });
  assert.equal(signal, null, 'it ends by itself');
  assert.notEqual(stdout, '', stderr);
  return withoutName(directory, JSON.parse(stdout));
}

/** One that everybody may go through. */
function openFolder(t: TestContext): string {
  const folder = temporaryDirectory(t);
  chmodSync(folder, 0o755);
  return folder;
}

test('a data directory is made with its parents', (t) => {
  const directory = join(temporaryDirectory(t), 'a', 'b', 'c');
  openStore({ directory }).close();
  assert.ok(existsSync(join(directory, 'holdover.db')));
});

test('what is no directory is named', (t) => {
  const folder = temporaryDirectory(t);
  const file = join(folder, 'file');
  writeFileSync(file, '');
  symlinkSync(join(folder, 'gone'), join(folder, 'link'));
  const end = ': name another directory with HOLDOVER_DATA_DIR.';
  assert.equal(reasonOf(file), `it is a file, not a directory${end}`);
  assert.equal(reasonOf(join(file, 'below', 'it')), `${file} is a file, not a directory${end}`);
  assert.equal(reasonOf(join(folder, 'link')), `it is a symbolic link to what is not there${end}`);
  assert.equal(reasonOf('/dev/null'), `it is not a directory${end}`);
  assert.equal(reasonOf(join(folder, 'x'.repeat(256))), `the path, or a name in it, is too long${end}`);
});

test('a data directory where nothing can be made does not keep the start busy for ever', (t) => {
  if (!existsSync('/proc/self')) return t.skip('there is no /proc');
  assert.match(reasonOfAnother('/proc/holdover/data'), /^nothing can be made in \/proc \(ENOENT\): name another/);
  assert.match(reasonOfAnother('/proc/self/fd'), /^(no file can be opened in it|this process .* may not)/);
});

test('who may not use a data directory is told whose it is, and what would help', (t) => {
  const folder = openFolder(t);
  const data = join(folder, 'data');
  mkdirSync(data);
  const uid = IS_ROOT ? ANOTHER_UID : process.getuid!();
  const [me, gid] = [`this process \\(uid ${uid}, gid \\d+\\)`, '\\d+'];

  if (IS_ROOT) chownSync(data, ANOTHER_UID, ANOTHER_UID);
  chmodSync(data, 0o555);
  const mine = new RegExp(
    `^${me} may not read and write it: that belongs to uid ${uid}, gid ${gid}, mode 0555\\. ` +
      `Let it \\(chmod u\\+rwX ${data}\\), or name another directory with HOLDOVER_DATA_DIR\\.$`,
  );
  assert.match(reasonOfAnother(data), mine);
  assert.match(
    reasonOfAnother(join(data, 'more', 'below')),
    new RegExp(`^${me} may not make it in ${data}: that belongs to uid ${uid}, .* \\(mkdir -p ${data}/more/below && `),
  );
});

test('a data directory, or a file in it, may belong to another user', (t) => {
  if (!IS_ROOT) return t.skip('only root can give files away');
  const data = join(openFolder(t), 'data of root');
  openStore({ directory: data }).close();
  chmodSync(data, 0o755);
  chmodSync(join(data, 'holdover.db'), 0o644);
  const start = `this process (uid ${ANOTHER_UID}, gid ${ANOTHER_UID}) may not read and write`;
  const end = ', run Holdover as uid 0 (in a container: --user 0), or name another directory with HOLDOVER_DATA_DIR.';
  assert.equal(
    reasonOfAnother(data),
    `${start} it: that belongs to uid 0, gid 0, mode 0755. Let it (chown ${ANOTHER_UID}:${ANOTHER_UID} '${data}')${end}`,
  );
  for (const file of ['', 'holdover.lock', 'holdover.json']) chownSync(join(data, file), ANOTHER_UID, ANOTHER_UID);
  assert.equal(
    reasonOfAnother(data),
    `${start} ${data}/holdover.db: that belongs to uid 0, gid 0, mode 0644. ` +
      `Let it (chown ${ANOTHER_UID}:${ANOTHER_UID} '${data}'/holdover.*)${end}`,
  );
});

test('a database that is none, or is damaged, or of a newer version is left alone', (t) => {
  const [none, directory, newer, damaged] = ['none', 'directory', 'newer', 'damaged'].map((name) =>
    join(temporaryDirectory(t), name),
  ) as [string, string, string, string];
  mkdirSync(none);
  writeFileSync(join(none, 'holdover.db'), 'This is a text. '.repeat(100));
  assert.match(reasonOf(none), /^holdover\.db in it is not a database: move that away, or name another/);

  mkdirSync(join(directory, 'holdover.db'), { recursive: true });
  assert.match(reasonOf(directory), /\/holdover\.db is a directory where a file has to be: name another/);

  openStore({ directory: newer }).close();
  const database = new Database(join(newer, 'holdover.db'));
  database.exec("INSERT INTO migrations (number, name, applied) VALUES (9000, 'later', 'later')");
  database.close();
  assert.match(reasonOf(newer), /^the database has migration 9000, .*: use a newer Holdover, or name another/);

  openStore({ directory: damaged }).close();
  const bytes = readFileSync(join(damaged, 'holdover.db'));
  writeFileSync(join(damaged, 'holdover.db'), bytes.fill(7, 200, 4096));
  assert.match(reasonOf(damaged), /^holdover\.db in it is damaged \(.*\): put back a copy, or name another/);
});

test('a data directory has one user at a time, and says who and where', (t) => {
  const directory = temporaryDirectory(t);
  const store = openStore({ directory });
  const process_ = `another Holdover, process ${process.pid}, is using it`;
  const end = `stop it (kill ${process.pid}), or start this one with another HOLDOVER_DATA_DIR and another HOLDOVER_PORT.`;
  assert.equal(reasonOf(directory), `${process_} and is starting. Use that one, ${end}`);
  store.announce('http://127.0.0.1:8080');
  assert.equal(reasonOf(directory), `${process_} and serves http://127.0.0.1:8080. Use that one, ${end}`);

  const note = join(directory, 'holdover.json');
  writeFileSync(note, readFileSync(note, 'utf8').replace(/"machine":"[^"]*"/, '"machine":"c0ffee"'));
  assert.match(reasonOf(directory), /process \d+ of the machine or container c0ffee, .* stop it there, or/);
  writeFileSync(note, '');
  assert.match(reasonOf(directory), /^another Holdover is using it: stop that one, or start/);

  store.close();
  temporaryStore(t, directory).check();
  assert.match(readFileSync(note, 'utf8'), new RegExp(`^{"pid":${process.pid},"machine":"[^"]+"}\n$`));
});

test('a database that another program has locked is named', (t) => {
  const directory = temporaryDirectory(t);
  openStore({ directory }).close();
  const another = new Database(join(directory, 'holdover.db'));
  another.exec('BEGIN IMMEDIATE');
  assert.match(reasonOf(directory), /^another program, such as sqlite3, has locked holdover\.db in it: end that/);
  another.close();
  temporaryStore(t, directory).check();
});

const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8);

test('what is stored is for its owner alone', (t) => {
  const parent = join(temporaryDirectory(t), 'parent');
  const directory = join(parent, 'data');
  const before = process.umask(0);
  t.after(() => process.umask(before));
  const store = openStore({ directory });
  const files = ['holdover.db', 'holdover.db-wal', 'holdover.db-shm'].map((name) => join(directory, name));
  assert.deepEqual([parent, directory].map(modeOf), ['700', '700']);
  assert.deepEqual(files.map(modeOf), ['600', '600', '600']);
  // As an earlier version has left it, and a copy that was taken while it ran.
  const copy = join(temporaryDirectory(t), 'copy');
  mkdirSync(copy, { mode: 0o755 });
  for (const file of files) {
    copyFileSync(file, join(copy, basename(file)));
    chmodSync(join(copy, basename(file)), 0o644);
  }
  store.close();
  const again = openStore({ directory: copy });
  assert.deepEqual(
    files.map((file) => modeOf(join(copy, basename(file)))),
    ['600', '600', '600'],
  );
  // Whoever has made the directory has chosen its mode.
  assert.equal(modeOf(copy), '755');
  again.close();
});
