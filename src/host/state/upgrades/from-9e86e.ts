/**
 * From engine 9e86ecd58d45974e, in which owned runs, spans of frames and mappings stood in one list each, and every frame
 * that was written had words of its own. Where many may wait (faults, files, waiters, events) there were lists, too. Tables
 * above full ones were never computed.
 */
import type { StateGraph, StateObject } from '../graph.ts';
import type { Upgrade } from './upgrade.ts';

type Fields = Record<string, unknown>;

/** Items of a block, and chunks of a frame. */
const BLOCK = 256;
const CHUNKS = 64;

export const FROM_9E86E: Upgrade = {
  from: '9e86ecd58d45974e',
  to: 'c24d4d65fab85052',
  step(graph) {
    for (const { fields } of graph.objects('FrameOwners')) fields._runs = sortedBy(graph, fields._runs, 'start');
    for (const { fields } of graph.objects('FrameMap')) fields._spans = sortedBy(graph, fields._spans, 'page');
    for (const { fields } of graph.objects('AddressSpace'))
      fields._mappings = sortedBy(graph, fields._mappings, 'first');
    for (const { fields } of graph.objects('FrameContents')) addChunks(graph, fields);
    for (const { fields } of graph.objects('Faults')) countPasses(fields);
    for (const { fields } of graph.objects('VfioDevice'))
      for (const name of ['files', 'boundFiles']) fields[name] = new Set(fields[name] as StateObject[]);
    for (const { fields } of graph.objects('Eventfd'))
      fields._waiters = new Set((fields._waiters as StateObject[]).toReversed());
    for (const { fields } of graph.objects('Veventq'))
      Object.assign(fields, { _events: numbered(fields._events as unknown[]), _first: 0 });
    for (const { fields } of graph.objects('FaultQueue')) {
      const unread = fields._unread as unknown[];
      Object.assign(fields, { _unread: numbered(unread), _first: 0, _next: unread.length });
    }
    return undefined;
  },
};

/** Items that are in the order of a field of theirs. */
function sortedBy(graph: StateGraph, items: unknown, field: string): StateObject {
  const list = items as Fields[];
  return sortedList(
    graph,
    list.map((item) => item[field] as number),
    list,
  );
}

function sortedList(graph: StateGraph, keys: number[], items: unknown[]): StateObject {
  const _blocks: StateObject[] = [];
  for (let from = 0; from < keys.length; from += BLOCK) {
    const [some, theirs] = [keys.slice(from, from + BLOCK), items.slice(from, from + BLOCK)];
    _blocks.push(graph.make('SortedBlock', { keys: some, items: theirs }));
  }
  return graph.make('SortedList', { _blocks, _length: keys.length });
}

/** All frames that were written have words of their own. */
function addChunks(graph: StateGraph, fields: Fields): void {
  const frames = [...(fields._words as Map<number, unknown>).keys()].sort((a, b) => a - b);
  fields._chunks = graph.make('ByteChunks', { _bytes: [], _numbers: [], _length: 0 });
  fields._places = sortedList(
    graph,
    frames.map((frame) => frame * CHUNKS),
    frames.map((frame) => -1 - frame),
  );
}

/** A fault was counted down with every pass through its point; now the passes are counted. */
function countPasses(fields: Fields): void {
  const armed = fields.armed as { id: number; point: string; nth: number; errno: string }[];
  fields._armed = new Map(armed.map(({ id, point, nth, errno }) => [id, { id, point, due: nth, errno }]));
  fields._passes = new Map();
  delete fields.armed;
}

const numbered = (list: readonly unknown[]): Map<number, unknown> => new Map(list.entries());
