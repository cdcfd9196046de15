/** From engine 6726bd726a13f6eb, whose engines wrote no bytes: what they have written until then stays unwritten. */
import type { StateObject } from '../graph.ts';
import type { Upgrade } from './upgrade.ts';

interface Spec {
  readonly bdf: string;
  readonly access: string;
  readonly ranges: readonly { count: number }[];
  readonly bytesPerSecond: bigint;
}

export const FROM_6726B: Upgrade = {
  from: '6726bd726a13f6eb',
  to: '5dacc67a2aa2ca1f',
  step(graph) {
    const list = (keys: number[], items: unknown[]): StateObject =>
      graph.make('SortedList', {
        _blocks: keys.length === 0 ? [] : [graph.make('SortedBlock', { keys, items })],
        _length: keys.length,
      });
    const [machine] = graph.objects('Machine');
    for (const { fields } of graph.objects('DmaEngine')) {
      const { bdf, access, ranges, bytesPerSecond } = fields.spec as Spec;
      const pages = ranges.reduce((sum, { count }) => sum + count, 0);
      const since = fields.since as bigint;
      const done = (((machine!.fields.clock as bigint) - since) * bytesPerSecond) / (1_000_000_000n * 4096n);
      const settled = list([0], [{ first: 0, end: pages, access: done }]);
      Object.assign(fields, {
        bdf,
        access,
        rounds: graph.make('Rounds', { engine: fields.id, ranges, bytesPerSecond, since, pages }),
        _settled: graph.make('SettledPages', { _runs: settled }),
        _dirtied: done,
      });
      delete fields.spec;
      delete fields.since;
    }
    graph.addField('DmaEngines', 'written', (engines: StateObject) =>
      graph.make('WrittenBytes', { _engines: engines, _left: list([], []) }),
    );
    graph.addField('PhysicalMemory', 'engines', machine!.fields.engines);
    return undefined;
  },
};
