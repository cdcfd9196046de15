/** A directory of scenario files for a test, beside the setups of the project; it is deleted with the test. */
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

export const SCENARIOS = fileURLToPath(new URL('../../scenarios', import.meta.url));

/** Writes the files, and returns the directory. */
export async function scenarioFiles(t: TestContext, files: Readonly<Record<string, string>>): Promise<string> {
  const directory = await mkdtemp(path.join(tmpdir(), 'holdover-scenarios-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  await cp(path.join(SCENARIOS, 'setups'), path.join(directory, 'setups'), { recursive: true });
  for (const [name, text] of Object.entries(files)) await writeFile(path.join(directory, name), text);
  return directory;
}

/** The line, counted from 1 on, that has this text, which has to be there once. */
export function lineOf(text: string, part: string): number {
  const before = text.split(part);
  if (before.length !== 2) throw new Error(`\`${part}\` is there ${before.length - 1} times`);
  return before[0]!.split('\n').length;
}
