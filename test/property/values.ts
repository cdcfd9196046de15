/** Addresses and lengths that steps use: mostly such that something is there, now and then odd or out of bounds. */

import { PAGE, UMAX } from './model/base.ts';
import type { Ioas } from './model/ioas.ts';
import type { Model } from './model.ts';
import type { Picks } from './picks.ts';

/** Where processes map memory: a few places, so that calls meet. */
const SLOTS = 4;
const SLOT_BYTES = 0x10000n;
export const MEMORY = 0x100000000000n;
export const HUGE_MEMORY = 0x100040000000n;
const NOWHERE = 0x300000000000n;

export function slot(picks: Picks): bigint {
  return MEMORY + BigInt(picks.below(SLOTS)) * SLOT_BYTES;
}

/** An address of the process. */
export function anyAddress(model: Model, pid: number, picks: Picks): bigint {
  if (picks.rarely(25)) return picks.one([NOWHERE, 0n, UMAX, UMAX - 0xfffn, UMAX - 0x1fffn, MEMORY - 0x1000n]);
  const pages = model.processes.get(pid)?.memory.pages;
  const starts = pages ? [...pages.keys()].filter((page) => !pages.has(page - 1)) : [];
  const start = starts.length > 0 ? BigInt(picks.one(starts)) * PAGE : slot(picks);
  return start + PAGE * BigInt(picks.below(6)) + within(picks);
}

/** Offset in a page: mostly 0. */
function within(picks: Picks): bigint {
  return picks.mostly([0n], 6, [0x800n, 0x800n, 0x800n, 0x7n, 0x123n]);
}

export function anyLength(picks: Picks): bigint {
  if (picks.rarely(25))
    return picks.one([
      0n,
      1n,
      2n,
      UMAX,
      UMAX - 0xfffn,
      UMAX - 0x1000n,
      2n ** 63n,
      2n ** 63n - 0x10001n,
      0x200000n,
      0x200001n,
    ]);
  return PAGE * BigInt(1 + picks.below(8)) - picks.mostly([0n], 8, [0x800n, 0x800n, 1n]);
}

/** A fixed IOVA to map at. */
export function anyIova(model: Model, space: Ioas | null, picks: Picks): bigint {
  if (picks.rarely(20)) return picks.one(corners(model));
  if (space && space.areas.length > 0 && picks.rarely(3)) {
    const area = picks.one(space.areas);
    return picks.one([area.last + 1n, area.iova, area.iova + PAGE, area.iova - PAGE]) & UMAX;
  }
  return base(model) + PAGE * BigInt(picks.below(64)) + within(picks);
}

/** Where most areas are: the beginning of the aperture, or behind the first reserved range. */
export function base(model: Model): bigint {
  const { start } = model.unit.formats[0].aperture;
  return start > 0n ? start : 0xfee00000n - 0x20000n;
}

function corners(model: Model): bigint[] {
  const { start, last } = model.unit.formats[0].aperture;
  return [0n, PAGE, 1n, start - PAGE, last - 0xfffn, last + 1n, UMAX, UMAX - 0xfffn, 0xfee00000n, 0xfef00000n].map(
    (iova) => iova & UMAX,
  );
}

/** A range that areas may lie in, to unmap, copy, or read dirty bits of. */
export function anyRange(model: Model, space: Ioas | null, picks: Picks): { iova: bigint; length: bigint } {
  if (!space || space.areas.length === 0 || picks.rarely(12))
    return { iova: anyIova(model, space, picks), length: anyLength(picks) };
  const area = picks.one(space.areas);
  const length = area.last - area.iova + 1n;
  const next = space.areas.find((other) => other.iova > area.last) ?? area;
  switch (picks.below(11)) {
    case 0:
    case 1:
    case 2:
    case 3:
      return { iova: area.iova, length };
    case 4:
      return { iova: area.iova, length: length > PAGE ? length - PAGE : length };
    case 5:
      return { iova: area.iova + PAGE, length: length > PAGE ? length - PAGE : length };
    case 6:
      return { iova: area.iova & ~0xffffn, length: 0x20000n };
    case 7:
      return { iova: area.iova > PAGE ? area.iova - PAGE : 0n, length: length + 2n * PAGE };
    case 8:
      return { iova: area.iova, length: next.last - area.iova + 1n };
    case 9:
      return { iova: area.iova, length: next.iova - area.iova + PAGE };
    default:
      return { iova: area.iova + 0x800n, length: 0x800n };
  }
}
