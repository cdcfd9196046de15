/**
 * Writes the pages of docs that are made of the code. With `--check` it only looks whether they are what the code says,
 * and fails where one is not.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { eventsPage } from './pages/events.ts';
import { hazardsPage } from './pages/hazards.ts';
import { structsPage } from './pages/structs.ts';
import { supportPage } from './pages/support.ts';

const PAGES: Readonly<Record<string, () => string>> = {
  'docs/events.md': eventsPage,
  'docs/hazards.md': hazardsPage,
  'docs/structs.md': structsPage,
  'docs/support.md': supportPage,
};

for (const [name, text] of Object.entries(PAGES)) {
  const file = new URL(`../${name}`, import.meta.url);
  if (!process.argv.includes('--check')) await writeFile(file, text());
  else if ((await readFile(file, 'utf8').catch(() => '')) !== text()) {
    process.stderr.write(`${name} is not what the code says: run \`npm run docs\` and commit the page.\n`);
    process.exitCode = 1;
  }
}
