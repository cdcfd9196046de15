/** A directory of seed files, and one for the data of the service that reads them. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { temporaryDirectory } from './service.ts';

export interface Seeded {
  /** Of the data. */
  directory: string;
  env: Record<string, string>;
  /** Writes a file of the seeds. */
  write(name: string, text: string): void;
}

export function seeded(t: TestContext, files: Record<string, string>): Seeded {
  const directory = temporaryDirectory(t);
  const seeds = join(directory, 'seeds');
  mkdirSync(seeds);
  const write = (name: string, text: string): void => {
    mkdirSync(dirname(join(seeds, name)), { recursive: true });
    writeFileSync(join(seeds, name), text);
  };
  for (const [name, text] of Object.entries(files)) write(name, text);
  return { directory: join(directory, 'data'), env: { HOLDOVER_SEED_DIR: seeds }, write };
}
