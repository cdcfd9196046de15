/** Compares the whole state of a host with the model's: objects, areas, page tables, translations, memory. */
import assert from 'node:assert/strict';
import type {
  HostView,
  HwptView,
  IoasView,
  IommufdView,
  MappingView,
  ProcessView,
  TranslationRun,
} from '../../src/host/views.ts';
import { hex } from './actions.ts';
import type { Host, Sequence } from './driver.ts';
import { ascending, PAGE } from './model/base.ts';
import { type Area, type Domain, READ, WRITE } from './model/ioas.ts';
import type { Page } from './model/memory.ts';
import { type IoasObject, type Iommufd, type IommufdObject, idOf, users } from './model/objects.ts';
import type { Model } from './model.ts';

/** Which frame of the host is which page of the model: what was seen once must stay so. */
export class Frames {
  readonly #frames = new Map<Page, number>();

  /** At the physical address of this byte of the page. */
  see(page: Page, address: number, what: string): void {
    const known = this.#frames.get(page);
    if (known === undefined) this.#frames.set(page, address);
    else assert.equal(address, known, `${what}: the page has moved`);
  }

  /** No two pages that are there now may be one frame. */
  distinct(live: ReadonlySet<Page>): void {
    const seen = new Map<number, Page>();
    for (const page of live) {
      const frame = this.#frames.get(page);
      if (frame === undefined) continue;
      assert.ok(!seen.has(frame), `frame ${frame} is two pages`);
      seen.set(frame, page);
    }
  }
}

const TYPES = { ioas: 'ioas', hwpt: 'hwpt-paging', device: 'device' } as const;

export function* compareState(host: Host, model: Model, frames: Frames): Sequence {
  const seen = new Set<Iommufd>();
  for (const [pid, process] of model.processes) {
    const view = yield* host.query<ProcessView>({ view: 'process', pid });
    assert.deepEqual(
      view.descriptors.map(({ fd }) => fd),
      [...process.descriptors.keys()].sort((a, b) => a - b),
      `descriptors of process ${pid}`,
    );
    assert.equal(view.uid, process.uid);
    const locked = model.locked({ mode: 'mm', process, uid: process.uid });
    assert.equal(Number(view.lockedBytes), locked * Number(PAGE), `locked memory of process ${pid}`);
    for (const [fd, file] of process.descriptors)
      if (file.kind === 'iommufd' && !seen.has(file)) {
        seen.add(file);
        yield* compareIommufd(host, { pid, fd }, file, frames);
      }
  }
  yield* compareTranslations(host, model, frames);
  const live = livePages(model);
  frames.distinct(live);
  yield* compareOwners(host, live);
}

interface Place {
  pid: number;
  fd: number;
}

function* compareIommufd(host: Host, place: Place, context: Iommufd, frames: Frames): Sequence {
  const view = yield* host.query<IommufdView>({ view: 'iommufd', ...place });
  const objects = [...context.objects].sort(([a], [b]) => a - b);
  const describe = ([id, object]: [number, IommufdObject]) => ({
    id,
    type: TYPES[object.type],
    users: users(context, object),
  });
  assert.deepEqual(view.objects, objects.map(describe), 'objects of the iommufd');
  const on = new Map(
    [...context.attachments.values()].flatMap(({ hwpt, devices }) => devices.map((device) => [device, hwpt])),
  );
  for (const { id, bdf, hwpt } of view.devices) {
    const device = context.objects.get(id);
    assert.ok(device?.type === 'device');
    const attached = on.get(device);
    assert.deepEqual({ bdf, hwpt }, { bdf: device.fn.bdf, hwpt: attached ? idOf(context, attached) : null });
  }
  for (const [id, object] of objects) {
    if (object.type === 'ioas') yield* compareIoas(host, place, context, id, object);
    if (object.type !== 'hwpt') continue;
    const hwpt = yield* host.query<HwptView>({ view: 'hwpt', ...place, hwpt: id });
    assert.equal(hwpt.ioas, idOf(context, object.ioas));
    assert.equal(hwpt.auto, object.auto);
    assert.equal(hwpt.dirtyTracking, object.domain.tracking);
    assert.equal(hwpt.devices.length, users(context, object));
    compareTable(host, hwpt.domain!, object.domain, frames);
  }
}

function* compareIoas(host: Host, place: Place, context: Iommufd, id: number, { space, hwpts }: IoasObject): Sequence {
  const view = yield* host.query<IoasView>({ view: 'ioas', ...place, ioas: id });
  const areas = ascending(space.areas, ({ iova }) => iova);
  const ranges = (found: readonly { start: string; last: string }[]) =>
    found.map(({ start, last }) => `${start}-${last}`).sort();
  const hexRanges = (found: readonly { start: bigint; last: bigint }[]) =>
    found.map(({ start, last }) => ({ start: hex(start), last: hex(last) }));
  assert.deepEqual(
    { ...view, allowed: ranges(view.allowed), reserved: ranges(view.reserved) },
    {
      ioas: id,
      areas: areas.length,
      bytes: hex(areas.reduce((sum, { iova, last }) => sum + last - iova + 1n, 0n)),
      alignment: hex(space.alignment()),
      hwpts: hwpts.map((hwpt) => idOf(context, hwpt)),
      immutable: false,
      allowed: ranges(hexRanges(space.allowed)),
      reserved: ranges(hexRanges(space.reserved)),
    },
    `IOAS ${id}`,
  );
  const mappings = yield* host.query<MappingView[]>({ view: 'mappings', ...place, ioas: id, limit: 10000 });
  assert.deepEqual(mappings, areas.map(mappingView), `mappings of IOAS ${id}`);
}

function mappingView({ iova, last, access, pages, start }: Area): MappingView {
  return {
    iova: hex(iova),
    length: hex(last - iova + 1n),
    readable: (access & READ) !== 0,
    writeable: (access & WRITE) !== 0,
    source: pages.source.kind,
    offset: hex(start),
  };
}

/** Every leaf of the page table in the host's memory, and none besides. */
function compareTable(host: Host, domainId: number, domain: Domain, frames: Frames): void {
  const leaves = host.leaves(domainId);
  if (leaves === null) return;
  let units = 0;
  for (const leaf of leaves) {
    const count = leaf.bytes / domain.unit;
    for (let i = 0n; i < count; i++) {
      const unit = leaf.iova / domain.unit + i;
      const entry = domain.table.get(unit);
      assert.ok(entry, `the page table maps ${hex(unit * domain.unit)}, which is not mapped`);
      assert.equal(leaf.access, entry.access, `access at ${hex(unit * domain.unit)}`);
      if (domain.flags.dirty) assert.equal(leaf.dirty, entry.leaf.dirty, `dirty bit at ${hex(unit * domain.unit)}`);
      const physical = leaf.physical + Number(i * domain.unit);
      frames.see(entry.page, physical - entry.offset, `page table at ${hex(unit * domain.unit)}`);
      units++;
    }
  }
  assert.equal(units, domain.table.size, 'units that the page table maps');
}

/** Through the devices: what is mapped translates, the units around it do not. */
function* compareTranslations(host: Host, model: Model, frames: Frames): Sequence {
  const done = new Set<Domain>();
  for (const fn of model.functions) {
    const domain = model.domainOf(fn);
    if (typeof domain === 'string' || done.has(domain)) continue;
    done.add(domain);
    const { unit, table } = domain;
    const borders = new Set(
      [...table.keys()].flatMap((at) => [at - 1n, at + 1n]).filter((at) => at >= 0n && !table.has(at)),
    );
    const around = [...table.keys(), ...borders].sort((a, b) => (a < b ? -1 : 1));
    for (const [first, last] of stretches(around)) {
      const query = {
        view: 'translation',
        bdf: fn.bdf,
        iova: hex(first * unit),
        length: hex((last - first + 1n) * unit),
      } as const;
      const runs = yield* host.query<TranslationRun[]>(query);
      let found = 0n;
      for (const { address, length, physical, readable, writeable } of runs)
        for (let offset = 0n; offset < BigInt(length); offset += unit) {
          const entry = table.get((BigInt(address) + offset) / unit);
          assert.ok(entry, `${fn.bdf} reaches ${hex(BigInt(address) + offset)}, which is not mapped`);
          assert.equal((readable ? READ : 0) | (writeable ? WRITE : 0), entry.access);
          frames.see(entry.page, Number(BigInt(physical) + offset) - entry.offset, `translation at ${address}`);
          found++;
        }
      let wanted = 0n;
      for (let at = first; at <= last; at++) if (table.has(at)) wanted++;
      assert.equal(
        found,
        wanted,
        `units that ${fn.bdf} reaches from ${hex(first * unit)} to ${hex((last + 1n) * unit)}`,
      );
    }
  }
}

/** Ascending numbers as first and last of each uninterrupted stretch. */
function stretches(numbers: readonly bigint[]): [bigint, bigint][] {
  const found: [bigint, bigint][] = [];
  for (const number of numbers) {
    const left = found.at(-1);
    if (left && left[1] + 1n === number) left[1] = number;
    else found.push([number, number]);
  }
  return found;
}

/** Pages that a process, a file or a pin holds. */
function livePages(model: Model): Set<Page> {
  const live = new Set<Page>();
  const inodes = new Set<{ pages: ReadonlyMap<number, Page> }>();
  for (const { memory, descriptors } of model.processes.values()) {
    for (const { page, inode } of memory.pages.values()) {
      if (page) live.add(page);
      if (inode) inodes.add(inode);
    }
    for (const file of descriptors.values()) if (file.kind === 'memfd') inodes.add(file.inode);
  }
  for (const { source, pinned } of model.pages) {
    for (const page of pinned.values()) live.add(page);
    const file = source.kind === 'file' ? (source.file as { inode?: { pages: ReadonlyMap<number, Page> } }) : {};
    if (file.inode) inodes.add(file.inode);
  }
  for (const inode of inodes) for (const page of inode.pages.values()) live.add(page);
  return live;
}

function* compareOwners(host: Host, live: ReadonlySet<Page>): Sequence {
  const { memory } = yield* host.query<HostView>({ view: 'host' });
  const pages = (owner: Page['owner']): number => [...live].filter((page) => page.owner === owner).length;
  const bytes = (owner: Page['owner']): number => Number(memory.owners[owner] ?? 0);
  assert.equal(bytes('anonymous'), pages('anonymous') * Number(PAGE), 'anonymous memory');
  // A pin that fails in the middle leaves pages of a file behind in the model, of which the host may not have all.
  assert.ok(bytes('memfd') <= pages('memfd') * Number(PAGE), 'memory of files');
}
