/**
 * Loaded before the service, in each of its threads: the process dies, as by `kill -9`, when it stores a command, a host or a tenant;
 * `DIES=before`: before that is committed, `DIES=after`: right behind the commit, before anybody can be told.
 */
import Database from 'better-sqlite3';

const STORES = /^\s*INSERT INTO (journal|hosts|tenants)\b/;
const { DIES: when } = process.env;
const { prepare, transaction } = Database.prototype;
let isWritten = false;

const die = (): void => {
  process.kill(process.pid, 'SIGKILL');
};

const dieIfCommitted = (database: Database.Database): void => {
  if (isWritten && !database.inTransaction) die();
};

type Run = (...values: never[]) => unknown;

Database.prototype.prepare = function (this: Database.Database, sql: string) {
  const statement = prepare.call(this, sql);
  if (!STORES.test(sql)) return statement;
  const run: Run = statement.run.bind(statement);
  const dying = (...values: never[]): unknown => {
    const result = run(...values);
    if (when === 'before' && this.inTransaction) die();
    isWritten = true;
    dieIfCommitted(this);
    return result;
  };
  return Object.assign(statement, { run: dying });
} as typeof prepare;

Database.prototype.transaction = function (this: Database.Database, work: Run) {
  const made = transaction.call(this, work);
  const dying =
    (run: Run): Run =>
    (...values) => {
      const result = run(...values);
      dieIfCommitted(this);
      return result;
    };
  return Object.assign(dying(made), { immediate: dying(made.immediate) });
} as typeof transaction;
