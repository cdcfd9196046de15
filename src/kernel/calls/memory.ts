/** What a process does with its memory. */
import { MAX_TRANSFER } from '../../limits.ts';
import { hex } from '../../machine/address.ts';
import { big, bytes, type Calls, done, integer, type Outcome } from '../call-input.ts';
import { Refusal, refuse } from '../errno.ts';
import type { Process } from '../process.ts';
import type { MEMORY_CALLS } from '../uapi/calls/memory.ts';
import type { CallInput } from '../uapi/calls.ts';

function mmap(process: Process, input: CallInput): Outcome {
  const address = big(input, 'addr');
  const length = big(input, 'length');
  const prot = input.prot === undefined ? 3 : integer(input, 'prot');
  if (input.fd === undefined)
    return mapped(address, process.mm.map(address, length, { huge: input.huge === '2M', prot }));
  const file = process.file(integer(input, 'fd'));
  if (file instanceof Refusal) return file;
  const shared = input.shared === true;
  const target = file.map({ offset: big(input, 'offset'), length, shared, prot });
  if (target instanceof Refusal) return target;
  return mapped(address, process.mm.map(address, length, { ...target, shared, prot }));
}

const mapped = (address: bigint, refusal: Refusal | null): Outcome => refusal ?? { ret: hex(address) };

export const MEMORY: Calls<typeof MEMORY_CALLS> = {
  mmap: (_kernel, process, input) => mmap(process, input),
  munmap: (_kernel, process, input) => done(process.mm.unmap(big(input, 'addr'), big(input, 'length'))),
  poke: (_kernel, process, input) => done(process.mm.write(big(input, 'addr'), bytes(input, 'data'))),
  peek: (_kernel, process, input) => {
    const length = big(input, 'length');
    if (length > MAX_TRANSFER) return refuse('EINVAL', 'peek', `at most ${MAX_TRANSFER} bytes a call`);
    const data = process.mm.read(big(input, 'addr'), Number(length));
    return data instanceof Refusal ? data : { ret: 0, data: data.toBase64() };
  },
};
