/** `npm run bench:docs -- bench.json`: writes the figures between the two markers of docs/benchmarks.md. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Result } from './harness.ts';
import { markdown, YARDSTICK } from './table.ts';

const PAGE = fileURLToPath(new URL('../docs/benchmarks.md', import.meta.url));
const BEGIN = '<!-- performance -->';
const END = '<!-- end of performance -->';

function fail(sentence: string): never {
  process.stderr.write(`${sentence}\n`);
  process.exit(2);
}

const [path] = process.argv.slice(2);
if (path === undefined) fail('Usage: npm run bench:docs -- bench.json, which npm run bench -- --json writes.');
const { machine, results } = JSON.parse(readFileSync(path, 'utf8')) as { machine: string; results: Result[] };

/** What is worth a sentence of its own: what each floor is. */
const notes = results.map(({ name, figure, note }) => `- \`${name}\`${figure === '' ? '' : ` (${figure})`}: ${note}`);

const section = `${BEGIN}
Medians of several runs, with the least that could do it (the floor) measured in the same run: ${machine}.
Generated from \`npm run bench -- --json bench.json\`.

${markdown(results)}

${YARDSTICK}

<details>
<summary>What the floors are, and how fast the disk was</summary>

${notes.join('\n')}

</details>
${END}`;

const text = readFileSync(PAGE, 'utf8');
const begin = text.indexOf(BEGIN);
const end = text.indexOf(END);
if (begin < 0 || end < begin) fail(`docs/benchmarks.md has no ${BEGIN} with an ${END} after it.`);
writeFileSync(PAGE, text.slice(0, begin) + section + text.slice(end + END.length));
