/** The query of the host as a whole. */

import { FAULT_POINTS } from '../../kernel/faults.ts';
import { hex } from '../../machine/address.ts';
import { ok } from '../answers.ts';
import type { Host } from '../host.ts';
import type { HostView } from '../views.ts';
import { bytes } from './bytes.ts';
import { firstOf, leftOut } from './page.ts';
import type { Rows } from './row.ts';

export function hostView(host: Host): HostView {
  const { memory } = host.machine;
  const owners = memory.owners();
  return {
    state: host.state,
    panic: host.panic,
    kernel: host.kernelNumber,
    profile: host.options.profile,
    policies: host.options.policies,
    boot: host.options.boot,
    liveupdateNumber: host.kernel?.luo?.number ?? 0,
    kexecCount: host.kernel?.kexecCount ?? 0,
    memory: {
      total: bytes(memory.frames),
      free: bytes(memory.freeFrames),
      preserved: hex(host.kernel?.preservedBytes ?? 0),
      reserved: bytes(owners.get('reserved') ?? 0),
      owners: Object.fromEntries([...owners].sort().map(([owner, frames]) => [owner, bytes(frames)])),
    },
    time: host.machine.clock.toString(),
  };
}

export const HOST_VIEWS: Rows<'host' | 'faults' | 'snapshots'> = {
  snapshots: { needs: 'host', answer: ({ snapshots }) => ok(snapshots.map((snapshot) => ({ ...snapshot }))) },
  host: { needs: 'host', answer: (host) => ok(hostView(host)) },
  faults: {
    needs: 'host',
    answer: ({ faults }) =>
      ok({
        points: Object.entries(FAULT_POINTS).map(([name, { about }]) => ({ name, about })),
        armed: firstOf(faults.armed),
        over: faults.over,
        ...leftOut({ armed: faults.armed.length }),
      }),
  },
};
