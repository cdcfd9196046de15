/** What cannot be run of docs/testing.md is checked: it can be read, and names nothing that there is not. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { temporaryDirectory } from '../support/service.ts';
import { blocksOf, ROOT } from './paste.ts';

const PAGE = 'docs/testing.md';

test('JavaScript of the page can be read, and imports what the package exports', (t) => {
  const blocks = blocksOf(PAGE, 'js');
  assert.ok(blocks.length >= 4);
  for (const [index, block] of blocks.entries()) {
    const file = join(temporaryDirectory(t), `example-${index}.mjs`);
    writeFileSync(file, block);
    const { status, stderr } = spawnSync(process.execPath, ['--check', file], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    for (const [, names] of block.matchAll(/import \{(.+?)\} from 'holdover'/g))
      assert.equal(names!.trim(), 'startHoldover', block);
  }
});

interface Service {
  image?: string;
  name?: string;
  env?: object;
  environment?: object;
  variables?: object;
}

test('files of continuous integration can be read, and start the service with variables that it knows', () => {
  const known = readFileSync(`${ROOT}docs/configuration.md`, 'utf8');
  const files = blocksOf(PAGE, 'yaml').map((block) => parse(block) as Record<string, never>);
  const services = files.flatMap((file): Service[] => [
    ...Object.values((file.jobs as { test: { services: Record<string, Service> } } | undefined)?.test.services ?? {}),
    ...((file.test as { services: Service[] } | undefined)?.services ?? []),
    ...Object.values((file.services as Record<string, Service> | undefined) ?? {}),
  ]);
  const ours = services.filter(({ image, name }) => /holdover/.test(image ?? name ?? ''));
  assert.equal(ours.length, 3);
  for (const { env, environment, variables } of ours)
    for (const name of Object.keys({ ...env, ...environment, ...variables }))
      assert.ok(known.includes(`\`${name}\``), name);
});

test('other languages give the service variables, and ask paths, that it knows', () => {
  const known = readFileSync(`${ROOT}docs/configuration.md`, 'utf8');
  for (const language of ['python', 'go', 'rust'])
    for (const block of blocksOf(PAGE, language)) {
      const names = [...block.matchAll(/"(HOLDOVER_\w+)"/g)].map(([, name]) => name!);
      assert.ok(names.length > 0, language);
      for (const name of names) assert.ok(known.includes(`\`${name}\``), name);
      assert.match(block, /"\/readyz"|"address"/, language);
    }
});
