/** The LUO handler of memfds, `memfd-v2` (mm/memfd_luo.c). */
import type { FrameRun } from '../../machine/memory.ts';
import { type Refusal, refuse } from '../errno.ts';
import type { OpenFile } from '../file.ts';
import type { Kernel } from '../kernel.ts';
import type { FileHandler, IncomingFile, OutgoingFile, OutgoingSession } from '../liveupdate/handler.ts';
import { MemfdFile, ShmemInode } from './shmem.ts';

const MAX_PAGES = 2n ** 32n - 1n;

interface State {
  seals: number;
}

interface Data {
  size: string;
  position: string;
  seals: number;
  /** Page, frame, count. */
  pages: [number, number, number][];
}

const runsOf = (data: Data): FrameRun[] => data.pages.map(([, start, count]) => ({ start, count }));

export const MEMFD_HANDLER: FileHandler = {
  compatible: 'memfd-v2',
  point: 'memfd',

  canPreserve(_kernel: Kernel, file: OpenFile): boolean | string {
    if (!(file instanceof MemfdFile)) return false;
    return !file.inode.hugetlb || 'a memfd of huge pages (MFD_HUGETLB) cannot be preserved, only one of ordinary pages';
  },

  identity: (file: OpenFile): object => (file as MemfdFile).inode,

  preserve(kernel: Kernel, _session: OutgoingSession, entry: OutgoingFile): State | Refusal {
    const { inode } = entry.file as MemfdFile;
    const where = 'memfd_luo_preserve';
    const pages = inode.sizeInPages;
    if (pages > MAX_PAGES) return refuse('EFBIG', where, 'the memfd has more than 2^32-1 pages');
    const spans = pages === 0n ? [] : inode.populate(0, Number(pages) - 1);
    if (!spans) return refuse('ENOMEM', where, 'no memory to fill the holes of the memfd');
    inode.preserved = true;
    kernel.kho.preserve(
      entry,
      spans.map(({ frame, count }) => ({ start: frame, count })),
    );
    return { seals: inode.seals };
  },

  unpreserve(kernel: Kernel, entry: OutgoingFile): void {
    (entry.file as MemfdFile).inode.preserved = false;
    kernel.kho.unpreserve(entry);
  },

  /** The size is the frozen one, the seals are those at PRESERVE_FD, the position the one at the freeze. */
  serialize(_kernel: Kernel, entry: OutgoingFile): Data {
    const { inode, position } = entry.file as MemfdFile;
    // Frozen since PRESERVE_FD: these are the pages that were preserved. Those behind the size are not (memfd_luo.c).
    const spans = inode.pages.range(0, Number(inode.sizeInPages) - 1);
    return {
      size: `0x${inode.size.toString(16)}`,
      position: `0x${position.toString(16)}`,
      seals: (entry.state as State).seals,
      pages: spans.map(({ page, frame, count }) => [page, frame, count]),
    };
  },

  retrieve(kernel: Kernel, _session: string, entry: IncomingFile): OpenFile | Refusal {
    const data = entry.data as Data;
    const { memory } = kernel.machine;
    const inode = new ShmemInode(memory, '', false, data.seals);
    inode.size = BigInt(data.size);
    for (const [page, frame, count] of data.pages) {
      memory.setOwner(frame, count, 'memfd');
      inode.pages.insert({ page, frame, count, folioShift: 12 });
    }
    const file = new MemfdFile(inode);
    file.position = BigInt(data.position);
    kernel.restored.memfdRetrieved(inode);
    return file;
  },

  /** Never retrieved: its pages are freed. A failed retrieve has freed what it could. */
  finish(kernel: Kernel, entry: IncomingFile): void {
    if (entry.file || entry.failed) return;
    const runs = runsOf(entry.data as Data);
    kernel.restored.pagesLost(runs, `memfd with token 0x${entry.token.toString(16)} was not retrieved before FINISH`);
    for (const { start, count } of runs) {
      kernel.machine.memory.setOwner(start, count, 'memfd');
      kernel.machine.memory.release(start, count);
    }
  },
};
