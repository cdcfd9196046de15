/** What the service tells of a host of a test, as a report asks it, and rows in a few characters. */
import type { DeviceView, EngineView } from '../../src/host/views.ts';
import { type DeviceRow, type Timeline, type Told, timelineOf } from '../../src/timeline/rows.ts';
import { stateNow } from '../../src/timeline/states.ts';
import type { Host } from '../support/client.ts';

export async function toldOf(host: Host): Promise<Told> {
  const items = async <Item>(path: string): Promise<Item[]> =>
    ((await host.request('get', path)) as { items: Item[] }).items;
  const devices = await items<DeviceView>('/devices');
  const engines = await Promise.all(devices.map(({ bdf }) => items<EngineView>(`/devices/${bdf}/engines`)));
  return { events: await host.events(), devices, engines: engines.flat() };
}

export async function timelineOfHost(host: Host): Promise<Timeline> {
  return timelineOf(await toldOf(host));
}

/** The states of a device by kernel, such as `N Np | L A S`: `p` a program, `k` a driver has its DMA. */
export function lettersOf({ stretches }: DeviceRow, { kernels }: Timeline): string {
  return kernels
    .map(({ from, to }) =>
      stretches
        .filter((stretch) => stretch.from >= from && stretch.from < to)
        .map(({ state: { letter, owner } }) => (letter === 'N' ? `N${owner?.[0] ?? ''}` : letter))
        .join(' '),
    )
    .join(' | ');
}

/** Devices whose last stretch is not what the service tells of them. */
export function wrongAtTheEnd({ devices }: Timeline, told: Told): string[] {
  return told.devices
    .filter((view) => {
      const row = devices.find(({ bdf }) => bdf === view.bdf)!;
      const { letter, owner } = row.stretches.at(-1)!.state;
      const now = stateNow(view);
      return letter !== now.letter || owner !== now.owner;
    })
    .map(({ bdf }) => bdf);
}
