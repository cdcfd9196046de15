/** The README is followed by somebody who has just cloned the project: every block, in two terminals. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { temporaryDirectory } from '../support/service.ts';
import { at, blocksOf, freshEnvironment, paste, ROOT } from './paste.ts';

/** The first terminal. Answers the address that it shows. */
async function firstTerminal(t: TestContext, block: string): Promise<string> {
  const env = { ...freshEnvironment(), HOLDOVER_PORT: '0', HOLDOVER_DATA_DIR: temporaryDirectory(t) };
  // A process group of its own, as in a terminal: its end is that of all that runs in it.
  const shell = spawn('bash', ['-c', block], { cwd: ROOT, env, detached: true, stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(async () => {
    const ended = once(shell.stdout!, 'close');
    process.kill(-shell.pid!, 'SIGTERM');
    await ended;
  });
  return await addressShownBy(shell);
}

async function addressShownBy(shell: ChildProcess): Promise<string> {
  let shown = '';
  for await (const chunk of shell.stdout!.iterator({ destroyOnReturn: false })) {
    shown += String(chunk);
    const address = /^ *API +(http:\S+)$/m.exec(shown)?.[1];
    if (address !== undefined) {
      shell.stdout!.resume();
      return address;
    }
  }
  throw new Error(`the service did not start:\n${shown}`);
}

test('a newcomer gets through the README by pasting one block after the other', async (t) => {
  const [start, ...blocks] = blocksOf('README.md', 'sh');
  assert.equal(start, 'npm start\n');
  const url = await firstTerminal(t, start);
  const directory = temporaryDirectory(t);
  const [code, ...others] = blocksOf('README.md', 'js');
  assert.ok(code !== undefined && others.length === 0, 'one test is shown');
  const [, file] = /^\/\/ (\S+)\n/.exec(code) ?? [];
  assert.ok(file !== undefined, 'it says in which file it belongs');
  writeFileSync(`${directory}/${file}`, at(url, code));

  const machines = blocksOf('docs/machines.md', 'sh');
  const { stdout, stderr } = await paste([...blocks, ...machines].map((block) => at(url, block)).join('\n'), directory);
  assert.equal(stderr, '');
  assert.match(stdout, /^\S+ pass 1$/m, 'the first test passes');
  assert.equal(stdout.split('"data":"aGVsbG8="').length - 1, 3, 'the device read the same bytes three times');
  assert.match(stdout, /"state":"L"/);
  const problems = [...stdout.matchAll(/"type":"\/problems.*?"status":(\d+),.*?"errno":"(\w+)"/g)];
  assert.deepEqual(
    problems.map(([, status, errno]) => [status, errno]),
    [['409', 'EBUSY']],
    'only the driver of the kernel is refused',
  );
  assert.match(stdout, /^\{"refusal":null,"hazards":\[\],"steps":\[\]\}$/m, 'the preflight finds nothing missing');
  assert.match(stdout, /^\{"pages":16384,"continuousPages":16384,"gaps":\[\],"moved":\[\]\}$/m, 'there was no gap');
  assert.match(stdout, /^kernel 2 +restore\.swapped .*\nkernel 2 +iommu\.free /m, 'the story ends with its timeline');
});
