/** What a process is and may. */
import { big, type Calls, integer, type Outcome } from '../call-input.ts';
import { refuse } from '../errno.ts';
import type { Kernel } from '../kernel.ts';
import type { Process } from '../process.ts';
import type { PROCESS_CALLS } from '../uapi/calls/processes.ts';
import type { CallInput } from '../uapi/calls.ts';

function setUid(process: Process, uid: number): Outcome {
  const where = 'sys_setresuid';
  if (uid < 0) return refuse('EINVAL', where, 'there is no such user');
  if (process.uid !== 0 && process.uid !== uid) return refuse('EPERM', where, 'only user 0 may become another');
  if (uid !== 0) process.capabilities.clear();
  process.uid = uid;
  return { ret: 0 };
}

function setRlimit(process: Process, memlock: bigint): Outcome {
  const raises = process.memlock !== null && memlock > process.memlock;
  if (raises && !process.capabilities.has('CAP_SYS_RESOURCE'))
    return refuse('EPERM', 'do_prlimit', 'raising the hard limit needs CAP_SYS_RESOURCE');
  process.memlock = memlock;
  return { ret: 0 };
}

function fork(kernel: Kernel, process: Process, input: CallInput): Outcome {
  const injected = kernel.faults.refusal('process.create', 'copy_process');
  if (injected) return injected;
  const child = kernel.forkProcess(process, input.name === undefined ? process.name : String(input.name));
  return child ? { ret: child.pid } : refuse('ENOMEM', 'dup_mmap', 'there is no memory left for a copy');
}

export const PROCESSES: Calls<typeof PROCESS_CALLS> = {
  fork,
  setuid: (_kernel, process, input) => setUid(process, integer(input, 'uid')),
  setrlimit: (_kernel, process, input) => setRlimit(process, big(input, 'memlock')),
};
