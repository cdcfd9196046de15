/** Reading and writing through an IOAS without DMA (iommufd_access_rw, iopt_pages_rw_access). */
import { hex, PAGE, PAGE_SIZE, UMAX } from '../../../machine/address.ts';
import { READ, WRITE } from '../../../machine/page-table.ts';
import { Refusal, refuse } from '../../errno.ts';
import type { Process } from '../../process.ts';
import type { Area } from '../areas/area-cursor.ts';
import type { Ioas } from '../ioas.ts';

/**
 * iommufd_access_rw: moves `data` to, or from, the memory behind the IOVAs, area by area; what was done before an error
 * stays. EINVAL length 0, EOVERFLOW, ENOENT a hole, EPERM the area or its memory does not allow it, EFAULT.
 */
export function accessRw(ioas: Ioas, caller: Process, iova: bigint, data: Uint8Array, write: boolean): Refusal | null {
  const where = 'iommufd_access_rw';
  if (data.length === 0) return refuse('EINVAL', where, 'length is 0');
  const last = iova + BigInt(data.length) - 1n;
  if (last > UMAX) return refuse('EOVERFLOW', where, 'the range reaches beyond 64 bits');
  for (let cursor = iova; cursor <= last; ) {
    const area = ioas.iopt.areas.at(cursor);
    if (!area) return refuse('ENOENT', where, `nothing is mapped at ${hex(cursor)}`);
    if (!(area.access & (write ? WRITE : READ)))
      return refuse('EPERM', where, `the area at ${hex(area.iova)} is not mapped for this`);
    const end = area.last < last ? area.last : last;
    const piece = data.subarray(Number(cursor - iova), Number(end - iova) + 1);
    const refusal = rwArea(ioas, caller, area, area.start + (cursor - area.iova), piece, write);
    if (refusal) return refusal;
    cursor = end + 1n;
  }
  return null;
}

/**
 * iopt_pages_rw_access. Memory that the caller has mapped is reached at its address, whatever is pinned; so is a single page
 * of another process that lives. Everything else is reached through pinned pages, or pages that are pinned meanwhile.
 */
function rwArea(
  { iopt, context }: Ioas,
  caller: Process,
  area: Area,
  start: bigint,
  data: Uint8Array,
  write: boolean,
): Refusal | null {
  const { origin, writable } = iopt.sources.at(area.source);
  if (write && !writable) return refuse('EPERM', 'iopt_pages_rw_access', 'the memory was mapped without WRITEABLE');
  const first = Number(start / PAGE);
  const last = Number((start + BigInt(data.length) - 1n) / PAGE);
  if (origin.kind === 'user' && (origin.process === caller || (first === last && origin.process.mm.alive)))
    return rwMemory(origin.process, start, data, write);
  const pages = iopt.share(area);
  const fresh = pages.pin(first, last);
  if (typeof fresh !== 'number') return fresh;
  const { memory } = context.kernel.machine;
  let done = 0;
  for (const { frame, count } of pages.frames(first, last)) {
    const skip = done === 0 ? Number(start % PAGE) : 0;
    const piece = data.subarray(done, done + count * PAGE_SIZE - skip);
    if (write) memory.write(frame * PAGE_SIZE + skip, piece);
    else memory.read(frame * PAGE_SIZE + skip, piece);
    done += piece.length;
  }
  pages.unpin(first, last);
  return null;
}

/** copy_to_user or copy_from_user: page by page, so that what lies before a bad page is done. */
function rwMemory({ mm }: Process, start: bigint, data: Uint8Array, write: boolean): Refusal | null {
  for (let done = 0; done < data.length; ) {
    const address = start + BigInt(done);
    const piece = data.subarray(done, done + PAGE_SIZE - Number(address % PAGE));
    const outcome = write ? mm.write(address, piece) : mm.read(address, piece.length);
    // The kernel is sent no signal.
    if (outcome instanceof Refusal) return refuse(outcome.errno, outcome.where, outcome.why);
    if (outcome) piece.set(outcome);
    done += piece.length;
  }
  return null;
}
