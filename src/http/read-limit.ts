/** Answers hold what is read, so a small request must not ask for a huge one: what calls read is added up beforehand. */
import type { CallInput } from '../host/command.ts';
import { big, MAX_TRANSFER } from '../kernel/call-input.ts';
import { decodeU64 } from '../kernel/ioctl.ts';
import { MAX_HW_INFO } from '../kernel/iommufd/device/device.ts';
import { dirtyBits, MAX_DIRTY_BITS } from '../kernel/iommufd/hw-pagetable/dirty.ts';
import { invalid } from './validation.ts';

/** Bytes that the calls of one request may read together. */
export const MAX_READ = 64 << 20;

interface Asked {
  bytes: number;
  /** Where the call says so. */
  pointer: string;
}

const NOTHING: Asked = { bytes: 0, pointer: '' };

/** What a call would read; nothing where the kernel refuses that much. */
function asked(call: CallInput): Asked {
  const within = (bytes: number, most: number, pointer: string): Asked => ({
    bytes: bytes <= most ? bytes : 0,
    pointer,
  });
  const { arg = {} } = call;
  switch (call.call === 'ioctl' ? call.request : call.call) {
    case 'peek':
    case 'pread':
    case 'access_rw':
      if (call.write === true) break;
      return within(Number(big(call, 'length')), MAX_TRANSFER, '/length');
    case 'IOMMU_HWPT_GET_DIRTY_BITMAP': {
      const bits = dirtyBits(decodeU64(arg.length ?? 0), decodeU64(arg.page_size ?? 0));
      return within(Number(bits) / 8, MAX_DIRTY_BITS / 8, '/arg/length');
    }
    case 'IOMMU_GET_HW_INFO':
      return within(Number(arg.data_len ?? 0), MAX_HW_INFO, '/arg/data_len');
  }
  return NOTHING;
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
