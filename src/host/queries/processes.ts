/** Queries of processes, their descriptors and their memory. */

import type { Process } from '../../kernel/process.ts';
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
    memory: process.mm.mappings.map(({ first, last, inode, device }) => ({
      address: hex(BigInt(first) * BigInt(FRAME_SIZE)),
      length: hex(BigInt(last - first + 1) * BigInt(FRAME_SIZE)),
      backing: inode || device ? 'file' : 'anonymous',
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
    if (from >= to || mapping.device) continue;
    const shift = mapping.frames ? 0 : mapping.first - mapping.filePage;
    const frames = mapping.frames ?? mapping.inode!.pages;
    // Pages behind the end of a file cannot be accessed, even if they are allocated.
    const lastPage = mapping.frames ? Number.POSITIVE_INFINITY : Number(mapping.inode!.sizeInPages) - 1;
    const most = Math.min(Number((to - 1n) / page) - shift, lastPage);
    for (const span of frames.range(Number(from / page) - shift, most)) {
      const start = BigInt(span.page + shift) * page;
      const stop = start + BigInt(span.count) * page;
      const at = start > from ? start : from;
      const until = stop < to ? stop : to;
      found.add(at, until - at, span.frame * FRAME_SIZE + Number(at - start), true, mapping.writable);
    }
  }
  return found.runs;
}

export const PROCESS_VIEWS: Rows<'processes' | 'process' | 'memory'> = {
  processes: { needs: 'host', answer: ({ kernel }) => ok([...(kernel?.processes.values() ?? [])].map(processView)) },
  process: { needs: 'process', answer: (process) => ok(processView(process)) },
  memory: {
    needs: 'process',
    answer: (process, { address, length }) => ok(processMemory(process, BigInt(address), BigInt(length))),
  },
};
