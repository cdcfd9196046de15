/** docs/rules.md names tests, and scenarios, that exist, for every rule. */
import assert from 'node:assert/strict';
import { glob, readFile } from 'node:fs/promises';
import { test } from 'node:test';

const ROOT = new URL('../../', import.meta.url).pathname;
const RULES = [...numbered('R', 25), ...numbered('C', 7)];

function numbered(letter: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${letter}${index + 1}`);
}

/** Names of tests by rule. */
async function readTable(): Promise<Map<string, string[]>> {
  const text = await readFile(`${ROOT}docs/rules.md`, 'utf8');
  const table = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const [, rule, , tests] = /^\| ([RC]\d+) \| (.+) \| (.*) \|$/.exec(line) ?? [];
    if (rule === undefined || tests === undefined) continue;
    assert.ok(!table.has(rule), `${rule} has one row`);
    table.set(
      rule,
      [...tests.matchAll(/`([^`]+)`/g)].map((match) => match[1]!),
    );
  }
  return table;
}

/** How often each name is that of a test of this project, or of a scenario. */
async function countTests(): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for await (const file of glob('test/**/*.test.ts', { cwd: ROOT })) {
    const source = await readFile(ROOT + file, 'utf8');
    for (const [, , name] of source.matchAll(/^\s*(?:test|it)\((['"`])(.+?)\1,/gm)) {
      if (name !== undefined) counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  for await (const file of glob('scenarios/*.yaml', { cwd: ROOT }))
    for (const [, name] of (await readFile(ROOT + file, 'utf8')).matchAll(/^name: "?(.+?)"?$/gm))
      counts.set(name!, (counts.get(name!) ?? 0) + 1);
  return counts;
}

test('docs/rules.md has a row for every rule, in order', async () => {
  assert.deepEqual([...(await readTable()).keys()], RULES);
});

test('every rule has a test, and every test that is named exists', async () => {
  const counts = await countTests();
  for (const [rule, tests] of await readTable()) {
    assert.ok(tests.length > 0, `${rule} has a test`);
    for (const name of tests) assert.equal(counts.get(name) ?? 0, 1, `${rule} names the one test '${name}'`);
  }
});

test('every scenario is a test named by its number', async () => {
  const names = [...(await countTests()).keys()];
  for (const scenario of numbered('S', 45)) {
    assert.ok(
      names.some((name) => name.startsWith(`${scenario} `)),
      `${scenario} is a test`,
    );
  }
});
