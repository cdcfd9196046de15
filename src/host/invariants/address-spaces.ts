/** Mappings of processes and the frames of their private pages; pages of memfds that are not up to date. */
import type { FrameSpan } from '../../kernel/mm/frame-map.ts';
import { isPrivate, type Mapping } from '../../kernel/mm/mapping.ts';
import type { Census } from './census.ts';
import type { Findings } from './finding.ts';

export function checkAddressSpaces(census: Census, found: Findings): void {
  for (const { pid, mm } of census.kernel.processes.values()) {
    const where = `process ${pid}`;
    let before: Readonly<Mapping> | null = null;
    for (const mapping of mm.mappings) {
      const page = `0x${mapping.first.toString(16)}`;
      if (mapping.first > mapping.last || (before && before.last >= mapping.first))
        found.note('order of mappings', where, 'ascending and apart', `one at page ${page}`);
      if (mapping.prot & ~mapping.may & 7)
        found.same('protection', `the mapping at page ${page} of ${where}`, mapping.prot & mapping.may, mapping.prot);
      before = mapping;
    }
    for (const { page, count } of mm.frames.spans)
      for (let at = page; at < page + count; ) {
        const [mapping] = mm.within(at, at);
        if (!mapping || !isPrivate(mapping) || mapping.device)
          found.note(
            'mapping',
            `page 0x${at.toString(16)} of ${where}, which has a frame`,
            'private',
            'none, or shared',
          );
        at = mapping ? mapping.last + 1 : page + count;
      }
  }
  for (const inode of census.inodes.items())
    for (const { page, frame, count } of inode.fallocated.spans)
      found.same(
        'frames',
        `pages ${page}-${page + count - 1} of ${census.inodeName(inode)}, which are not up to date`,
        tell(inode.pages.range(page, page + count - 1)),
        tell([{ page, frame, count }]),
      );
  for (const page of census.viommuPages) {
    const holders = ['its vIOMMU', ...census.pages.of(page.viommu)];
    found.count('references', `the page of vIOMMU ${page.viommu.id}`, holders, page.refs);
  }
}

const tell = (spans: readonly Omit<FrameSpan, 'folioShift'>[]): string =>
  spans.map(({ page, frame, count }) => `${page}: ${frame}-${frame + count - 1}`).join(', ');
