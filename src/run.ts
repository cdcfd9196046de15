/** Runs the service as arguments and environment say; `src/entry/main.cjs` imports this if the Node can run it. */
import type { Worker } from 'node:worker_threads';
import { startServerWorker } from './lanes/lane-worker.ts';
import { collectBehindOthers } from './threads/priority.ts';
import { threadFile } from './threads/thread-file.ts';

/** Errors whose message says all that is needed; for others the stack is shown. */
const EXPLAINED = ['ConfigError', 'ListenFailed', 'StoreUnavailable', 'StoreDamaged', 'TenantExists'];

collectBehindOthers();
/** Its program is loaded while the rest of this one is. */
let first: Worker | undefined = startServer();

function startServer(): Worker {
  return startServerWorker(threadFile(import.meta.url, 'server-thread'));
}

/** The one that has been started, and further ones where that dies. */
function takeServer(): Worker {
  const server = first ?? startServer();
  first = undefined;
  return server;
}

try {
  const [{ readConfig }, { runService }] = await Promise.all([import('./config.ts'), import('./service.ts')]);
  await runService(readConfig(process.argv.slice(2), process.env), takeServer);
} catch (error) {
  if (!(error instanceof Error && EXPLAINED.includes(error.name))) throw error;
  process.stderr.write(`holdover: ${error.message}\n`);
  process.exit(1);
}
