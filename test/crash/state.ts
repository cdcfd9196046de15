/** The canonical state of a host: all that can be seen of it from outside. */
import { hash } from 'node:crypto';
import type { DeviceView, IommufdView, ProcessView } from '../../src/host/views.ts';

/** Reads below the host. */
export type Look = <Value>(path: string) => Promise<Value>;

interface Page {
  items: unknown[];
  nextPageToken: string | null;
}

/** The ranges in which clients map something. */
const TRANSLATED = [
  'iova=0x100000000&length=0x10000000',
  'iova=0x200000000&length=0x10000000',
  'iova=0x0&length=0x100000000',
];
const ALL_MEMORY = 'address=0x7f0000000000&length=0x10000000';

/** Everything by the path that shows it. */
export async function stateOf(look: Look): Promise<Map<string, unknown>> {
  const state = new Map<string, unknown>();
  const see = async <Value>(path: string): Promise<Value> => {
    const value = await look<Value>(path);
    state.set(path, value);
    return value;
  };
  const list = async <Value>(path: string, limit: number): Promise<Value[]> => {
    const items: unknown[] = [];
    for (let after = ''; ; ) {
      const page = await look<Page>(`${path}?limit=${limit}${after}`);
      items.push(...page.items);
      if (page.nextPageToken === null) break;
      after = `&after=${page.nextPageToken}`;
    }
    state.set(path, items);
    return items as Value[];
  };
  // Its id and its birthday are its own.
  const { id: _, created: __, ...host } = await look<Record<string, unknown>>('');
  state.set('', host);
  for (const path of ['/groups', '/domains', '/sessions', '/faults']) await see(path);
  const { items: devices } = await see<{ items: DeviceView[] }>('/devices');
  for (const { bdf } of devices) for (const range of TRANSLATED) await see(`/devices/${bdf}/translation?${range}`);
  const { items: processes } = await see<{ items: ProcessView[] }>('/processes');
  for (const { pid, descriptors } of processes) {
    await see(`/processes/${pid}/memory-map?${ALL_MEMORY}`);
    for (const { fd, kind } of descriptors) {
      if (kind !== 'iommufd') continue;
      const path = `/processes/${pid}/iommufds/${fd}`;
      const { ioases, hwpts } = await see<IommufdView>(path);
      for (const hwpt of hwpts) await see(`${path}/hwpts/${hwpt}`);
      for (const ioas of ioases) {
        await see(`${path}/ioases/${ioas}`);
        await list(`${path}/ioases/${ioas}/mappings`, 10_000);
      }
    }
  }
  await list('/events', 1000);
  return state;
}

function digestOf(state: Map<string, unknown>): string {
  return hash('sha256', JSON.stringify([...state].sort(([a], [b]) => (a < b ? -1 : 1))), 'hex');
}

/** Where they differ first, in a few lines; null where they do not. */
export function differenceOf(found: Map<string, unknown>, expected: Map<string, unknown>): string | null {
  if (digestOf(found) === digestOf(expected)) return null;
  for (const path of new Set([...expected.keys(), ...found.keys()])) {
    const difference = firstDifference(found.get(path), expected.get(path));
    if (difference !== null) return `${path || 'the host'}:\n${difference}`;
  }
  return 'the order differs';
}

/** Throws where they differ, and shows where: a difference worked out in full would take hours for large values. */
export function assertSame(found: unknown, expected: unknown, what: string): void {
  const difference = firstDifference(found, expected);
  if (difference !== null) throw new Error(`${what}:\n${difference}`);
}

function firstDifference(found: unknown, expected: unknown): string | null {
  const [is, should] = [found, expected].map((value) => JSON.stringify(value) ?? 'not there');
  if (is === should) return null;
  let at = 0;
  while (is![at] === should![at]) at += 1;
  const around = (text: string): string => text.slice(Math.max(0, at - 200), at + 200);
  return `  is     …${around(is!)}…\n  should …${around(should!)}…`;
}
