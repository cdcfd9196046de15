/** Queries of processes, their descriptors and their memory. */

import type { AddressSpace } from '../../kernel/mm/address-space.ts';
import type { FrameSpan } from '../../kernel/mm/frame-map.ts';
import type { Mapping } from '../../kernel/mm/mapping.ts';
import type { Process } from '../../kernel/process.ts';
import { PROTECTION } from '../../kernel/uapi/bits.ts';
import { hex } from '../../machine/address.ts';
import { FRAME_SIZE } from '../../machine/memory.ts';
import { ok } from '../answers.ts';
import type { ProcessView, TranslationRun } from '../views.ts';
import { bytes } from './bytes.ts';
import type { Rows } from './row.ts';
import { Runs } from './runs.ts';

export function processView(process: Process): ProcessView {
  return {
    pid: process.pid,
    name: process.name,
    uid: process.uid,
    capabilities: [...process.capabilities],
    descriptors: [...process.descriptors]
      .sort(([a], [b]) => a - b)
      .map(([fd, file]) => ({ fd, kind: file.kind, link: file.link() })),
    memory: Array.from(process.mm.mappings, ({ first, last, file, device }) => ({
      address: hex(BigInt(first) * BigInt(FRAME_SIZE)),
      length: hex(BigInt(last - first + 1) * BigInt(FRAME_SIZE)),
      backing: file || device ? 'file' : 'anonymous',
    })),
    lockedBytes: bytes(process.locked.pages),
  };
}

function processMemory(process: Process, address: bigint, length: bigint): TranslationRun[] {
  const found = new Runs();
  const page = BigInt(FRAME_SIZE);
  const end = address + length;
  for (const mapping of process.mm.mappings) {
    const first = BigInt(mapping.first) * page;
    const last = (BigInt(mapping.last) + 1n) * page;
    const from = first > address ? first : address;
    const to = last < end ? last : end;
    if (from >= to) continue;
    for (const { span, writable } of pagesOf(process.mm, mapping, Number(from / page), Number((to - 1n) / page))) {
      const start = BigInt(span.page) * page;
      const stop = start + BigInt(span.count) * page;
      const at = start > from ? start : from;
      const until = stop < to ? stop : to;
      found.add(at, until - at, span.frame * FRAME_SIZE + Number(at - start), mapping.prot !== 0, writable);
    }
  }
  return found.runs;
}

/** The frames that pages [first, last] of a mapping have, ascending: private ones, and in between those of its file. */
function pagesOf(
  mm: AddressSpace,
  mapping: Mapping,
  first: number,
  last: number,
): { span: FrameSpan; writable: boolean }[] {
  const writable = (mapping.prot & PROTECTION.PROT_WRITE) !== 0;
  const found = mm.frames.range(first, last).map((span) => ({ span, writable }));
  const { file } = mapping;
  if (!file) return found;
  const shift = mapping.first - mapping.offset;
  // Pages behind the end of a file cannot be accessed, even if they are allocated.
  const most = Math.min(last, Number(file.inode.sizeInPages) - 1 + shift);
  for (const { page, count } of mm.frames.holes(first, most))
    for (const span of file.inode.pages.range(page - shift, page + count - 1 - shift))
      found.push({ span: { ...span, page: span.page + shift }, writable: writable && mapping.shared });
  return found.sort((a, b) => a.span.page - b.span.page);
}

export const PROCESS_VIEWS: Rows<'processes' | 'process' | 'memory'> = {
  processes: { needs: 'host', answer: ({ kernel }) => ok([...(kernel?.processes.values() ?? [])].map(processView)) },
  process: { needs: 'process', answer: (process) => ok(processView(process)) },
  memory: {
    needs: 'process',
    answer: (process, { address, length }) => ok(processMemory(process, BigInt(address), BigInt(length))),
  },
};
