/**
 * Bounds what the calls of a request read and write, before any of them runs: a small request must not cause a huge answer, and a
 * large one stands in the journal as a whole.
 */

import type { CallInput } from '../host/command.ts';
import { big } from '../kernel/call-input.ts';
import { numbersIn } from '../kernel/ioctl-bytes.ts';
import { dirtyBits } from '../kernel/iommufd/hw-pagetable/dirty.ts';
import type { CallName } from '../kernel/uapi/calls.ts';
import { REQUESTS, type RequestName } from '../kernel/uapi/index.ts';
import { MAX_DIRTY_BITS, MAX_HW_INFO, MAX_READ, MAX_TRANSFER, MAX_WRITTEN } from '../limits.ts';
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

/** What the kernel moves for an ioctl whose struct is in the memory of the process, where its size is not seen here. */
const UNSEEN: { readonly [Name in RequestName]?: number } = {
  IOMMU_HWPT_GET_DIRTY_BITMAP: MAX_DIRTY_BITS / 8,
  IOMMU_GET_HW_INFO: MAX_HW_INFO,
  IOMMU_HWPT_INVALIDATE: MAX_TRANSFER,
};
const BY_NUMBER = new Map(Object.keys(UNSEEN).map((name) => [REQUESTS.get(name)!.number, REQUESTS.get(name)!]));

/** The entries that a pointer leads to are copied as well. */
const entries = ({ arg = {} }: CallInput): Asked => ({
  bytes: Math.min(Number(arg.entry_num ?? 0) * Number(arg.entry_len ?? 0), MAX_TRANSFER),
  pointer: '',
});

/** An ioctl that is given as bytes: nothing of it is in the answer, but the kernel has to make it. */
function askedByBytes(call: CallInput): Asked {
  const { request, bytes } = call;
  const known = REQUESTS.get(String(request)) ?? BY_NUMBER.get(Number(request));
  if (!known) return NOTHING;
  if (bytes === undefined) return { bytes: UNSEEN[known.name] ?? 0, pointer: '/argument' };
  const reads = known.name === 'IOMMU_HWPT_INVALIDATE' ? entries : READS[known.name];
  if (!reads) return NOTHING;
  return { ...reads({ ...call, arg: numbersIn(known, Uint8Array.fromBase64(bytes)) }), pointer: '/bytes' };
}

function asked(call: CallInput): Asked {
  if (call.call !== 'ioctl') return READS[call.call as CallName]?.(call) ?? NOTHING;
  if (call.bytes !== undefined || call.argument !== undefined) return askedByBytes(call);
  return READS[call.request as RequestName]?.(call) ?? NOTHING;
}

/** Bytes, in base64, that are given to be written. */
function given({ data }: CallInput): number {
  if (typeof data !== 'string') return 0;
  const padding = data.endsWith('==') ? 2 : data.endsWith('=') ? 1 : 0;
  return Math.floor((data.length * 3) / 4) - padding;
}

/** Returns how many bytes they read. */
export function checkTransfers(calls: readonly CallInput[]): number {
  let total = 0;
  let written = 0;
  for (const [index, call] of calls.entries()) {
    const { bytes, pointer } = asked(call);
    total += bytes;
    written += given(call);
    const [does, most, field] = total > MAX_READ ? ['read', MAX_READ, pointer] : ['write', MAX_WRITTEN, '/data'];
    if (total <= MAX_READ && written <= MAX_WRITTEN) continue;
    const reason = `the calls of a request ${does} at most ${most} bytes together: send this one in another request`;
    throw invalid([{ in: 'body', pointer: `/calls/${index}${field}`, reason }]);
  }
  return total;
}
