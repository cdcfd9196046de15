/** The system calls of the `calls` face, by name. */
import { type Call, integer, refused } from './call-input.ts';
import { EVENTFDS } from './calls/eventfd.ts';
import { FILES } from './calls/files.ts';
import { MEMFD } from './calls/memfd.ts';
import { MEMORY } from './calls/memory.ts';
import { PROCESSES } from './calls/processes.ts';
import { Refusal } from './errno.ts';
import { ioctlCall } from './ioctl.ts';
import { LEVERS } from './iommufd/selftest/levers.ts';
import type { Kernel } from './kernel.ts';
import type { Process } from './process.ts';
import type { CallInput, CallName, CallResult } from './uapi/calls.ts';

/** Runs one system call of a process. A refused one returns -1 and its errno. */
export function runCall(kernel: Kernel, process: Process, input: CallInput): CallResult {
  const outcome = CALLS[input.call as keyof typeof CALLS](kernel, process, input);
  return outcome instanceof Refusal ? refused(outcome) : outcome;
}

const CALLS: Readonly<Record<CallName | 'ioctl', Call>> = {
  ...FILES,
  ...MEMORY,
  ...MEMFD,
  ...EVENTFDS,
  ...PROCESSES,
  ...LEVERS,
  ioctl: (_kernel, process, input) => {
    const file = process.file(integer(input, 'fd'));
    return file instanceof Refusal ? file : ioctlCall(process, file, input);
  },
};
