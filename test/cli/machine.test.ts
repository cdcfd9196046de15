/** What `holdover` does without a service: this machine as a description, what is wrong with the installation, completion. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { describeMachine } from '../../src/cli/capture.ts';
import { buildHostSpec } from '../../src/host/host-spec.ts';
import { useApp } from '../support/app.ts';
import { temporaryDirectory } from '../support/service.ts';
import { command } from './command.ts';

const app = useApp();

const LSPCI = `0000:00:00.0 Host bridge [0600]: Intel Corporation 11th Gen Core Processor Host Bridge [8086:9a14] (rev 01)
0000:01:00.0 Non-Volatile memory controller [0108]: Samsung Electronics NVMe SSD Controller PM9A1 [144d:a80a]
\tKernel driver in use: nvme
\tKernel modules: nvme
`;

test('groups of sysfs and functions of lspci are one description', () => {
  const groups = ['0/devices/0000:00:00.0', '7/devices/0000:01:00.0'].map((path) => `/sys/kernel/iommu_groups/${path}`);
  const built = buildHostSpec(describeMachine(groups, LSPCI));
  assert.ok('spec' in built, JSON.stringify(built));
  const { functions } = built.spec.machine;
  assert.deepEqual(
    functions.map(({ bdf, class: code, driver }) => [bdf, code, driver]),
    [
      ['0000:00:00.0', '0600', null],
      ['0000:01:00.0', '0108', 'nvme'],
    ],
  );
});

test('a host can be made of what capture prints of this machine', { skip: process.platform !== 'linux' }, async (t) => {
  const directory = temporaryDirectory(t);
  writeFileSync(join(directory, 'lspci'), `#!/bin/sh\ncat <<'END'\n${LSPCI}END\n`);
  chmodSync(join(directory, 'lspci'), 0o755);
  const env = { PATH: `${directory}:${process.env.PATH}` };
  const { code, output, errors } = await command(['capture'], undefined, { env });
  assert.equal(code, 0, errors);
  assert.match((JSON.parse(output) as { topology: { text: string } }).topology.text, /PM9A1/);
  const made = await command(['hosts', 'create', '--file', '-', '--json'], app, { input: output });
  assert.equal(made.code, 0, made.errors);
});

interface Finding {
  about: string;
  state: string;
  mend?: string;
}

async function findings(
  ...parameters: Parameters<typeof command>
): Promise<{ code: number | null; of: Map<string, Finding> }> {
  const [args, place, given] = parameters;
  const { code, output } = await command(['doctor', '--json', ...args], place, given);
  return { code, of: new Map((JSON.parse(output) as Finding[]).map((finding) => [finding.about, finding])) };
}

test('the doctor finds nothing where all is well', async (t) => {
  const env = { HOLDOVER_DATA_DIR: temporaryDirectory(t), HOLDOVER_PORT: '0' };
  const { code, of } = await findings([], app, { env });
  assert.equal(code, 0);
  assert.deepEqual([...of.keys()], ['node', 'better-sqlite3', 'data directory', 'port', 'service', 'key']);
  assert.deepEqual(new Set([...of.values()].map(({ state }) => state)), new Set(['ok']));
});

test('the doctor names a port that is taken, a service that is not there and a key that nobody has, and what to do', async (t) => {
  const { port } = new URL(app.url);
  const env = { HOLDOVER_DATA_DIR: temporaryDirectory(t), HOLDOVER_PORT: port };
  const gone = await findings([], { url: 'http://127.0.0.1:2', key: 'k' }, { env });
  assert.equal(gone.code, 1);
  assert.equal(gone.of.get('port')?.state, 'wrong');
  assert.match(gone.of.get('port')?.mend ?? '', /HOLDOVER_PORT/);
  assert.match(gone.of.get('service')?.mend ?? '', /holdover serve --dev/);
  const stranger = await findings([], { url: app.url, key: 'wrong' }, { env });
  assert.equal(stranger.code, 1);
  assert.equal(stranger.of.get('port')?.state, 'note', 'the service has it');
  assert.match(stranger.of.get('key')?.mend ?? '', /HOLDOVER_KEY/);
});

test('the page of the command has a row for each that there is', async () => {
  const { output } = await command(['--help']);
  const [, listed] = /^Commands:\n(.*?)^$/ms.exec(output)!;
  const names = [...listed!.matchAll(/^ {2}(\w+) /gm)].map(([, name]) => name).filter((name) => name !== 'help');
  const page = readFileSync(new URL('../../docs/cli.md', import.meta.url), 'utf8');
  assert.deepEqual(
    [...page.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name),
    names,
  );
});

test('bash completes commands, commands of families, and options', async () => {
  const { output } = await command(['completion', 'bash']);
  const complete = (...words: string[]): string[] => {
    const line = `${output}\nCOMP_WORDS=(holdover ${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length}; _holdover; echo "\${COMPREPLY[@]}"`;
    return execFileSync('bash', ['-c', line], { encoding: 'utf8' }).trim().split(' ');
  };
  assert.deepEqual(complete('ke'), ['kexec']);
  assert.deepEqual(complete('hosts', 'cr'), ['create']);
  assert.deepEqual(complete('kexec', '--m'), ['--mode']);
  assert.equal((await command(['completion', 'fish'])).code, 2);
});
