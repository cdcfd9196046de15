/** What has to be counted elsewhere, by all who hold it: filled by the walks through IOASes and domains. */
import type { SharedPages } from '../../kernel/iommufd/io-pagetable/pages.ts';
import type { LockedCounter } from '../../kernel/process.ts';
import { FramePins } from '../../machine/frame-pins.ts';

export class Ledger {
  /** Frames, as often as they have to be pinned in the machine's memory. */
  readonly pins = new FramePins();
  readonly lockedPages = new Map<LockedCounter, number>();
  /** First and last of the pages that areas and accesses hold, one pair after the other. */
  readonly shared = new Map<SharedPages, number[]>();

  lock(counter: LockedCounter, pages: number): void {
    this.lockedPages.set(counter, (this.lockedPages.get(counter) ?? 0) + pages);
  }

  /** Pages that are shared, whether anybody holds them or not. */
  meet(pages: SharedPages): void {
    if (!this.shared.has(pages)) this.shared.set(pages, []);
  }

  hold(pages: SharedPages, first: number, last: number): void {
    const held = this.shared.get(pages);
    if (held) held.push(first, last);
    else this.shared.set(pages, [first, last]);
  }
}
