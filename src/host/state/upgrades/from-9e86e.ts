/**
 * From engine 9e86ecd58d45974e: what many may wait in was a list, where a look at one cost a look at all. Tables above full
 * ones could not be computed yet, so that there are none.
 */
import type { StateObject } from '../graph.ts';
import type { Upgrade } from './upgrade.ts';

type Fields = Record<string, unknown>;

export const FROM_9E86E: Upgrade = {
  from: '9e86ecd58d45974e',
  to: 'f42d56877f1d1be2',
  step(graph) {
    for (const { fields } of graph.objects('Faults')) countPasses(fields);
    for (const { fields } of graph.objects('VfioDevice'))
      for (const name of ['files', 'boundFiles']) fields[name] = new Set(fields[name] as StateObject[]);
    for (const { fields } of graph.objects('Eventfd'))
      fields._waiters = new Set((fields._waiters as StateObject[]).toReversed());
    for (const { fields } of graph.objects('Veventq')) {
      fields._events = numbered(fields._events as unknown[]);
      fields._first = 0;
    }
    for (const { fields } of graph.objects('FaultQueue')) {
      const unread = fields._unread as unknown[];
      Object.assign(fields, { _unread: numbered(unread), _first: 0, _next: unread.length });
    }
    return undefined;
  },
};

/** A fault was counted down with every pass through its point; now the passes are counted. */
function countPasses(fields: Fields): void {
  const armed = fields.armed as { id: number; point: string; nth: number; errno: string }[];
  fields._armed = new Map(armed.map(({ id, point, nth, errno }) => [id, { id, point, due: nth, errno }]));
  fields._passes = new Map();
  delete fields.armed;
}

const numbered = (list: readonly unknown[]): Map<number, unknown> => new Map(list.entries());
