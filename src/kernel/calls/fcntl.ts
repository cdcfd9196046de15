/** fcntl(2) and poll(2): what is kept of a descriptor and of its file beside its contents (fs/fcntl.c, fs/select.c). */
import { integer, type Outcome } from '../call-input.ts';
import { Refusal, refuse } from '../errno.ts';
import type { OpenFile } from '../file.ts';
import type { Kernel } from '../kernel.ts';
import type { Process } from '../process.ts';
import { FCNTL_COMMANDS, FD_FLAGS, OPEN_FLAGS, POLL_EVENTS } from '../uapi/bits.ts';
import type { CallInput, PollDescriptor } from '../uapi/calls.ts';
import { MEMFD } from './memfd.ts';

const { FD_CLOEXEC } = FD_FLAGS;
const { O_APPEND, O_DIRECT, O_NOATIME, O_NONBLOCK } = OPEN_FLAGS;
/** What F_SETFL changes (SETFL_MASK); of the rest of its argument nothing is seen. */
const SETTABLE = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME;
const { POLLERR, POLLHUP, POLLNVAL } = POLL_EVENTS;

/** fcntl(2). EBADF; EINVAL an unknown command, or F_DUPFD beyond RLIMIT_NOFILE; EMFILE; then as the file has it. */
export function fcntl(kernel: Kernel, process: Process, input: CallInput): Outcome {
  const where = 'do_fcntl';
  const fd = integer(input, 'fd');
  const file = process.file(fd);
  if (file instanceof Refusal) return file;
  const arg = integer(input, 'arg');
  switch (integer(input, 'cmd')) {
    case FCNTL_COMMANDS.F_DUPFD:
      return duplicate(process, file, arg, false);
    case FCNTL_COMMANDS.F_DUPFD_CLOEXEC:
      return duplicate(process, file, arg, true);
    case FCNTL_COMMANDS.F_GETFD:
      return { ret: process.closesOnExec(fd) ? FD_CLOEXEC : 0 };
    case FCNTL_COMMANDS.F_SETFD:
      process.setCloseOnExec(fd, (arg & FD_CLOEXEC) !== 0);
      return { ret: 0 };
    case FCNTL_COMMANDS.F_GETFL:
      return { ret: file.flags };
    case FCNTL_COMMANDS.F_SETFL:
      if (arg & O_DIRECT)
        return refuse('EINVAL', 'setfl', `${file.link()} is not read and written directly (O_DIRECT)`);
      file.flags = (file.flags & ~SETTABLE) | (arg & SETTABLE);
      return { ret: 0 };
    case FCNTL_COMMANDS.F_ADD_SEALS:
      return MEMFD.add_seals(kernel, process, { call: 'add_seals', fd, seals: arg });
    case FCNTL_COMMANDS.F_GET_SEALS:
      return MEMFD.get_seals(kernel, process, { call: 'get_seals', fd });
    default:
      return refuse('EINVAL', where, 'there is no such command here: locks, owners, leases and pipes are left out');
  }
}

/** f_dupfd: the lowest free descriptor from `from` on. */
function duplicate(process: Process, file: OpenFile, from: number, closeOnExec: boolean): Outcome {
  if (from < 0 || from >= process.descriptorLimit)
    return refuse('EINVAL', 'f_dupfd', `descriptors are below ${process.descriptorLimit} (RLIMIT_NOFILE)`);
  const fd = process.install(file.get(), closeOnExec, from);
  if (typeof fd === 'number') return { ret: fd };
  file.put();
  return fd;
}

/** dup2(2): what `to` was is closed, unless it is the same descriptor. EBADF. */
export function dup2(process: Process, fd: number, to: number): Outcome {
  if (to < 0 || to >= process.descriptorLimit)
    return refuse('EBADF', 'ksys_dup3', `descriptors are below ${process.descriptorLimit} (RLIMIT_NOFILE)`);
  const file = process.file(fd);
  if (file instanceof Refusal) return file;
  if (fd !== to) process.replace(to, file.get());
  return { ret: to };
}

/** poll(2) with a timeout of 0: `ret` is how many descriptors have something to tell. A negative one is passed over. */
export function poll(process: Process, fds: readonly PollDescriptor[]): Outcome {
  const revents = fds.map(({ fd, events }) => {
    if (fd < 0) return 0;
    const file = process.descriptors.get(fd);
    return file ? file.poll() & (events | POLLERR | POLLHUP) : POLLNVAL;
  });
  return { ret: revents.filter((word) => word !== 0).length, revents };
}
