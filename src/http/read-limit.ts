/** Bounds what the calls of a request read, before any of them runs: a small request must not cause a huge answer. */

import type { CallInput } from '../host/command.ts';
import { big } from '../kernel/call-input.ts';
import { dirtyBits } from '../kernel/iommufd/hw-pagetable/dirty.ts';
import type { CallName } from '../kernel/uapi/calls.ts';
import type { RequestName } from '../kernel/uapi/index.ts';
import { MAX_DIRTY_BITS, MAX_HW_INFO, MAX_READ, MAX_TRANSFER } from '../limits.ts';
import { decodeU64 } from '../machine/address.ts';
import { invalid } from './validation.ts';

interface Asked {
  bytes: number;
  /** The field of the call that asks for these bytes. */
  pointer: string;
}

const NOTHING: Asked = { bytes: 0, pointer: '' };

const within = (bytes: number, most: number, pointer: string): Asked => ({ bytes: bytes <= most ? bytes : 0, pointer });

const transfer = (call: CallInput): Asked => within(Number(big(call, 'length')), MAX_TRANSFER, '/length');

/**
 * Calls and requests that return as much as they ask for: how much that is; nothing if the kernel refuses that much.
 */
const READS: { readonly [Name in CallName | RequestName]?: (call: CallInput) => Asked } = {
  peek: transfer,
  read: transfer,
  pread: transfer,
  access_rw: (call) => (call.write === true ? NOTHING : transfer(call)),
  IOMMU_HWPT_GET_DIRTY_BITMAP({ arg = {} }) {
    const bits = dirtyBits(decodeU64(arg.length ?? 0), decodeU64(arg.page_size ?? 0));
    return within(Number(bits) / 8, MAX_DIRTY_BITS / 8, '/arg/length');
  },
  IOMMU_GET_HW_INFO: ({ arg = {} }) => within(Number(arg.data_len ?? 0), MAX_HW_INFO, '/arg/data_len'),
};

function asked(call: CallInput): Asked {
  const name = call.call === 'ioctl' ? call.request : call.call;
  return READS[name as CallName]?.(call) ?? NOTHING;
}

export function checkReads(calls: readonly CallInput[]): void {
  let total = 0;
  for (const [index, call] of calls.entries()) {
    const { bytes, pointer } = asked(call);
    total += bytes;
    if (total <= MAX_READ) continue;
    const reason = `the calls of a request read at most ${MAX_READ} bytes together: send this one in another request`;
    throw invalid([{ in: 'body', pointer: `/calls/${index}${pointer}`, reason }]);
  }
}
