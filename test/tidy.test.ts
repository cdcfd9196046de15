/** The form of the code: what people agreed on, and no compiler looks after. Each finding is a sentence that says what to do. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkArrows } from './tidy/arrows.ts';
import { checkLengths } from './tidy/lengths.ts';
import { checkPurity, checkWithoutNode } from './tidy/purity.ts';
import { checkReferences } from './tidy/references.ts';
import { Repository, readRepository } from './tidy/repository.ts';
import { checkCircles, checkReadmes } from './tidy/rooms.ts';

const repository = readRepository();

function clean(what: string, check: () => string[]): void {
  test(what, () => {
    const findings = check();
    assert.ok(findings.length === 0, findings.join('\n'));
  });
}

clean('rooms import downwards, and SQLite is named only where a store is opened', () => checkArrows(repository));
clean('the kernel and the machine are pure', () => checkPurity(repository));
clean('the kernel and the machine compile without Node', checkWithoutNode);
clean('no file of src is too long without a reason', () => checkLengths(repository));
clean('what comments and pages refer to is there', () => checkReferences(repository));
clean('each room of the kernel and of the machine has a README that names its files', () => checkReadmes(repository));
clean('no large circle of files in the kernel', () => checkCircles(repository));

/** Faults planted in a small repository, each of which its check has to find, and nothing else. */
function finds(
  what: string,
  check: (planted: Repository) => string[],
  files: Record<string, string>,
  ...found: RegExp[]
) {
  test(`found: ${what}`, () => {
    const planted = { 'package.json': '{"scripts":{"start":""}}', 'docs/rules.md': '| R1 | it is back |', ...files };
    const findings = check(new Repository(planted));
    assert.equal(findings.length, found.length, findings.join('\n'));
    for (const [index, pattern] of found.entries()) assert.match(findings[index]!, pattern);
  });
}

finds(
  'an arrow that points up, types included',
  checkArrows,
  {
    'src/machine/a.ts': "import type { B } from '../kernel/b.ts';",
    'src/kernel/b.ts': "import { a } from '../machine/a.ts';\nexport * from '../host/c.ts';",
    'src/host/c.ts': "import { near } from '../nearest.ts';",
  },
  /^src\/machine\/a\.ts imports src\/kernel\/b\.ts/,
  /^src\/kernel\/b\.ts imports src\/host\/c\.ts: src\/kernel\/ may import src\/machine\//,
);
finds(
  'SQLite behind the back of the store',
  checkArrows,
  {
    'src/http/a.ts': "import type { Rows } from '../store/sqlite/rows.ts';",
    'src/lanes/b.ts': "import Database from 'better-sqlite3';",
    'src/lanes/thread.ts': "import { open } from '../store/sqlite/database.ts';",
  },
  /^src\/http\/a\.ts imports src\/store\/sqlite\/rows\.ts: use the contract/,
  /^src\/lanes\/b\.ts imports better-sqlite3/,
);
finds(
  'what makes a kernel answer differently, or later',
  checkPurity,
  {
    'src/kernel/a.ts': "import { readFileSync } from 'node:fs';\nexport const now = () => Date.now();",
    'src/kernel/b.ts': '/** Date, Math.random and await in a comment are words. */\nexport async function b() {}',
    'src/machine/c.ts': '\nexport const c = (date: string) => Math.random();',
  },
  /^src\/kernel\/a\.ts imports node:fs/,
  /^src\/kernel\/a\.ts:2 uses Date/,
  /^src\/kernel\/b\.ts:2 is asynchronous/,
  /^src\/machine\/c\.ts:2 uses Math\.random/,
);
finds(
  'a long file without a reason',
  checkLengths,
  {
    'src/host/a.ts': `/** Much. */\n${'export {};\n'.repeat(400)}`,
    'src/host/b.ts': `/** Much. Long because it is one table. */\n${'export {};\n'.repeat(400)}`,
    'src/host/c.ts': `/** Enough. */\n${'export {};\n'.repeat(399)}`,
  },
  /^src\/host\/a\.ts has 401 lines, more than 400/,
);
finds(
  'what is referred to and is not there',
  checkReferences,
  {
    'src/kernel/a.ts': '/** vfio.md 3, a.ts, R1, R99, drivers/vfio/group.c. */\nexport const A = "b.md";',
    'src/kernel/README.md': 'See [the rules](../../docs/rules.md) and [more](more.md); `npm start`, `npm run more`.',
    'test/a.test.ts': '// As section 4 has it; /home/it/notes.txt says more.\n',
  },
  /^src\/kernel\/a\.ts:1 names vfio\.md, which the repository does not have/,
  /^src\/kernel\/a\.ts:1 names rule R99/,
  /^test\/a\.test\.ts:1 names \/home\/it\/notes\.txt, a path of one machine/,
  /^test\/a\.test\.ts:1 refers to section 4/,
  /^src\/kernel\/README\.md:1 names more\.md/,
  /^src\/kernel\/README\.md:1 names npm run more/,
  /^src\/kernel\/README\.md:1 links more\.md/,
);
finds(
  'a room without a README, and a file that it does not name',
  checkReadmes,
  {
    'src/kernel/a.ts': '',
    'src/kernel/README.md': '# Kernel\n\n`a.ts`',
    'src/kernel/b.ts': '',
    'src/machine/c/d.ts': '',
  },
  /^src\/kernel\/README\.md does not say what b\.ts is for/,
  /^src\/machine\/c has no README\.md/,
);
finds(
  'a circle that is too large',
  checkCircles,
  Object.fromEntries(
    Array.from({ length: 26 }, (_, file) => [
      `src/kernel/a${file}.ts`,
      `import type {} from './a${(file + 1) % 26}.ts';`,
    ]),
  ),
  /^26 files of src\/kernel import each other in a circle/,
);
