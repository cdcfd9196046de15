/** Rooms import downwards only, as ARCHITECTURE.md draws them. */
import type { Repository } from './repository.ts';

/** What each room may import besides itself. Whatever lies in `src` itself, the start of the service, may import all. */
const BELOW: Readonly<Record<string, readonly string[]>> = {
  'src/machine/': ['src/limits.ts'],
  'src/kernel/': ['src/machine/', 'src/limits.ts'],
  'src/host/': ['src/kernel/', 'src/machine/', 'src/limits.ts', 'src/nearest.ts'],
  'src/threads/': [],
  // What is stored of a host are its commands: the types of host/command.ts.
  'src/store/': ['src/host/command.ts', 'src/threads/', 'src/package-files.ts'],
  'src/lanes/': [
    'src/host/',
    'src/kernel/',
    'src/machine/',
    'src/store/',
    'src/threads/',
    'src/config.ts',
    'src/limits.ts',
    'src/log.ts',
  ],
  // It asks by HTTP: of what answers consist of it knows the types.
  'src/cli/': [
    'src/host/views.ts',
    'src/index.ts',
    'src/kernel/uapi/calls.ts',
    'src/main.ts',
    'src/own-node.ts',
    'src/scenarios/',
    'src/timeline/',
    'package.json',
  ],
  'src/http/': [
    'src/lanes/',
    'src/host/',
    'src/kernel/',
    'src/machine/',
    'src/store/',
    'src/threads/',
    'src/config.ts',
    'src/limits.ts',
    'src/log.ts',
    'src/nearest.ts',
    'src/package-files.ts',
    'src/quotas.ts',
    'src/timeline/',
    'src/traces.ts',
    // The version of the API is that of the package.
    'package.json',
  ],
  // Whoever runs scenarios is a client: of the service it knows the document of its API alone.
  'src/scenarios/': ['src/http/openapi.ts', 'src/nearest.ts', 'src/timeline/'],
  // Pages that run in a browser: of the service they know types alone.
  'src/console/': ['src/host/views.ts', 'src/timeline/'],
  // A picture of what the API has told: it runs in a browser as well, so of the service it knows types alone.
  'src/timeline/': ['src/host/views.ts'],
};

/** The one room that knows SQLite, and the files that open it; all others use the contract in src/store. */
const SQLITE = 'src/store/sqlite/';
const OPENED_IN: ReadonlySet<string> = new Set(['src/service.ts', 'src/lanes/thread.ts']);

export function checkArrows(repository: Repository): string[] {
  const findings: string[] = [];
  for (const [room, below] of Object.entries(BELOW))
    for (const file of repository.paths([room], '.ts'))
      for (const target of repository.imports(file))
        if (![room, ...below].some((allowed) => target.startsWith(allowed)))
          findings.push(
            `${file} imports ${target}: ${room} may import ${below.join(', ') || 'nothing else'}; give it what it needs, or move one of them`,
          );
  for (const file of repository.paths(['src/'], '.ts')) {
    if (file.startsWith(SQLITE)) continue;
    if (repository.packages(file).includes('better-sqlite3'))
      findings.push(`${file} imports better-sqlite3: only ${SQLITE} knows SQLite; use the store`);
    if (OPENED_IN.has(file)) continue;
    for (const target of repository.imports(file))
      if (target.startsWith(SQLITE))
        findings.push(`${file} imports ${target}: use the contract in src/store; only what opens a store names SQLite`);
  }
  return findings;
}
