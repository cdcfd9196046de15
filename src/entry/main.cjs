/**
 * The entry, `node src/main.ts [--dev]`, looks at the version of Node before anything else is imported: an old one cannot
 * read TypeScript, and the native part of better-sqlite3 ends it without a word. src/main.ts is a link to this file, which any
 * Node reads as what it is, plain CommonJS: not even what reads TypeScript is loaded for it.
 */
const OLDEST_NODE = 26;

if (Number.parseInt(process.versions.node, 10) < OLDEST_NODE) {
  const version = process.versions.node;
  process.stderr.write(
    `holdover: Node ${OLDEST_NODE} or newer is needed, this is ${version}. In the project, npm start brings one.\n`,
  );
  process.exitCode = 1;
} else {
  // What was compiled at an earlier start, types stripped, is kept in the directory for temporary files. Threads know by the variable.
  const { directory } = require('node:module').enableCompileCache();
  if (directory !== undefined) process.env.NODE_COMPILE_CACHE ??= directory;
  // What a thread makes while it starts stays: a young generation that begins with 1 MiB is copied a dozen times until it has grown.
  // Several threads at one young generation wait for each other where others have the processors: for a tenth of a second and more.
  // A heap may grow to twice what is in it before garbage is collected again, rather than by several times that. To less than that the
  // small heap of a lane must not be bound: V8 begins when as much as the young generation (16 MiB) is left, and counts new buffers in.
  // Hardly anything is called so often while the service starts that compiling it well pays, which takes the other processor. From
  // when on it serves, run.ts says.
  // And what requests are made of is new, always: where V8 comes to think otherwise, as happens under load, it makes it among what is
  // old, and all of the heap is collected once a second.
  // A thread that rests for some seconds would collect all of its heap, and with it lose what it has compiled: calls would take twice as
  // long, for seconds, after each pause of their caller. What there is much of, residents.ts collects.
  const flags = [
    '--min-semi-space-size=8',
    '--no-parallel-scavenge',
    '--heap-growing-percent=100',
    '--invocation-count-for-maglev=2000',
    '--invocation-count-for-turbofan=10000',
    '--no-allocation-site-pretenuring',
    '--no-memory-reducer-for-small-heaps',
  ];
  keepMemoryWell(flags);
  for (const flag of flags) require('node:v8').setFlagsFromString(flag);
  import('../run.ts');
}

/** The same process begins anew, some 30 ms later, if whoever has started it has not said how memory is to be kept. */
function keepMemoryWell(flags) {
  const { env, execPath, execArgv, argv } = process;
  if (process.platform !== 'linux' || !process.execve || env.MALLOC_MMAP_THRESHOLD_ !== undefined) return;
  try {
    process.execve(execPath, [execPath, ...flags, ...execArgv, ...argv.slice(1)], {
      ...require('./memory.cjs'),
      ...env,
    });
  } catch {
    // It is only better so.
  }
}
