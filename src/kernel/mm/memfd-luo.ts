/** The LUO handler of memfds, `memfd-v2` (mm/memfd_luo.c). */
import { hex } from '../../machine/address.ts';
import type { FrameRun } from '../../machine/memory.ts';
import { refuse } from '../errno.ts';
import { isCount, isHex64, isList, isRecord, type Json } from '../kho/json.ts';
import { fileHandler } from '../liveupdate/handler.ts';
import { OPEN_FLAGS } from '../uapi/bits.ts';
import { MemfdFile } from './memfd-file.ts';
import { ShmemInode } from './shmem.ts';

const MAX_PAGES = 2n ** 32n - 1n;

interface State {
  seals: number;
}

type Data = {
  readonly size: string;
  readonly position: string;
  readonly seals: number;
  /** Page, frame, count. */
  readonly pages: readonly Span[];
};
type Span = readonly [page: number, frame: number, count: number];

const isSpan = (json: Json): json is Span => isList(json) && json.length === 3 && json.every(isCount);

export const runsOf = (data: Data): FrameRun[] => data.pages.map(([, start, count]) => ({ start, count }));

export const MEMFD_HANDLER = fileHandler<MemfdFile, State, Data>({
  compatible: 'memfd-v2',
  point: 'memfd',

  takes: (file) => file instanceof MemfdFile,

  whyNot(_kernel, { inode }) {
    return inode.hugetlb ? 'a memfd of huge pages (MFD_HUGETLB) cannot be preserved, only one of ordinary pages' : null;
  },

  identity: ({ inode }) => inode,

  preserve(kernel, _session, { inode }) {
    const where = 'memfd_luo_preserve';
    const pages = inode.sizeInPages;
    if (pages > MAX_PAGES) return refuse('EFBIG', where, 'the memfd has more than 2^32-1 pages');
    const spans = pages === 0n ? [] : inode.populate(0, Number(pages) - 1);
    if (!spans) return refuse('ENOMEM', where, 'no memory to fill the holes of the memfd');
    inode.preserved = true;
    kernel.kho.preserve(
      inode,
      spans.map(({ frame, count }) => ({ start: frame, count })),
    );
    return { seals: inode.seals };
  },

  unpreserve(kernel, { inode }) {
    inode.preserved = false;
    kernel.kho.unpreserve(inode);
  },

  /** The size is the frozen one, the seals are those at PRESERVE_FD, the position the one at the freeze. */
  serialize({ inode, position }, { seals }) {
    // Frozen since PRESERVE_FD: these are the pages that were preserved. Those behind the size are not (memfd_luo.c).
    const spans = inode.pages.range(0, Number(inode.sizeInPages) - 1);
    return {
      size: hex(inode.size),
      position: hex(position),
      seals,
      pages: spans.map(({ page, frame, count }): Span => [page, frame, count]),
    };
  },

  read(json) {
    if (!isRecord(json)) return null;
    const { size, position, seals, pages } = json;
    return isHex64(size) && isHex64(position) && isCount(seals) && isList(pages) && pages.every(isSpan)
      ? { size, position, seals, pages }
      : null;
  },

  retrieve(kernel, _session, _token, data) {
    const { memory } = kernel.machine;
    const inode = new ShmemInode(memory, '', 12, data.seals);
    inode.size = BigInt(data.size);
    for (const [page, frame, count] of data.pages) {
      memory.setOwner(frame, count, 'memfd');
      inode.pages.insert({ page, frame, count, folioShift: 12 });
    }
    const file = new MemfdFile(inode);
    file.flags |= OPEN_FLAGS.O_LARGEFILE;
    file.position = BigInt(data.position);
    kernel.restored.memfdRetrieved(inode);
    return file;
  },

  /** Never retrieved: its pages are freed. A failed retrieve has freed what it could. */
  finish(kernel, { token, data, file, failed }) {
    if (file || failed) return;
    const runs = runsOf(data);
    kernel.restored.pagesLost(runs, `memfd with token ${hex(token)} was not retrieved before FINISH`);
    for (const { start, count } of runs) {
      kernel.machine.memory.setOwner(start, count, 'memfd');
      kernel.machine.memory.release(start, count);
    }
  },
});
