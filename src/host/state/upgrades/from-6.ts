/**
 * From engine 6, the last whose number was raised by hand. Its snapshots hold caches, a host has the time and the events,
 * counts are fields that anybody may change, and what excludes each other (owners of groups, states of what was restored)
 * stands side by side.
 */
import type { EmittedEvent } from '../../command.ts';
import { type StateGraph, StateObject } from '../graph.ts';
import type { Upgrade } from './upgrade.ts';

/** What has become a cache, or is found by other ways. */
const DROPPED: Readonly<Record<string, readonly string[]>> = {
  AddressSpace: ['_hint'],
  AreaGaps: ['_bothUnmeasured', '_cursor', '_endWords', '_none', 'unmeasured'],
  AreaGroup: ['_missedAlignment', '_missedLength', '_misses', 'known', 'widest'],
  AreaIndex: ['_spare', 'block', 'from', 'group', 'position', 'to'],
  AreaTable: ['_base', '_count', '_slot', '_words'],
  FrameMap: ['_hint'],
  Host: ['_records'],
  IoPagetable: ['_free', '_freeHint', '_lastHigh', '_lastLow', '_ranges'],
  PageTable: ['_group', '_groupNumber', '_lowest', '_span', '_words'],
  SharedPages: ['users'],
  SourceList: ['_kernel', '_last'],
};

/** What only the object itself counts now. */
const COUNTS: readonly (readonly [classes: readonly string[], fields: readonly string[]])[] = [
  [
    [
      'Access',
      'FaultQueue',
      'HwQueue',
      'HwptNested',
      'HwptPaging',
      'Ioas',
      'IommufdDevice',
      'Vdevice',
      'Veventq',
      'Viommu',
    ],
    ['users'],
  ],
  [
    [
      ...['AccessFile', 'FaultQueueFile', 'IommufdContext', 'LiveUpdateFile', 'MemfdFile', 'NullFile', 'SessionFile'],
      ...['VeventqFile', 'VfioDeviceFile', 'VfioGroupFile'],
    ],
    ['refs'],
  ],
  [
    ['ShmemInode', 'ViommuPage'],
    ['refs', 'pinnedPages', 'sharedWritable', 'restoredDomains'],
  ],
  [['Source'], ['areas', 'pinnedPages']],
];

type Fields = Record<string, unknown>;

const fieldsOf = (object: unknown): Fields => (object instanceof StateObject ? object.fields : (object as Fields));

export const FROM_6: Upgrade = {
  from: '6',
  to: '0ff3841743d6a478',
  step(graph) {
    for (const [of, fields] of Object.entries(DROPPED)) graph.dropFields(of, ...fields);
    for (const [classes, fields] of COUNTS)
      for (const name of classes) for (const field of fields) graph.renameField(name, field, `_${field}`);
    graph.renameField('IoPagetable', 'immutable', '_preserved');
    graph.addField('PagingDomain', '_lost', () => []);
    moveClock(graph);
    splitMemory(graph);
    joinOwners(graph);
    joinRestored(graph);
    const { kernel } = graph.root.fields;
    graph.addField('VfioDevice', 'kernel', kernel);
    graph.addField('VfioGroupFile', 'kernel', kernel);
    makeSessionFiles(graph);
    return takeEvents(graph);
  },
};

function moveClock({ root }: StateGraph): void {
  fieldsOf(root.fields.machine).clock = root.fields.time;
  delete root.fields.time;
}

/** Owners, pins and contents of frames. */
function splitMemory(graph: StateGraph): void {
  for (const memory of graph.objects('PhysicalMemory')) {
    const { frames, _runs, _free, _lowestFree, _framePins, _morePins, _chunkPins, _contents, _orphans } = memory.fields;
    const _owners = graph.make('FrameOwners', { frames, _runs, _free, _lowestFree });
    const _pins = graph.make('FramePins', { _framePins, _morePins, _chunkPins });
    memory.fields = {
      _owners,
      _pins,
      _contents: graph.make('FrameContents', { _owners, _words: _contents }),
      _orphans,
    };
  }
}

/** Of a group who owns it, and how often. */
function joinOwners(graph: StateGraph): void {
  graph.renameField('IommuGroup', 'domain', '_domain');
  for (const { fields } of graph.objects('IommuGroup')) {
    const { owner, ownerCount: count } = fields;
    delete fields.owner;
    delete fields.ownerCount;
    if (owner instanceof StateObject && owner.of === 'RestoredOwner') fields._owner = { kind: 'restored', owner };
    else if (owner !== null) fields._owner = { kind: 'user', context: owner, count };
    else fields._owner = count === 0 ? { kind: 'none' } : { kind: 'kernel', count };
  }
}

/** States of restored devices and HWPTs; what has ended is no longer listed. */
function joinRestored(graph: StateGraph): void {
  for (const { fields } of graph.objects('RestoredDomains')) {
    const devices = fields.devices as Map<string, Fields>;
    for (const [bdf, { fn, domain, owner, adopted, ended }] of devices) {
      fieldsOf(domain).dirtyEnabled ||= isDirtyEnabled(fieldsOf(domain), fieldsOf(fn));
      if (ended) devices.delete(bdf);
      else devices.set(bdf, adopted ? { state: 'adopted', domain } : { state: 'waiting', domain, owner });
    }
    for (const hwpts of (fields._hwpts as Map<string, Map<bigint, Fields>>).values())
      for (const [token, { domain, hwpt, claimed, gone }] of hwpts) {
        if (gone) hwpts.set(token, { state: 'gone' });
        else hwpts.set(token, hwpt === null ? { state: 'waiting', domain } : { state: 'live', domain, hwpt, claimed });
      }
  }
}

/** A restored domain did not know what its context entries say. */
function isDirtyEnabled({ unit }: Fields, { sourceId }: Fields): boolean {
  const { _memory, rootTable } = fieldsOf(unit);
  const words = fieldsOf(fieldsOf(_memory)._contents)._words as Map<unknown, Uint32Array>;
  const table = words.get(rootTable)?.[((sourceId as number) >>> 8) * 2];
  return ((words.get(table)?.[((sourceId as number) & 0xff) * 4] ?? 0) & 0x100) !== 0;
}

/** Files of sessions are objects of classes; what is preserved of a memfd goes by its inode. */
function makeSessionFiles(graph: StateGraph): void {
  const made = new Map<unknown, StateObject>();
  const replaceIn = (sessions: unknown, of: string): void => {
    for (const session of sessions as { files: Fields[] }[])
      session.files = session.files.map((file) => {
        const object = graph.make(of, file);
        made.set(file, object);
        return object as unknown as Fields;
      });
  };
  for (const { fields } of graph.objects('LiveUpdate')) {
    replaceIn(fields.outgoing, 'Preserved');
    replaceIn(fields.incoming, 'HandedOver');
  }
  for (const { fields } of graph.objects('Kho')) {
    const byFile = [...(fields._preserved as Map<unknown, unknown>)];
    const inodeOf = (key: unknown): unknown => {
      const entry = made.get(key);
      return entry ? fieldsOf(entry.fields.file).inode : key;
    };
    fields._preserved = new Map(byFile.map(([key, frames]) => [inodeOf(key), frames]));
  }
}

/** Takes the log out of a host that keeps its events itself. Those which were too many have gone before. */
function takeEvents({ root }: StateGraph): EmittedEvent[] {
  const { log } = root.fields;
  delete root.fields.log;
  const events = fieldsOf(log)._events as (EmittedEvent & { sequence: number })[];
  return events.map(({ sequence: _, ...event }) => event);
}
