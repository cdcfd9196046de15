/** Each room of the kernel and of the machine has a README that names its files, and the types form no large circle. */
import path from 'node:path';
import { circlesOf, type ImportGraph } from '../support/import-graph.ts';
import type { Repository } from './repository.ts';

const ROOMS = ['src/kernel/', 'src/machine/'];

export function checkReadmes(repository: Repository): string[] {
  const files = repository.paths(ROOMS, '.ts');
  return [...new Set(files.map((file) => path.posix.dirname(file)))].flatMap((room) => {
    const readme = repository.text(`${room}/README.md`);
    if (readme === '')
      return [`${room} has no README.md: write what the real thing does, the order of checks, and what is left out`];
    return files
      .filter((file) => path.posix.dirname(file) === room && !readme.includes(`\`${path.posix.basename(file)}\``))
      .map((file) => `${room}/README.md does not say what ${path.posix.basename(file)} is for: add it`);
  });
}

/** Files of src/kernel that import each other, types included, at the most: what has to be understood at once. */
const LARGEST_CIRCLE = 25;

export function checkCircles(repository: Repository): string[] {
  const files = repository.paths(['src/kernel/'], '.ts');
  const known = new Set(files);
  const graph: ImportGraph = new Map(
    files.map((file) => [file, new Set(repository.imports(file).filter((target) => known.has(target)))]),
  );
  return circlesOf(graph)
    .filter((circle) => circle.length > LARGEST_CIRCLE)
    .map(
      (circle) =>
        `${circle.length} files of src/kernel import each other in a circle, at most ${LARGEST_CIRCLE} may: let some of them ask for an interface of what they use; ${circle.join(', ')}`,
    );
}
