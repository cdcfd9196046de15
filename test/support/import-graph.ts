/** Which source files import which, types included, and the circles that they form. */
import { parseSync } from 'oxc-parser';

/** What each file imports: paths of files, all of them below the same folder. */
export type ImportGraph = ReadonlyMap<string, ReadonlySet<string>>;

/** Relative imports of one file, `import type` and `export … from` included. Throws if it does not parse. */
export function importsOf(file: string, text: string): string[] {
  const { module, errors } = parseSync(file, text);
  if (errors.length > 0) throw new Error(`${file}: ${errors[0]!.message}`);
  const named = module.staticImports.map(({ moduleRequest }) => moduleRequest.value);
  const passedOn = module.staticExports.flatMap(({ entries }) => entries.map((entry) => entry.moduleRequest?.value));
  return [...named, ...passedOn].filter((name): name is string => name?.startsWith('.') === true);
}

/**
 * The circles: largest sets of files, of two or more, in which each one imports each other one, directly or through
 * others of the set. The largest comes first, files in order of their names. Tarjan's algorithm.
 */
export function circlesOf(graph: ImportGraph): string[][] {
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const onStack = new Set<string>();
  const circles: string[][] = [];
  const visit = (file: string): void => {
    const number = index.size;
    index.set(file, number);
    low.set(file, number);
    stack.push(file);
    onStack.add(file);
    for (const target of graph.get(file) ?? []) {
      if (!index.has(target)) visit(target);
      if (onStack.has(target)) low.set(file, Math.min(low.get(file)!, low.get(target)!));
    }
    if (low.get(file) !== number) return;
    const circle = stack.splice(stack.indexOf(file));
    for (const member of circle) onStack.delete(member);
    if (circle.length > 1) circles.push(circle.sort());
  };
  for (const file of graph.keys()) visit(file);
  return circles.sort((a, b) => b.length - a.length);
}
