/**
 * The kernel and the machine are pure: the same commands give the same answers, on every machine and at every time. They
 * import nothing but themselves, use nothing that is asynchronous or differs from one run to another, and compile where
 * there is nothing but the language.
 */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { parseSync } from 'oxc-parser';
import type { Repository } from './repository.ts';

const PURE = ['src/kernel/', 'src/machine/'];

/** Of the language, and yet not the same each time, or not at once. */
const FORBIDDEN: Readonly<Record<string, string>> = {
  Date: 'time is a counter that commands advance',
  Intl: 'it depends on the machine',
  Promise: 'a kernel answers at once',
  WeakRef: 'when memory is collected must not show',
  FinalizationRegistry: 'when memory is collected must not show',
  globalThis: 'a kernel has no state but its own',
  eval: 'it can do anything',
};

interface Node {
  type?: string;
  name?: string;
  async?: boolean;
  await?: boolean;
  object?: Node;
  property?: Node;
  start: number;
}

export function checkPurity(repository: Repository): string[] {
  return repository.paths(PURE, '.ts').flatMap((file) => {
    const text = repository.text(file);
    const at = ({ start }: Node): string => `${file}:${text.slice(0, start).split('\n').length}`;
    const findings = repository
      .packages(file)
      .map((name) => `${file} imports ${name}: what is below the host needs nothing but itself; do it above`);
    eachNode(parseSync(file, text).program, (node) => {
      const why = impurityOf(node);
      if (why) findings.push(`${at(node)} ${why}`);
    });
    return findings;
  });
}

function impurityOf(node: Node): string | undefined {
  if (node.type === 'AwaitExpression' || node.async === true || node.await === true)
    return 'is asynchronous: a kernel answers at once; wait above, in a lane';
  if (node.type === 'MemberExpression' && node.object?.name === 'Math' && node.property?.name === 'random')
    return 'uses Math.random: a replay has to give the same; derive it from what commands say';
  if (node.type !== 'Identifier' || !Object.hasOwn(FORBIDDEN, node.name!)) return undefined;
  return `uses ${node.name}: ${FORBIDDEN[node.name!]}; take it out`;
}

function eachNode(value: unknown, visit: (node: Node) => void): void {
  if (typeof value !== 'object' || value === null) return;
  if ('type' in value && typeof value.type === 'string') visit(value as Node);
  for (const child of Object.values(value)) eachNode(child, visit);
}

/** What the compiler does not know of the pure rooms where neither Node nor a browser is: `console`, `process`, timers. */
export function checkWithoutNode(): string[] {
  const root = path.join(import.meta.dirname, '../..');
  const { stdout, status } = spawnSync(
    process.execPath,
    [path.join(root, 'node_modules/typescript/bin/tsc'), '-p', 'test/tidy/tsconfig.json', '--pretty', 'false'],
    { cwd: root, encoding: 'utf8' },
  );
  const lines = stdout.split('\n').filter((line) => line !== '');
  if (status !== 0 && lines.length === 0) return ['tsc -p test/tidy/tsconfig.json could not run: try it by hand'];
  // The compiler goes on with advice that is none here.
  return lines.map((line) => {
    const [, at, said] = /^(.+?\(\d+,\d+\)): error \w+: ([^.]+)/.exec(line) ?? [undefined, line, ''];
    return `${at} ${said}: the kernel and the machine use nothing but the language; do it above`;
  });
}
