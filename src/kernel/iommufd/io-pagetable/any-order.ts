/**
 * Maps at fixed IOVAs, or unmaps, none of which is refused, whatever comes before: these may be done in any order, since the only
 * thing that depends on it is which frames become page tables, and that is the kernel's own choice.
 */
import { PAGE, PAGE_SHIFT, PAGE_SIZE, pageHigh, pageLow } from '../../../machine/address.ts';
import { WRITE } from '../../../machine/page-table.ts';
import { hasSmallPages } from '../areas/area-pages.ts';
import type { IoPagetable } from './io-pagetable.ts';
import { type Account, charge, uncharge } from './pages.ts';

/** Operations that do the same, each with so many pages at IOVAs of its own. Page numbers are below 2^52. */
export interface Alike {
  /** Pages of each, less than 512. */
  pages: number;
  /** The first page of all, and the last one. */
  first: number;
  last: number;
  count: number;
  /** So many spans of 512 pages are touched at most: each may need a table, and tables above that. */
  spans: number;
}

/** Whether none of these maps is refused for what is common to all: then `takesMap` has to be asked of each. */
export function takesMaps(iopt: IoPagetable, access: number, account: Account, maps: Alike): boolean {
  const { pages, first, last, count, spans } = maps;
  const [domain] = iopt.domains;
  if (iopt.immutable || iopt.domains.length > 1 || iopt.alignment > PAGE || access === 0) return false;
  if (!iopt.isFree(pageHigh(first), pageLow(first), pageHigh(last), pageLow(last) + PAGE_SIZE - 1)) return false;
  if (!domain) return true;
  if (domain.format.minShift !== PAGE_SHIFT || !hasSmallPages(domain, pages) || domain.checkAccess(access))
    return false;
  if (spans * domain.format.levels > account.process.mm.memory.freeFrames) return false;
  if (charge(account, count * pages)) return false;
  uncharge(account, count * pages);
  return true;
}

/** Whether nothing lies at these IOVAs, and the memory can be pinned as it is. `start`: the page of its address. */
export function takesMap(
  iopt: IoPagetable,
  access: number,
  account: Account,
  page: number,
  start: number,
  pages: number,
): boolean {
  const [domain] = iopt.domains;
  if (domain && account.process.mm.frameAt(start, (access & WRITE) !== 0, pages) < 0) return false;
  // Each area is in the domain, whose table is smaller than that of the areas.
  if (domain && pages === 1) return domain.table.isFree(page);
  const last = page + pages - 1;
  return !(iopt.areas.seek(pageHigh(last), pageLow(last)) && iopt.areas.reaches(pageHigh(page), pageLow(page)));
}

/** Whether none of these unmaps is refused for what is common to all: then `takesUnmap` has to be asked of each. */
export const takesUnmaps = (iopt: IoPagetable): boolean => !iopt.immutable && iopt.holds.size === 0;

/** Whether one area lies at these IOVAs, and ends with them. */
export function takesUnmap({ areas }: IoPagetable, page: number, pages: number): boolean {
  const last = page + pages - 1;
  return (
    areas.seek(pageHigh(page), pageLow(page)) &&
    areas.iovaLow === pageLow(page) &&
    areas.iovaHigh === pageHigh(page) &&
    areas.lastLow === pageLow(last) + PAGE_SIZE - 1 &&
    areas.lastHigh === pageHigh(last)
  );
}
