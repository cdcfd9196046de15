/** Pages that areas and accesses share, what users inside the kernel hold of areas, and who pays for locked memory. */
import { Access } from '../../kernel/iommufd/device/access.ts';
import type { Holds } from '../../kernel/iommufd/io-pagetable/domain-space.ts';
import type { SharedPages } from '../../kernel/iommufd/io-pagetable/pages.ts';
import { Ioas } from '../../kernel/iommufd/ioas.ts';
import type { Census } from './census.ts';
import type { Findings } from './finding.ts';
import type { Ledger } from './ledger.ts';
import { summed, tellRanges } from './sum.ts';

export function checkPages(census: Census, ledger: Ledger, found: Findings): void {
  checkHolds(census, ledger, found);
  for (const shared of ledger.shared.keys()) checkShared(shared, ledger, found);
  const { kernel } = census;
  const counters = new Map([...ledger.lockedPages.keys()].map((counter) => [counter, 'a process that is gone']));
  for (const [uid, counter] of kernel.users) counters.set(counter, `user ${uid}`);
  for (const { pid, locked } of kernel.processes.values()) counters.set(locked, `process ${pid}`);
  for (const [counter, who] of counters)
    found.same('locked pages', who, ledger.lockedPages.get(counter) ?? 0, counter.pages);
}

/** Pins of accesses are holds of areas, and hold their pages. */
function checkHolds(census: Census, ledger: Ledger, found: Findings): void {
  const holds = new Map<Ioas, Map<bigint, Holds>>();
  for (const context of census.contexts)
    for (const access of context.objects.visible()) {
      if (!(access instanceof Access)) continue;
      for (const { pieces } of access.pins.values())
        for (const { area, pages, first, last } of pieces) {
          ledger.hold(pages, first, last);
          const ofIoas = holds.get(access.ioas!) ?? new Map<bigint, Holds>();
          holds.set(access.ioas!, ofIoas);
          const { pins, locks } = ofIoas.get(area) ?? { pins: 0, locks: 0 };
          ofIoas.set(area, { pins: pins + 1, locks: locks + (access.locks ? 1 : 0) });
        }
    }
  for (const context of census.contexts)
    for (const ioas of context.objects.visible()) {
      if (!(ioas instanceof Ioas)) continue;
      const expected = holds.get(ioas) ?? new Map<bigint, Holds>();
      for (const area of new Set([...expected.keys(), ...ioas.iopt.holds.keys()])) {
        const where = `the area at 0x${area.toString(16)} of ${census.nameOfObject(context, ioas)}`;
        found.same('pins and locks', where, tell(expected.get(area)), tell(ioas.iopt.holds.get(area)));
      }
    }
}

const tell = (holds: Holds | undefined): string => `${holds?.pins ?? 0} and ${holds?.locks ?? 0}`;

function checkShared(shared: SharedPages, ledger: Ledger, found: Findings): void {
  const { origin, account } = shared;
  const of = origin.kind === 'user' ? `process ${origin.process.pid}` : origin.file.link();
  const held = summed(ledger.shared.get(shared) ?? []);
  const where = `pages ${held[0]?.first ?? 0} and others of ${of} that are shared`;
  found.same('holders of pages', where, tellRanges(held), tellRanges(shared.holds));
  let pages = 0;
  for (const { first, last } of held) pages += last - first + 1;
  found.same('pinned pages', where, pages, shared.pinnedPages);
  for (const { frame, count } of shared.pinned) ledger.pins.pin(frame, count);
  if (account.mode !== 'none') ledger.lock(account.counter, pages);
}
