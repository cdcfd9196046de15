/** Hosts that are made as another one is, or as it was behind one of its commands. */
import type { Answer, EmittedEvent, Query } from '../host/command.ts';
import type { DeviceView, HostView } from '../host/views.ts';
import type { HostCopy, HostRow } from '../store/store.ts';
import { now, type Outcome } from './jobs.ts';
import { packLarge } from './large.ts';
import { type Engine, type LoadedHost, type Rebuilding, rebuildAt } from './replay.ts';
import { inSlices, type Pace } from './slices.ts';
import { look } from './work-off.ts';

/** The row of a host that is made of another one; its spec is that one's. */
export type CopyRow = Omit<HostRow, 'spec'>;

/** Queries that look at copies of the host. */
export const COPYING: ReadonlySet<Query['view']> = new Set(['preflight', 'sweep']);

/** What is copied. */
interface Original {
  hostId: string;
  host: LoadedHost;
  /** Behind which command. */
  at: number;
  /** When all that it holds is stored. */
  stored: Promise<void>;
}

/**
 * Makes one of a host, as it is or as it was behind a command. The value is the new one's HostView, with its `devices`. The host
 * waits only while it is read.
 */
export async function makeCopy(
  { hostId, host, at, stored: before }: Original,
  row: CopyRow,
  from: Rebuilding,
): Promise<Outcome<Answer>> {
  const asked = at === host.sequence ? host : await pastOf(hostId, at, host.sequence, from);
  if (typeof asked === 'string') return now({ kind: 'not-found', what: asked });
  const { engine, sequence } = asked;
  const view = await newHostView(engine, from.pace);
  const snapshot = await inSlices(engine.snapshot!(), from.pace);
  const insert = insertCopy(hostId, row, beginning(hostId, sequence, view), { sequence, ...snapshot }, from);
  const stored = Promise.all([before, insert]).then(() => {});
  return await packLarge({ value: { kind: 'ok', value: view }, stored }, from.pace);
}

/** What is told of a host that has been made of something: its HostView, with its `devices`. */
export async function newHostView(engine: Engine, pace: Pace): Promise<HostView & { devices: DeviceView[] }> {
  const { value: view } = (await look(engine, { view: 'host' }, pace)) as { value: HostView };
  const { value: devices } = (await look(engine, { view: 'devices' }, pace)) as { value: DeviceView[] };
  return { ...view, devices };
}

async function pastOf(hostId: string, at: number, last: number, from: Rebuilding): Promise<LoadedHost | string> {
  const host = await rebuildAt(hostId, at, last, from);
  if (typeof host === 'string') return host;
  return host.engine.pendingBoot ? `kernel behind command ${at}, a freeze: ask for ${at + 1}` : host;
}

async function insertCopy(
  hostId: string,
  row: CopyRow,
  event: EmittedEvent,
  copy: HostCopy,
  { store }: Rebuilding,
): Promise<void> {
  const origin = await store.hosts.origin(hostId);
  if (origin === undefined || !('spec' in origin)) throw new Error('the description of the host is gone');
  await store.hosts.insert({ ...row, spec: origin.spec }, [event], copy);
}

/** The first event of a host that is made as another one was. */
export function beginning(of: string, sequence: number, { time, kernel, state }: HostView): EmittedEvent {
  const message = `this host is made as ${of} was behind command ${sequence}`;
  return { time, kernel, kind: 'copy', message, data: { of, sequence, state } };
}
