/**
 * Runs scenario files, or all of `scenarios/`: against the service of HOLDOVER_URL and HOLDOVER_KEY. With `--junit`, `--json`
 * and `--html` it writes reports to the files that are named. `--schema` writes what editors take instead, and with
 * `--check` only looks whether that is what the code says.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { jsonSchema } from '../src/scenarios/format.ts';
import { runScenarios } from '../src/scenarios/run.ts';

const text = { type: 'string' } as const;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    junit: text,
    json: text,
    html: text,
    parallel: text,
    schema: { type: 'boolean' },
    check: { type: 'boolean' },
  },
});

if (values.schema) {
  const file = new URL('../scenarios/scenario.schema.json', import.meta.url);
  const schema = `${JSON.stringify(jsonSchema(), null, 1)}\n`;
  if (!values.check) await writeFile(file, schema);
  else if ((await readFile(file, 'utf8').catch(() => '')) !== schema) {
    process.stderr.write(
      'scenarios/scenario.schema.json is not what the code says: run `npm run scenarios -- --schema`.\n',
    );
    process.exitCode = 1;
  }
} else {
  const { HOLDOVER_URL: url = 'http://127.0.0.1:8080', HOLDOVER_KEY: key = 'dev-key' } = process.env;
  const { junit, json, html, parallel } = values;
  const { failed } = await runScenarios(positionals.length > 0 ? positionals : ['scenarios'], {
    url,
    key,
    write: (line) => process.stdout.write(line),
    ...(junit !== undefined && { junit }),
    ...(json !== undefined && { json }),
    ...(html !== undefined && { html }),
    ...(parallel !== undefined && { parallel: Number(parallel) }),
  });
  if (failed > 0) process.exitCode = 1;
}
