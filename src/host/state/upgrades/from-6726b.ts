/**
 * From engine 6726bd726a13f6eb, whose engines wrote no bytes: what they have written until then stays unwritten. Descriptors and
 * objects were in maps, and processes did not know what a fork had made of them.
 */
import type { StateGraph, StateObject } from '../graph.ts';
import type { Upgrade } from './upgrade.ts';

interface Spec {
  readonly bdf: string;
  readonly access: string;
  readonly ranges: readonly { count: number }[];
  readonly bytesPerSecond: bigint;
}

const PAGE = 64;

/** A NumberTable of what a map has. */
function table(graph: StateGraph, entries: Iterable<[number, unknown]>): StateObject {
  const pages: unknown[][] = [];
  let size = 0;
  for (const [number, item] of entries) {
    const at = Math.floor(number / PAGE);
    while (pages.length <= at) pages.push([]);
    while (pages[at]!.length <= number % PAGE) pages[at]!.push(undefined);
    pages[at]![number % PAGE] = item;
    size++;
  }
  return graph.make('NumberTable', { _pages: pages, _size: size });
}

export const FROM_6726B: Upgrade = {
  from: '6726bd726a13f6eb',
  to: 'a451c33f295ccfd9',
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
    for (const { fields } of graph.objects('Process')) {
      fields._descriptors = table(graph, fields._descriptors as Map<number, StateObject>);
      fields._closeOnExec = table(
        graph,
        [...(fields._closeOnExec as Set<number>)].map((fd) => [fd, true]),
      );
      fields.entriesOfFork = 0;
    }
    for (const { fields } of graph.objects('ObjectTable'))
      fields._objects = table(graph, fields._objects as Map<number, StateObject | null>);
    graph.addField('Kernel', '_forkedEntries', 0);
    return undefined;
  },
};
