/** Queries of processes, their descriptors and their memory. */

import type { Kernel } from '../../kernel/kernel.ts';
import type { AddressSpace } from '../../kernel/mm/address-space.ts';
import type { FrameSpan } from '../../kernel/mm/frame-map.ts';
import type { Mapping } from '../../kernel/mm/mapping.ts';
import { MemfdFile } from '../../kernel/mm/memfd-file.ts';
import type { Process } from '../../kernel/process.ts';
import { PROTECTION } from '../../kernel/uapi/bits.ts';
import { MAX_RUNS } from '../../limits.ts';
import { hex } from '../../machine/address.ts';
import { FRAME_SIZE } from '../../machine/memory.ts';
import { ok } from '../answers.ts';
import type { Answer } from '../command.ts';
import type { AreaView, DescriptorView, ProcessView } from '../views.ts';
import { bytes } from './bytes.ts';
import { firstOf, leftOut, listAnswer } from './page.ts';
import { type Rows, STEP } from './row.ts';
import { Runs, tooManyRuns } from './runs.ts';

export function processView(process: Process, kernel: Kernel): ProcessView {
  return {
    pid: process.pid,
    name: process.name,
    uid: process.uid,
    capabilities: [...process.capabilities],
    descriptors: firstOf(descriptorsOf(process)).map((fd) => descriptorView(process, fd, kernel)),
    memory: firstOf(process.mm.mappings).map(areaView),
    lockedBytes: bytes(process.locked.pages),
    ...leftOut({ descriptors: process.descriptors.size, memory: process.mm.mappings.length }),
  };
}

const descriptorsOf = ({ descriptors }: Process): readonly number[] => [...descriptors.keys()];

function descriptorView({ descriptors }: Process, fd: number, { luo }: Kernel): DescriptorView {
  const file = descriptors.get(fd)!;
  const preservedIn = luo?.sessionOf(file instanceof MemfdFile ? file.inode : file) ?? null;
  return { fd, kind: file.kind, link: file.link(), preservedIn };
}

const addressOf = ({ first }: Pick<Mapping, 'first'>): bigint => BigInt(first) * BigInt(FRAME_SIZE);

function areaView({ first, last, file, device }: Readonly<Mapping>): AreaView {
  return {
    address: hex(addressOf({ first })),
    length: hex(BigInt(last - first + 1) * BigInt(FRAME_SIZE)),
    backing: file || device ? 'file' : 'anonymous',
  };
}

function* processMemory(process: Process, address: bigint, length: bigint): Generator<void, Answer> {
  const found = new Runs();
  let pieces = 0;
  const page = BigInt(FRAME_SIZE);
  const end = address + length;
  for (const mapping of process.mm.mappings) {
    if (++pieces % STEP === 0) yield;
    const first = BigInt(mapping.first) * page;
    const last = (BigInt(mapping.last) + 1n) * page;
    const from = first > address ? first : address;
    const to = last < end ? last : end;
    if (from >= to) continue;
    for (const { span, writable } of pagesOf(process.mm, mapping, Number(from / page), Number((to - 1n) / page))) {
      if (++pieces % STEP === 0) yield;
      const start = BigInt(span.page) * page;
      const stop = start + BigInt(span.count) * page;
      const at = start > from ? start : from;
      const until = stop < to ? stop : to;
      found.add(at, until - at, span.frame * FRAME_SIZE + Number(at - start), mapping.prot !== 0, writable);
      if (found.runs.length > MAX_RUNS) return tooManyRuns('memory_map');
    }
  }
  return ok(found.runs);
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

/** About how many bytes they have as JSON: a process, and each descriptor and area of it. */
const PROCESS_BYTES = 512;
const PART_BYTES = 96;

export const PROCESS_VIEWS: Rows<'processes' | 'process' | 'descriptors' | 'areas' | 'memory'> = {
  processes: {
    needs: 'host',
    answer: ({ kernel }, query) =>
      listAnswer(query, {
        items: [...(kernel?.processes.values() ?? [])].sort((a, b) => a.pid - b.pid),
        view: (process) => processView(process, kernel!),
        key: ({ pid }) => pid,
        size: ({ descriptors, memory }) => PROCESS_BYTES + PART_BYTES * (descriptors.length + memory.length),
      }),
  },
  descriptors: {
    needs: 'process',
    answer: (process, query, kernel) =>
      listAnswer(query, {
        items: descriptorsOf(process),
        view: (fd) => descriptorView(process, fd, kernel),
        key: (fd) => fd,
      }),
  },
  areas: {
    needs: 'process',
    answer: ({ mm }, query) =>
      listAnswer(query, {
        items: mm.mappings,
        view: areaView,
        key: addressOf,
      }),
  },
  process: { needs: 'process', answer: (process, _query, kernel) => ok(processView(process, kernel)) },
  memory: {
    needs: 'process',
    answer: (process, { address, length }) => processMemory(process, BigInt(address), BigInt(length)),
  },
};
