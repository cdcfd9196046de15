/**
 * Runs scenario files, or all of `scenarios/`: against the service of HOLDOVER_URL and HOLDOVER_KEY,
 * or one that is there for the run. With `--junit`, `--json`
 * and `--html` it writes reports to the files that are named. `--schema` writes what editors take instead, and with
 * `--check` only looks whether that is what the code says.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { jsonSchema } from '../src/scenarios/format.ts';
import { startOwnService } from '../src/scenarios/own-service.ts';
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
  const { HOLDOVER_URL, HOLDOVER_KEY: key = 'dev-key' } = process.env;
  const own =
    HOLDOVER_URL === undefined
      ? await startOwnService(fileURLToPath(new URL('../src/main.ts', import.meta.url)))
      : undefined;
  const { junit, json, html, parallel } = values;
  const { failed } = await runScenarios(positionals.length > 0 ? positionals : ['scenarios'], {
    ...(own ?? { url: HOLDOVER_URL!, key }),
    write: (line) => process.stdout.write(line),
    ...(junit !== undefined && { junit }),
    ...(json !== undefined && { json }),
    ...(html !== undefined && { html }),
    ...(parallel !== undefined && { parallel: Number(parallel) }),
  }).finally(() => own?.stop());
  if (failed > 0) process.exitCode = 1;
}
