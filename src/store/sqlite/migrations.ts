/**
 * Brings a database to the newest schema: the numbered files of `migrations/`, in order, each once. All that are
 * missing go into one transaction, so that a start that fails leaves the database as it was.
 */
import { readdirSync, readFileSync } from 'node:fs';
import type Database from 'better-sqlite3';

const FOLDER = new URL('../../../migrations/', import.meta.url);

export interface Migration {
  number: number;
  name: string;
  sql: string;
}

export function readMigrations(folder: URL = FOLDER): Migration[] {
  const names = readdirSync(folder)
    .filter((name) => /^\d{4}-.+\.sql$/.test(name))
    .sort();
  return names.map((name) => ({
    number: Number(name.slice(0, 4)),
    name,
    sql: readFileSync(new URL(name, folder), 'utf8'),
  }));
}

/** Returns the names of those that were applied now. */
export function migrate(database: Database.Database, migrations: Migration[] = readMigrations()): string[] {
  const run = database.transaction((): string[] => {
    database.exec(
      'CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied TEXT NOT NULL) STRICT',
    );
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
