/** The scenario files of the project: all of them hold, and a mistake in one is found where it was made. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { jsonSchema } from '../../src/scenarios/format.ts';
import { runScenarios } from '../../src/scenarios/run.ts';
import { useApp } from '../support/app.ts';
import { lineOf, SCENARIOS, scenarioFiles } from '../support/scenario-files.ts';

const app = useApp();

test('S1 to S45 hold', async (t) => {
  const { outcomes, failed, passed } = await runScenarios([SCENARIOS], app);
  for (const { name, failure } of outcomes)
    await t.test(name, () => {
      assert.equal(failure && `${failure.at}: ${failure.message}\n${JSON.stringify(failure.differences)}`, undefined);
    });
  assert.deepEqual([failed, passed], [0, outcomes.length]);
  const numbers = new Set(outcomes.map(({ name }) => Number(/^S(\d+) /.exec(name)?.[1])));
  assert.deepEqual(
    Array.from({ length: 45 }, (_, index) => index + 1).filter((number) => !numbers.has(number)),
    [],
    'each of them is there',
  );
  const hosts = await app.agent.get('/v1/hosts').set('authorization', `Bearer ${app.key}`);
  assert.deepEqual(hosts.body.items, [], 'no host is left behind');
});

/** What is planted in a file: the text, what it becomes, the line that fails (from the text on), and what the failure says. */
const MISTAKES: readonly [file: string, text: string, mistake: string, line: number, says: RegExp][] = [
  ['S01-round-trip', '    expect: 5\n', '    expect: 6\n', 0, /expect\.ret: expected 6, got 5/],
  [
    'S04-preserve-errors',
    '    expect: EBADF\n',
    '    expect: EINVAL\n',
    0,
    /expected EINVAL, got \{"errno":"EBADF","where":"fdget"/,
  ],
  [
    'S06-close-aborts',
    'length: 8Ki} # the size',
    'length: 4Ki} # the size',
    0,
    /expected success, got \{"errno":"EPERM"/,
  ],
  [
    'S14-freeze-failure',
    'unfreeze, session: s2, token: 3',
    'unfreeze, session: s2, token: 4',
    0,
    /events\.4: expected .*"token":4\}/,
  ],
  [
    'S24-devices-that-cannot-go',
    '$D4, why: no-session',
    '$D4, why: not-adopted',
    0,
    /hazards\.1: expected .*got device-left-behind/,
  ],
  [
    'S25-abort',
    'PT: $cdev\n',
    'PT: $cdev\n    expect: no-gap\n',
    1,
    /the DMA had a gap\nexpect: expected no gap of engine 1 of 0000:01:00\.0/,
  ],
  ['S26-happy-path', '{state: A, owner: iommufd', '{state: S, owner: iommufd', 0, /expect\.state: expected S, got A/],
  [
    'S33-incomplete-hot-swap',
    '    hazards: [{hazard: incomplete-hot-swap, bdf: $D1, iova: $IOVA, bytes: $RAM}]\n',
    '',
    -3,
    /no further hazard.*incomplete-hot-swap/,
  ],
  ['S39-two-devices', '{$D1: S, $D2: A}', '{$D1: S, $D2: S}', 0, /states\.\$D2: expected S, got A/],
  [
    'S45-late-mapping-errors',
    'fd: $file, start: 0',
    'fd: $fil, start: 0',
    0,
    /there is no symbol `fil` here; did you mean `file`\?/,
  ],
];

for (const [file, text, mistake, offset, says] of MISTAKES)
  test(`a mistake in ${file} fails at its line`, async (t) => {
    const right = await readFile(path.join(SCENARIOS, `${file}.yaml`), 'utf8');
    const line = lineOf(right, text) + offset;
    const directory = await scenarioFiles(t, { 'wrong.yaml': right.replace(text, () => mistake) });
    const { outcomes, failed } = await runScenarios([directory], app);
    assert.equal(failed, 1);
    const { failure } = outcomes.find((outcome) => outcome.failure !== undefined)!;
    const told = failure!.differences.map(
      ({ what, expected, got }) => `${what}: expected ${show(expected)}, got ${show(got)}`,
    );
    assert.match([failure!.message, ...told].join('\n'), says);
    assert.equal(failure!.at, `${path.join(directory, 'wrong.yaml')}:${line}`);
    assert.match(failure!.timeline.join('\n'), /^kernel 1 {2}boot {2}booted cold$/m);
    assert.match(failure!.reproduce.join('\n'), /^H=\/v1\/hosts\/\$\(ask POST \/v1\/hosts/m);
  });

const show = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

test('the schema for editors is what the code says', async () => {
  const file = await readFile(path.join(SCENARIOS, 'scenario.schema.json'), 'utf8');
  assert.deepEqual(JSON.parse(file), jsonSchema(), 'run `npm run scenarios:schema`');
});
