/** Runs the service as arguments and environment say; `src/entry/main.ts` imports this where Node can run it. */
import { readConfig } from './config.ts';
import { runService } from './service.ts';

/** Errors whose message tells a person all that is needed; of others the stack is shown. */
const EXPLAINED = ['ConfigError', 'ListenFailed', 'StoreUnavailable', 'TenantExists'];

try {
  await runService(readConfig(process.argv.slice(2), process.env));
} catch (error) {
  if (!(error instanceof Error && EXPLAINED.includes(error.name))) throw error;
  process.stderr.write(`holdover: ${error.message}\n`);
  process.exit(1);
}
