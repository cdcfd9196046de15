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
import type { CallInput, PageResponse } from '../uapi/calls.ts';
import { open } from './open.ts';

const { O_LARGEFILE, O_RDWR } = OPEN_FLAGS;

/** Gives a new file a descriptor, which takes over its only reference. EMFILE: the file is released. */
export function install(process: Process, file: OpenFile): Outcome {
  const fd = process.install(file);
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

const counted = (count: number | Refusal): Outcome => (count instanceof Refusal ? count : { ret: count });

function readOut(answer: ReadOk | Refusal): Outcome {
  if (answer instanceof Refusal) return answer;
  const { data, ...rest } = answer;
  return data === undefined ? rest : { ...rest, data: data.toBase64() };
}

export const FILES: Calls<typeof FILE_CALLS> = {
  open: (kernel, process, input) => {
    const file = open(kernel, process, String(input.path));
    if (file instanceof Refusal) return file;
    file.flags = O_RDWR | O_LARGEFILE;
    return install(process, file);
  },
  close: (_kernel, process, input) => done(process.close(integer(input, 'fd'))),
  dup: onFile((file, _input, process) => install(process, file.get())),
  send_fd: sendFd,
  read: onFile((file, input) => readOut(file.read(big(input, 'length')))),
  write: onFile((file, input) => {
    const data = bytes(input, 'data');
    const responses = (input.responses as PageResponse[] | undefined) ?? [];
    const length = input.length === undefined ? BigInt(data.length) : big(input, 'length');
    return counted(file.write({ length, data, responses }));
  }),
  pread: onFile((file, input) => {
    const length = big(input, 'length');
    if (length > MAX_TRANSFER) return refuse('EINVAL', 'vfs_read', `at most ${MAX_TRANSFER} bytes a call`);
    const offset = big(input, 'offset');
    if (offset >= 2n ** 63n) return refuse('EINVAL', 'ksys_pread64', 'offset is negative');
    return readOut(file.pread(offset, Number(length)));
  }),
  pwrite: onFile((file, input) => {
    const offset = big(input, 'offset');
    if (offset >= 2n ** 63n) return refuse('EINVAL', 'ksys_pwrite64', 'offset is negative');
    return counted(file.pwrite(offset, bytes(input, 'data')));
  }),
  lseek: onFile((file, input) => {
    const position = file.seek(big(input, 'offset'), integer(input, 'whence'));
    return position instanceof Refusal ? position : { ret: Number(position) };
  }),
  fstat: onFile((file) => ({ ret: 0, size: hex(file.size) })),
};
