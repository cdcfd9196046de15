/** Runs the service as arguments and environment say; `src/entry/main.ts` imports this if the Node can run it. */
import { readConfig } from './config.ts';
import { runService } from './service.ts';
import { collectBehindOthers } from './threads/priority.ts';

/** Errors whose message says all that is needed; for others the stack is shown. */
const EXPLAINED = ['ConfigError', 'ListenFailed', 'StoreUnavailable', 'StoreDamaged', 'TenantExists'];

collectBehindOthers();
try {
  await runService(readConfig(process.argv.slice(2), process.env));
} catch (error) {
  if (!(error instanceof Error && EXPLAINED.includes(error.name))) throw error;
  process.stderr.write(`holdover: ${error.message}\n`);
  process.exit(1);
}
