/** The log of a service in this process that looks at its hosts: what it finds is told where the test fails. */
import type { Log } from '../../src/log.ts';

/** From a lane's thread errors come as plain data. */
interface Told {
  err?: { name?: string; type?: string; message: string };
}

export const FINDINGS: Log = {
  info() {},
  warn() {},
  error({ err }: Told) {
    if ([err?.name, err?.type].includes('InvariantBroken')) console.error(`found: ${err!.message}`);
  },
};
