/** Writes what editors are told of scenario files; with `--check` it only looks whether that is what the code says. */
import { readFile, writeFile } from 'node:fs/promises';
import { jsonSchema } from '../src/scenarios/format.ts';

const file = new URL('../scenarios/scenario.schema.json', import.meta.url);
const schema = `${JSON.stringify(jsonSchema(), null, 1)}\n`;
if (!process.argv.includes('--check')) await writeFile(file, schema);
else if ((await readFile(file, 'utf8').catch(() => '')) !== schema) {
  process.stderr.write('scenarios/scenario.schema.json is not what the code says: run `npm run scenarios:schema`.\n');
  process.exitCode = 1;
}
