/** The Node that the package brings, for programs that run under an older one. Any Node from 20 on reads this. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import manifest from '../package.json' with { type: 'json' };

/** The service needs this version of Node, or a newer one. */
export const OLDEST_NODE = 26;

export const isNewEnough = (version: string = process.versions.node): boolean =>
  Number.parseInt(version, 10) >= OLDEST_NODE;

const require = createRequire(import.meta.url);

/** The path of the package's own Node, or undefined: npm has none for this system, or optional packages are switched off. */
export function ownNode(): string | undefined {
  const paths = Object.keys(manifest.optionalDependencies).map(pathIn);
  return paths.find((path) => path !== undefined);
}

/** It is a package for each system, of which npm installs the one for this. */
function pathIn(name: string): string | undefined {
  try {
    const path = join(dirname(require.resolve(`${name}/package.json`)), 'bin/node');
    return existsSync(path) ? path : undefined;
  } catch {
    return undefined;
  }
}

/** A Node that can run the service: this one, or the package's own. Throws where there is none. */
export function nodeForService(): string {
  const node = isNewEnough() ? process.execPath : ownNode();
  if (node !== undefined) return node;
  throw new Error(
    `Node ${OLDEST_NODE} or newer is needed, this is ${process.versions.node}, and npm has installed none for ` +
      `${process.platform} on ${process.arch} beside Holdover: use a newer Node, or install without --omit=optional.`,
  );
}
