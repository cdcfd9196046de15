/**
 * Brings a database to the newest schema: the numbered files of `migrations/`, in order, each once. All that are
 * missing go into one transaction, so that a start that fails leaves the database as it was.
 */
import { readdirSync, readFileSync } from 'node:fs';
import type Database from 'better-sqlite3';
import { packageFile } from '../../package-files.ts';

const NUMBERED = /^\d{4}-.+\.sql$/;
const FOLDER = packageFile('migrations/');

export interface Migration {
  number: number;
  name: string;
  sql: string;
}

export function readMigrations(folder: URL = FOLDER): Migration[] {
  const names = readdirSync(folder)
    .filter((name) => NUMBERED.test(name))
    .sort();
  return names.map((name) => ({
    number: Number(name.slice(0, 4)),
    name,
    sql: readFileSync(new URL(name, folder), 'utf8'),
  }));
}

type Applied = Pick<Migration, 'number' | 'name'>;

/** Returns the names of those that were applied now. */
export function migrate(database: Database.Database, migrations: Migration[] = readMigrations()): string[] {
  const run = database.transaction((): string[] => {
    database.exec(
      'CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied TEXT NOT NULL) STRICT',
    );
    const applied = database.prepare<[], Applied>('SELECT number, name FROM migrations').all();
    // A number that has changed would have an older database brought up to date again, or a newer one refused.
    const strange = applied.find(({ number, name }) => NUMBERED.test(name) && Number(name.slice(0, 4)) !== number);
    if (strange !== undefined)
      throw new Error(`the database is damaged (migration ${strange.number} is ${strange.name}): put back a copy`);
    const latest = database
      .prepare<[], number>('SELECT coalesce(max(number), 0) FROM migrations')
      .pluck()
      .get() as number;
    const known = migrations.at(-1)?.number ?? 0;
    if (latest > known) {
      throw new Error(
        `the database has migration ${latest}, this version of Holdover knows ${known}: use a newer Holdover`,
      );
    }
    const missing = migrations.filter((migration) => migration.number > latest);
    const record = database.prepare('INSERT INTO migrations (number, name, applied) VALUES (?, ?, ?)');
    for (const migration of missing) {
      database.exec(migration.sql);
      record.run(migration.number, migration.name, new Date().toISOString());
    }
    return missing.map((migration) => migration.name);
  });
  return run.immediate();
}
