/**
 * The entry: `node src/main.ts [--dev]`. It looks at the version of Node before anything else is imported, because
 * on an old one the native part of better-sqlite3 ends the process without a word.
 */
const OLDEST_NODE = 26;

function fail(sentence: string): never {
  process.stderr.write(`holdover: ${sentence}\n`);
  process.exit(1);
}

if (Number.parseInt(process.versions.node, 10) < OLDEST_NODE) {
  fail(
    `Node ${OLDEST_NODE} or newer is needed, this is ${process.versions.node}. In the project, npm start brings one.`,
  );
}

const { readConfig } = await import('./config.ts');
const { runService } = await import('./service.ts');

/** Errors whose message tells a person all that is needed; of others the stack is shown. */
const EXPLAINED = ['ConfigError', 'ListenFailed', 'StoreUnavailable', 'TenantExists'];

try {
  await runService(readConfig(process.argv.slice(2), process.env));
} catch (error) {
  if (error instanceof Error && EXPLAINED.includes(error.name)) fail(error.message);
  throw error;
}
