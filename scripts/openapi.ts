/**
 * Writes openapi/openapi.json, the document that the service answers at /openapi.json. With `--check` it only looks
 * whether the file is what the code says, and fails where it is not.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { openapiDocument } from '../src/http/openapi.ts';

const file = new URL('../openapi/openapi.json', import.meta.url);
const text = `${JSON.stringify(openapiDocument(), null, 2)}\n`;

if (!process.argv.includes('--check')) await writeFile(file, text);
else if ((await readFile(file, 'utf8').catch(() => '')) !== text) {
  process.stderr.write('openapi/openapi.json is not what the code says: run `npm run openapi` and commit the file.\n');
  process.exitCode = 1;
}
