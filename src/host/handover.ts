/** What a kernel that ends hands over, and what has become of it when the next one runs: what the answer of a kexec tells. */

import { usesDmaApi } from '../kernel/drivers.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { type LeftBehind, WHY_LEFT } from '../kernel/liveupdate/departure.ts';
import { hex } from '../machine/address.ts';
import type { PciFunction } from '../machine/pci/function.ts';
import type { Host } from './host.ts';
import { domainOf } from './queries/groups.ts';
import { aboutFile, devicesInSessions } from './queries/liveupdate.ts';
import { firstOf, leftOut } from './queries/page.ts';
import type { HandedOverDevice, HandedOverFile, HandoverView } from './views.ts';

/** As the old kernel has it; what is handed over counts as kept. */
export interface Departure extends Pick<HandoverView, 'mode' | 'devices' | 'sessions' | 'files'> {
  /** Simulated nanoseconds. */
  readonly at: bigint;
  readonly domains: readonly { readonly id: number; readonly devices: readonly string[] }[];
}

export interface Departing {
  mode: HandoverView['mode'];
  /** The functions that are handed over running. */
  kept: ReadonlySet<PciFunction>;
  left: readonly LeftBehind[];
}

/** Before the kernel is gone. Of a plain kexec there are no sessions, whatever is in them. */
export function departure({ machine }: Host, kernel: Kernel, { mode, kept, left }: Departing): Departure {
  const outgoing = mode === 'live-update' ? (kernel.luo?.outgoing ?? []) : [];
  const files = outgoing.flatMap(({ name, files }) =>
    files.map(({ token, handler, file }): HandedOverFile => {
      return { session: name, token: hex(token), handler: handler.compatible, kept: true, ...aboutFile(file) };
    }),
  );
  const domains = [...kernel.iommu.domains.values()].filter(({ preserved }) => preserved && mode === 'live-update');
  const users = Map.groupBy(kernel.iommu.groups.values(), ({ domain }) => domain);
  return {
    mode,
    at: machine.clock,
    devices: devices(kernel, kept, left),
    sessions: outgoing.map(({ name, files }) => ({ name, files: files.length })),
    files,
    domains: domains.map((domain) => ({
      id: domain.id,
      devices: (users.get(domain) ?? []).flatMap(({ functions }) => functions.map(({ bdf }) => bdf)),
    })),
  };
}

const NOWHERE = { state: 'N', domain: null, liveupdate: null } as const;

function devices(kernel: Kernel, kept: Departing['kept'], left: Departing['left']): HandedOverDevice[] {
  const places = devicesInSessions(kernel);
  const lost = new Map(left.map(({ fn, why }) => [fn, WHY_LEFT[why]]));
  const all = kernel.machine.functions.values().map((fn): HandedOverDevice => {
    const { bdf } = fn;
    const why = lost.get(fn);
    if (why !== undefined) return { bdf, fate: 'lost', ...NOWHERE, why };
    if (kept.has(fn)) {
      const { kind, id } = domainOf(kernel.iommu.groupOf(fn)!.domain);
      const liveupdate = places.get(bdf) ?? null;
      return { bdf, fate: 'kept', state: 'N', domain: kind === 'paging' ? id : null, liveupdate, why: null };
    }
    const driver = kernel.drivers.bound.get(bdf);
    const fate = driver !== undefined && usesDmaApi(driver) ? 'quiesced' : 'idle';
    return { bdf, fate, ...NOWHERE, why: null };
  });
  const isUsed = ({ fate }: HandedOverDevice): boolean => fate === 'kept' || fate === 'lost';
  const { used = [], unused = [] } = Object.groupBy(all, (device) => (isUsed(device) ? 'used' : 'unused'));
  return [...used, ...unused];
}

/** Whether the kernel that runs has been handed anything, and knows all of it. */
function takenBy({ kernel }: Host): { taken: boolean; isReadable: boolean } {
  const taken = kernel !== null && kernel.kexecCount > 0;
  return { taken, isReadable: taken && kernel.luo?.readsAll === true };
}

/** What has become of each device, when the next kernel has booted, or has stopped at it. */
function fatesOf(host: Host, departed: Departure): HandedOverDevice[] {
  const { machine, kernel, panic } = host;
  const { isReadable } = takenBy(host);
  return departed.devices.map((device): HandedOverDevice => {
    if (device.fate !== 'kept') return device;
    const state = kernel?.restored.stateOf(machine.functions.get(device.bdf)!) ?? 'N';
    const stays = device.domain === null ? isReadable : state !== 'N';
    if (stays) return { ...device, state };
    const why = panic === null ? 'this kernel has not taken it over' : `this kernel has stopped: ${panic}`;
    return { ...device, fate: 'lost', why };
  });
}

/** Raises the hazards of devices that were handed over to a kernel which has not taken them. */
function tellUntaken(host: Host, { devices: before }: Departure, devices: readonly HandedOverDevice[]): void {
  for (const [index, { bdf, fate, why }] of devices.entries())
    if (fate === 'lost' && before[index]!.fate === 'kept')
      host.emit('hazard', `${bdf}, which was handed over, is left behind: ${why}; its DMA ends here`, {
        hazard: 'device-left-behind',
        bdf,
        pid: null,
        why: 'not-taken',
      });
}

/** Likewise; raises the hazards of what was lost. */
export function handoverView(host: Host, departed: Departure): HandoverView {
  const { machine, kernel } = host;
  const { mode, at, sessions } = departed;
  const { taken, isReadable } = takenBy(host);
  const devices = fatesOf(host, departed);
  tellUntaken(host, departed, devices);
  const domains = departed.domains.map((domain) => ({
    ...domain,
    kept: kernel?.restored.domain(domain.id) !== undefined,
  }));
  const files = departed.files.map((file) => ({ ...file, kept: file.kept && isReadable }));
  return {
    mode,
    taken,
    blackout: (machine.clock - at).toString(),
    devices: firstOf(devices),
    sessions: firstOf(sessions),
    files: firstOf(files),
    domains: firstOf(domains),
    ...leftOut({
      devices: devices.length,
      sessions: sessions.length,
      files: files.length,
      domains: domains.length,
    }),
  };
}
