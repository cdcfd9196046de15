/** Frames of memory: who owns them, how many are free, and how often they are pinned. */

import type { Json } from '../../kernel/kho/json.ts';
import { HandedOver } from '../../kernel/liveupdate/handler.ts';
import type { FrameSpan } from '../../kernel/mm/frame-map.ts';
import { MEMFD_HANDLER, runsOf } from '../../kernel/mm/memfd-luo.ts';
import type { FrameRun, PhysicalMemory } from '../../machine/memory.ts';
import type { Census } from './census.ts';
import type { Findings } from './finding.ts';
import type { Ledger } from './ledger.ts';

/** What an owner says it has. */
interface Claim extends FrameRun {
  owner: string;
  who: string;
}

/** By itself, also where no kernel runs. */
export function checkMemory(memory: PhysicalMemory, found: Findings): void {
  let behind = 1;
  let owned = 0;
  let orphans = 0;
  let lowest: number | null = null;
  for (const { start, count, held } of memory.runs) {
    if (start < behind || count <= 0 || start + count > memory.frames)
      found.note('order of owned frames', 'memory', 'ascending and apart', `a run at frame ${start}`);
    if (start > behind) lowest ??= behind;
    owned += count;
    if (!held) orphans += count;
    behind = start + count;
  }
  found.same('free frames', 'memory', memory.frames - 1 - owned, memory.freeFrames);
  found.same('frames that only pins keep', 'memory', orphans, memory.orphans);
  lowest ??= behind;
  if (memory.lowestFree > lowest) found.note('lowest free frame', 'memory', `${lowest} or less`, memory.lowestFree);
}

/** Each frame has one owner, who knows of it. What the previous kernel left and nobody has taken is nobody's but KHO's. */
export function checkOwners(census: Census, found: Findings): void {
  const { memory } = census.kernel.machine;
  const claims = [...claimsOf(census)].sort((a, b) => a.start - b.start);
  let before: Claim | null = null;
  for (const claim of claims) {
    if (before && before.start + before.count > claim.start)
      found.note('owner', `frame ${claim.start}`, 'one', `${before.who} and ${claim.who}`);
    before = claim;
    checkClaim(claim, memory, found);
  }
  checkClaimed(claims, memory, found);
}

function* claimsOf(census: Census): Generator<Claim> {
  const { iommu, machine, processes, luo } = census.kernel;
  for (const { id, table } of iommu.domains.values())
    yield* table.tables().map((run) => ({ ...run, owner: 'page-table', who: `domain ${id}` }));
  for (const unit of machine.units.values())
    yield* unit.tables().map((run) => ({ ...run, owner: 'context-table', who: `IOMMU ${unit.id}` }));
  const spans = (list: Generator<FrameSpan>, owner: string, who: string): Iterable<Claim> =>
    list.map(({ frame, count }) => ({ start: frame, count, owner, who }));
  for (const { pid, mm } of processes.values()) yield* spans(mm.frames.spans, 'anonymous', `process ${pid}`);
  for (const { pages, viommu } of census.viommuPages) yield* spans(pages.spans, 'memfd', `vIOMMU ${viommu.id}`);
  for (const inode of census.inodes.items()) yield* spans(inode.pages.spans, 'memfd', census.inodeName(inode));
  if (!luo) return;
  for (const { name, files } of luo.waitingRecords)
    for (const { compatible, token, data } of files)
      if (compatible === MEMFD_HANDLER.compatible) yield* waiting(data, `token ${token} of session "${name}"`);
  for (const { name, files } of luo.incoming)
    for (const entry of files)
      if (entry instanceof HandedOver && entry.handler === MEMFD_HANDLER && !entry.file && !entry.failed)
        yield* waiting(entry.data, `token ${entry.token} of session "${name}"`);
}

/** Frames of a memfd that was handed over and not retrieved yet. */
function waiting(json: Json, who: string): Claim[] {
  const data = MEMFD_HANDLER.read(json);
  return data ? runsOf(data).map((run) => ({ ...run, owner: 'reserved', who })) : [];
}

/** What is claimed is owned. */
function checkClaim({ start, count, owner, who }: Claim, memory: PhysicalMemory, found: Findings): void {
  for (let frame = start; frame < start + count; ) {
    const run = memory.runAt(frame);
    const is = run ? (run.held ? run.owner : 'held by pins only') : 'free';
    if (is !== owner) found.note('owner', `frame ${frame} of ${who}`, owner, is);
    frame = run ? run.start + run.count : frame + 1;
  }
}

/** What is owned is claimed. */
function checkClaimed(claims: readonly Claim[], memory: PhysicalMemory, found: Findings): void {
  let next = 0;
  for (const { start, count, held, owner } of memory.runs) {
    if (!held || owner === 'reserved') continue;
    const end = start + count;
    let at = start;
    while (next < claims.length && claims[next]!.start + claims[next]!.count <= at) next++;
    for (let other = next; at < end; other++) {
      const claim = claims[other];
      const until = Math.min(end, claim?.start ?? end);
      if (until > at) found.note('owner', `frames ${at}-${until - 1} (${owner})`, 'one that knows of them', 'nobody');
      at = Math.max(at, until, claim ? claim.start + claim.count : end);
    }
  }
}

/** `ledger` has the pins of all who hold frames. */
export function checkPins(memory: PhysicalMemory, ledger: Ledger, found: Findings): void {
  const expected = ledger.pins.runs();
  const there = memory.pinned();
  let wanted = expected.next();
  let is = there.next();
  for (let at = 0; !(wanted.done && is.done); ) {
    const ends = [wanted, is].flatMap(({ value }) =>
      value ? [value.start > at ? value.start : value.start + value.count] : [],
    );
    const end = Math.min(...ends);
    const pinsAt = ({ value }: typeof is): number => (value && value.start <= at ? value.pins : 0);
    const pins = pinsAt(is);
    if (pinsAt(wanted) !== pins) found.note('pins', framesName(memory, at, end), pinsAt(wanted), pins);
    at = end;
    if (wanted.value && wanted.value.start + wanted.value.count <= at) wanted = expected.next();
    if (is.value && is.value.start + is.value.count <= at) is = there.next();
  }
  checkOrphans(memory, found);
}

function framesName(memory: PhysicalMemory, start: number, end: number): string {
  const owner = memory.runAt(start)?.owner ?? 'free';
  return `${end - start > 1 ? `frames ${start}-${end - 1}` : `frame ${start}`} (${owner})`;
}

/** Frames that are pinned are there, and those that nobody owns any more are pinned. */
function checkOrphans(memory: PhysicalMemory, found: Findings): void {
  const pinned = memory.pinned();
  let pin = pinned.next();
  let behind = 0;
  const passTo = (frame: number): void => {
    for (; pin.value && Math.max(pin.value.start, behind) < frame; pin = pinned.next()) {
      const { start, count } = pin.value;
      found.note('owner', `frame ${Math.max(start, behind)}, which is pinned`, 'one', 'none: it is free');
      if (start + count > frame) break;
    }
  };
  for (const { start, count, held, owner } of memory.runs) {
    passTo(start);
    const end = start + count;
    let at = start;
    for (; pin.value && pin.value.start < end; pin = pinned.next()) {
      const from = Math.max(at, pin.value.start);
      if (!held && from > at)
        found.note('pins', `frames ${at}-${from - 1} (${owner})`, 'some, as nobody else holds them', 0);
      at = Math.min(end, pin.value.start + pin.value.count);
      if (pin.value.start + pin.value.count > end) break;
    }
    if (!held && at < end)
      found.note('pins', `frames ${at}-${end - 1} (${owner})`, 'some, as nobody else holds them', 0);
    behind = end;
  }
  passTo(memory.frames);
}
