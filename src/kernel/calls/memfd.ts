/** Calls that only memfds know. */
import { big, type Calls, done, integer, type Outcome } from '../call-input.ts';
import { Refusal, refuse } from '../errno.ts';
import type { OpenFile } from '../file.ts';
import type { Kernel } from '../kernel.ts';
import { MemfdFile, memfdCreate, wrongFallocate } from '../mm/memfd-file.ts';
import { MAX_BYTES } from '../mm/shmem.ts';
import { fallocate, truncate } from '../mm/truncate.ts';
import type { Process } from '../process.ts';
import { MEMFD_FLAGS } from '../uapi/bits.ts';
import type { MEMFD_CALLS } from '../uapi/calls/memfd.ts';
import type { CallInput } from '../uapi/calls.ts';
import { install } from './files.ts';

/** The memfd behind a file, for what `where` refuses with EINVAL of others. */
const isMemfd = (file: OpenFile, where: string): MemfdFile | Refusal =>
  file instanceof MemfdFile ? file : refuse('EINVAL', where, `${file.link()} is not a memfd`);

function ftruncate(kernel: Kernel, process: Process, input: CallInput): Outcome {
  const where = 'do_ftruncate';
  const length = big(input, 'length');
  if (length > MAX_BYTES) return refuse('EINVAL', where, 'length is negative');
  const found = process.file(integer(input, 'fd'));
  const file = found instanceof Refusal ? found : isMemfd(found, where);
  if (file instanceof Refusal) return file;
  if (!file.isWritable) return refuse('EINVAL', where, 'the descriptor is not open for writing');
  return done(truncate(kernel, file.inode, length));
}

function allocate(kernel: Kernel, process: Process, input: CallInput): Outcome {
  const file = process.file(integer(input, 'fd'));
  if (file instanceof Refusal) return file;
  const [mode, offset, length] = [integer(input, 'mode'), big(input, 'offset'), big(input, 'length')];
  if (file instanceof MemfdFile) return done(fallocate(kernel, file, mode, offset, length));
  return done(wrongFallocate(file, mode, offset, length));
}

function addSeals(process: Process, input: CallInput): Outcome {
  const file = process.file(integer(input, 'fd'));
  if (file instanceof Refusal) return file;
  const where = 'memfd_add_seals';
  if (!file.isWritable) return refuse('EPERM', where, 'the descriptor is not open for writing');
  const memfd = isMemfd(file, where);
  return memfd instanceof Refusal ? memfd : done(memfd.inode.addSeals(integer(input, 'seals')));
}

function getSeals(process: Process, input: CallInput): Outcome {
  const file = process.file(integer(input, 'fd'));
  const memfd = file instanceof Refusal ? file : isMemfd(file, 'memfd_fcntl');
  return memfd instanceof Refusal ? memfd : { ret: memfd.inode.seals };
}

export const MEMFD: Calls<typeof MEMFD_CALLS> = {
  memfd_create: (kernel, process, input) => {
    const flags = integer(input, 'flags');
    const file = memfdCreate(kernel.machine.memory, String(input.name), flags, big(input, 'size'));
    return file instanceof Refusal ? file : install(process, file, (flags & MEMFD_FLAGS.MFD_CLOEXEC) !== 0);
  },
  ftruncate,
  fallocate: allocate,
  add_seals: (_kernel, process, input) => addSeals(process, input),
  get_seals: (_kernel, process, input) => getSeals(process, input),
};
