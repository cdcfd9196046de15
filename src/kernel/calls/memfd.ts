/** Calls that only memfds know. */
import { big, type Call, type Calls, done, integer, type Outcome } from '../call-input.ts';
import { Refusal, refuse } from '../errno.ts';
import type { Kernel } from '../kernel.ts';
import { MemfdFile, memfdCreate } from '../mm/shmem.ts';
import type { Process } from '../process.ts';
import type { MEMFD_CALLS } from '../uapi/calls/memfd.ts';
import type { CallInput } from '../uapi/calls.ts';
import { install } from './files.ts';

/** The memfd behind a descriptor. EBADF; EINVAL for another kind of file. */
function memfd(process: Process, input: CallInput, where: string): MemfdFile | Refusal {
  const file = process.file(integer(input, 'fd'));
  if (file instanceof Refusal || file instanceof MemfdFile) return file;
  return refuse('EINVAL', where, `${file.link()} is not a memfd`);
}

function onMemfd(where: string, run: (file: MemfdFile, input: CallInput) => Outcome): Call {
  return (_kernel, process, input) => {
    const file = memfd(process, input, where);
    return file instanceof Refusal ? file : run(file, input);
  };
}

function truncate(kernel: Kernel, file: MemfdFile, length: bigint): Outcome {
  const { inode } = file;
  const before = inode.pages.spans.map(({ frame, count }) => ({ start: frame, count }));
  const shrinks = length < inode.size;
  const refusal = inode.truncate(length);
  if (!refusal && shrinks) kernel.restored.pagesLost(lost(before, inode.pages.spans), 'a memfd was truncated');
  return done(refusal);
}

/** The runs of `before` that `after` does not contain as a whole. */
function lost(
  before: { start: number; count: number }[],
  after: readonly { frame: number; count: number }[],
): { start: number; count: number }[] {
  const kept = after.map(({ frame, count }) => [frame, frame + count] as const);
  return before.filter(({ start, count }) => !kept.some(([from, to]) => from <= start && start + count <= to));
}

export const MEMFD: Calls<typeof MEMFD_CALLS> = {
  memfd_create: (kernel, process, input) => {
    const file = memfdCreate(kernel.machine.memory, String(input.name), integer(input, 'flags'), big(input, 'size'));
    return file instanceof Refusal ? file : install(process, file);
  },
  ftruncate: (kernel, process, input) => {
    const file = memfd(process, input, 'do_ftruncate');
    return file instanceof Refusal ? file : truncate(kernel, file, big(input, 'length'));
  },
  fallocate: onMemfd('vfs_fallocate', ({ inode }, input) =>
    done(inode.fallocate(integer(input, 'mode'), big(input, 'offset'), big(input, 'length'))),
  ),
  add_seals: onMemfd('memfd_fcntl', ({ inode }, input) => done(inode.addSeals(integer(input, 'seals')))),
  get_seals: onMemfd('memfd_fcntl', ({ inode }) => ({ ret: inode.seals })),
};
