/**
 * From engine 0ff3841743d6a478, the last without the device side of vfio-pci. Its mappings had their private pages each, of
 * private mappings of files a copy; shared ones referred to the inode of a memfd and not to a file.
 */
import type { StateGraph, StateObject } from '../graph.ts';
import type { Upgrade } from './upgrade.ts';

type Fields = Record<string, unknown>;

const O_RDWR = 2;
/** With O_LARGEFILE, which open(2) adds. */
const OPENED = 0x8002;
const ALL = 7;
const READ = 1;
const WRITE = 2;
const SEALS_OF_WRITES = 8 | 16;
const SEAL_OF_EXECUTION = 32;
const BASE_SHIFT = 12;
const HUGE_SHIFT = 21;

export const FROM_0FF38: Upgrade = {
  from: '0ff3841743d6a478',
  to: '9e86ecd58d45974e',
  step(graph) {
    addFiles(graph);
    addMemfds(graph);
    for (const space of graph.objects('AddressSpace')) joinMappings(graph, space.fields);
    leaveMemfds(graph);
    addDevices(graph);
    return undefined;
  },
};

/**
 * What a path was opened for is reading and writing, and it stays open over exec; what the kernel itself has made is closed.
 */
function addFiles(graph: StateGraph): void {
  graph.addField('IommufdContext', 'node', '/dev/iommu');
  for (const kind of ['AccessFile', 'FaultQueueFile', 'SessionFile', 'VeventqFile'])
    graph.addField(kind, 'flags', O_RDWR);
  for (const kind of ['LiveUpdateFile', 'NullFile', 'VfioGroupFile']) graph.addField(kind, 'flags', OPENED);
  graph.addField('IommufdContext', 'flags', ({ fields }: StateObject) => (fields.restored ? O_RDWR : OPENED));
  graph.addField('VfioDeviceFile', 'flags', ({ fields }: StateObject) =>
    fields.cdev && !fields.retrieved ? OPENED : O_RDWR,
  );
  graph.addField('MemfdFile', 'flags', ({ fields }: StateObject) =>
    (fields.inode as StateObject).fields.name === '' ? O_RDWR : OPENED,
  );
  graph.addField('Process', '_closeOnExec', ({ fields }: StateObject) => {
    const descriptors = [...(fields._descriptors as Map<number, StateObject>)];
    return new Set(descriptors.filter(([, file]) => file.fields.flags === O_RDWR).map(([fd]) => fd));
  });
}

function addMemfds(graph: StateGraph): void {
  for (const { fields } of graph.objects('ShmemInode')) {
    fields.pageShift = fields.hugetlb ? HUGE_SHIFT : BASE_SHIFT;
    fields.mode = (fields.seals as number) & SEAL_OF_EXECUTION ? 0o666 : 0o777;
    fields.fallocated = emptyFrames(graph);
  }
  graph.dropFields('ShmemInode', 'hugetlb', 'pinnable', '_pinnedPages');
}

const emptyFrames = (graph: StateGraph): StateObject => graph.make('FrameMap', { _spans: [] });

/** Private pages are the process's, and a mapping of a memfd refers to a file, as of each mmap its own. */
function joinMappings(graph: StateGraph, space: Fields): void {
  const spans: unknown[] = [];
  const mappings = space._mappings as Fields[];
  space._mappings = mappings.map(({ first, last, writable, huge, frames, inode, filePage }, index) => {
    const prot = writable ? READ | WRITE : READ;
    if (inode === null) {
      spans.push(...((frames as StateObject).fields._spans as unknown[]));
      const pageShift = huge ? HUGE_SHIFT : BASE_SHIFT;
      const own = {
        shared: false,
        file: null,
        device: null,
        offset: first,
        accounted: !huge && writable,
        anon: index + 1,
      };
      return { first, last, prot, may: ALL, pageShift, ...own, forked: false };
    }
    const shown = shows(graph, inode as StateObject, writable === true);
    return { first, last, prot, ...shown, shared: true, offset: filePage, accounted: false, anon: 0, forked: false };
  });
  space.frames = graph.make('FrameMap', { _spans: spans });
  space._lastAnon = mappings.length;
  space.memory = space._memory;
  delete space._memory;
}

/** Who maps a memfd to read it could write to it after an mprotect, and counts as one who does, unless it is sealed. */
function shows(graph: StateGraph, of: StateObject, writable: boolean): Fields {
  if (of.of === 'ViommuPage') return { may: ALL, pageShift: BASE_SHIFT, file: null, device: of };
  const inode = of.fields as { _sharedWritable: number; seals: number; pageShift: number };
  const sealed = !writable && (inode.seals & SEALS_OF_WRITES) !== 0;
  if (!writable && !sealed) inode._sharedWritable++;
  const file = graph.make('MemfdFile', { _refs: 1, flags: OPENED, inode: of, kind: 'memfd', position: 0n });
  return { may: sealed ? ALL & ~WRITE : ALL, pageShift: inode.pageShift, file, device: null };
}

/** The page of a vIOMMU is memory of a device. */
function leaveMemfds(graph: StateGraph): void {
  const counts = ['_pinnedPages', '_restoredDomains', '_sharedWritable'];
  graph.dropFields('ViommuPage', ...counts, 'hugetlb', 'name', 'pinnable', 'preserved', 'seals', 'size');
}

/** What vfio-pci keeps of a device that is open is made when it is first asked for. */
function addDevices(graph: StateGraph): void {
  graph.addField('VfioDevice', 'pci', null);
  graph.addField('VfioDevice', 'msiQmax', 0);
  graph.addField('VfioDevice', 'needsReset', false);
  graph.addField('VfioDeviceFile', 'position', 0n);
  for (const { fields } of graph.objects('VfioDeviceFile'))
    if (fields.retrieved !== null) (fields.retrieved as Fields).config = null;
  graph.addField('PciFunction', 'barPages', null);
  graph.addField('PciFunction', 'config', ({ fields }: StateObject) =>
    graph.make('ConfigSpace', { _changed: null, _fn: fields.spec }),
  );
}
