/** Runs the service as arguments and environment say; `src/entry/main.cjs` imports this if the Node can run it. */
import { setFlagsFromString } from 'node:v8';
import { ServerWorkers } from './lanes/lane-worker.ts';
import { collectBehindOthers } from './threads/priority.ts';
import { threadFile } from './threads/thread-file.ts';

/** Errors whose message says all that is needed; for others the stack is shown. */
const EXPLAINED = ['ConfigError', 'ListenFailed', 'StoreUnavailable', 'StoreDamaged', 'TenantExists'];

/**
 * For all threads of the process. What is called a thousand times is compiled as well as it can be: a client that makes one call
 * after another has called enough after a second for that, and gets its answers a fifth sooner from then on.
 */
const WARM = ['--invocation-count-for-maglev=400', '--invocation-count-for-turbofan=1000'];

collectBehindOthers();
const servers = new ServerWorkers(threadFile(import.meta.url, 'server-thread'));

try {
  const [{ readConfig }, { runService }] = await Promise.all([import('./config.ts'), import('./service.ts')]);
  await runService(readConfig(process.argv.slice(2), process.env), servers.take);
  for (const flag of WARM) setFlagsFromString(flag);
} catch (error) {
  if (!(error instanceof Error && EXPLAINED.includes(error.name))) throw error;
  process.stderr.write(`holdover: ${error.message}\n`);
  process.exit(1);
}
