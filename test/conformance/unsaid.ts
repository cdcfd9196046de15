/** What a trace does not say of its machine, and the answers depend on. */
import type { TraceHost } from './host.ts';
import type { Trace } from './trace.ts';

/**
 * Faults by the name of the trace. Behind the emulated port of one function the link is not reported up again after a reset of
 * its bus; the header knows functions only, and no register of theirs shows it.
 */
const FAULTS: Readonly<Record<string, readonly { point: string; nth: number }[]>> = {
  'reset-hot-link-stays-down': [
    { point: 'pci.link', nth: 1 },
    { point: 'pci.link', nth: 2 },
  ],
};

export async function tellUnsaid(host: TraceHost, { name }: Trace): Promise<void> {
  for (const fault of FAULTS[name] ?? []) await host.ask('POST', '/faults', fault);
}
