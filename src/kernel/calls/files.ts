/** Calls on descriptors of any kind: what they do is up to the file. */
import { MAX_TRANSFER } from '../../limits.ts';
import { hex } from '../../machine/address.ts';
import { big, bytes, type Calls, done, integer, type Outcome } from '../call-input.ts';
import { Refusal, refuse } from '../errno.ts';
import type { OpenFile, ReadOk } from '../file.ts';
import type { Kernel } from '../kernel.ts';
import type { Process } from '../process.ts';
import { OPEN_FLAGS } from '../uapi/bits.ts';
import type { FILE_CALLS } from '../uapi/calls/files.ts';
import type { CallInput, PageResponse, PollDescriptor } from '../uapi/calls.ts';
import { dup2, fcntl, poll } from './fcntl.ts';
import { open } from './open.ts';

/** Gives a new file a descriptor, which takes over its only reference. EMFILE: the file is released. */
export function install(process: Process, file: OpenFile, closeOnExec = false): Outcome {
  const fd = process.install(file, closeOnExec);
  if (typeof fd === 'number') return { ret: fd };
  file.put();
  return fd;
}

function sendFd(kernel: Kernel, process: Process, input: CallInput): Outcome {
  const file = process.file(integer(input, 'fd'));
  if (file instanceof Refusal) return file;
  const to = kernel.processes.get(integer(input, 'to'));
  if (!to) return refuse('ENOENT', 'unix_scm_to_skb', `there is no process ${integer(input, 'to')}`);
  return install(to, file.get());
}

/** A call on the file behind `fd`. EBADF. */
function onFile(run: (file: OpenFile, input: CallInput, process: Process) => Outcome) {
  return (_kernel: Kernel, process: Process, input: CallInput): Outcome => {
    const file = process.file(integer(input, 'fd'));
    return file instanceof Refusal ? file : run(file, input, process);
  };
}

/** A call at an offset in bytes, which is checked before the descriptor is looked at. EINVAL below 0, EBADF. */
function at(where: string, run: (file: OpenFile, offset: bigint, input: CallInput) => Outcome) {
  const onOpen = onFile((file, input) => run(file, big(input, 'offset'), input));
  return (kernel: Kernel, process: Process, input: CallInput): Outcome =>
    big(input, 'offset') >= 2n ** 63n ? refuse('EINVAL', where, 'offset is negative') : onOpen(kernel, process, input);
}

const notReadable = (file: OpenFile): Refusal | null =>
  file.isReadable ? null : refuse('EBADF', 'vfs_read', 'the descriptor is not open for reading');

const notWritable = (file: OpenFile): Refusal | null =>
  file.isWritable ? null : refuse('EBADF', 'vfs_write', 'the descriptor is not open for writing');

const counted = (count: number | Refusal): Outcome => (count instanceof Refusal ? count : { ret: count });

function readOut(answer: ReadOk | Refusal): Outcome {
  if (answer instanceof Refusal) return answer;
  const { data, ...rest } = answer;
  return data === undefined ? rest : { ...rest, data: data.toBase64() };
}

export const FILES: Calls<typeof FILE_CALLS> = {
  open: (kernel, process, input) => {
    const flags = input.flags === undefined ? undefined : integer(input, 'flags');
    const file = open(kernel, process, String(input.path), flags);
    return file instanceof Refusal ? file : install(process, file, ((flags ?? 0) & OPEN_FLAGS.O_CLOEXEC) !== 0);
  },
  close: (_kernel, process, input) => done(process.close(integer(input, 'fd'))),
  dup: onFile((file, _input, process) => install(process, file.get())),
  dup2: (_kernel, process, input) => dup2(process, integer(input, 'fd'), integer(input, 'to')),
  fcntl,
  poll: (_kernel, process, input) => poll(process, input.fds as PollDescriptor[]),
  send_fd: sendFd,
  read: onFile((file, input) => notReadable(file) ?? readOut(file.read(big(input, 'length')))),
  write: onFile((file, input) => {
    const data = bytes(input, 'data');
    const length = input.length === undefined ? BigInt(data.length) : big(input, 'length');
    const responses = (input.responses as PageResponse[] | undefined) ?? [];
    return notWritable(file) ?? counted(file.write({ length, data, responses }));
  }),
  pread: at('ksys_pread64', (file, offset, input) => {
    const length = big(input, 'length');
    const refusal = notReadable(file);
    if (refusal) return refusal;
    if (length > MAX_TRANSFER) return refuse('EINVAL', 'vfs_read', `at most ${MAX_TRANSFER} bytes a call`);
    return readOut(file.pread(offset, Number(length)));
  }),
  pwrite: at(
    'ksys_pwrite64',
    (file, offset, input) => notWritable(file) ?? counted(file.pwrite(offset, bytes(input, 'data'))),
  ),
  lseek: onFile((file, input) => {
    const position = file.seek(big(input, 'offset'), integer(input, 'whence'));
    if (position instanceof Refusal) return position;
    return { ret: position > Number.MAX_SAFE_INTEGER ? hex(position) : Number(position) };
  }),
  fstat: onFile((file) => ({ ret: 0, size: hex(file.size) })),
  fchmod: onFile((file, input) => done(file.chmod(integer(input, 'mode')))),
};
