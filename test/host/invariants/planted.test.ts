/** Faults planted in the memory of live hosts, one at a time: the walk names each of them, and finds none before. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Host } from '../../../src/host/host.ts';
import { findings, sentenceOf } from '../../../src/host/invariants/walk.ts';
import { type IommuGroup, RestoredOwner } from '../../../src/kernel/iommu/group.ts';
import type { RestoredHwpts } from '../../../src/kernel/iommu/liveupdate/restored-hwpt.ts';
import { Access } from '../../../src/kernel/iommufd/device/access.ts';
import { HwptPaging } from '../../../src/kernel/iommufd/hw-pagetable/hwpt.ts';
import { Ioas } from '../../../src/kernel/iommufd/ioas.ts';
import { Viommu } from '../../../src/kernel/iommufd/viommu/viommu.ts';
import type { LazyMap } from '../../../src/kernel/lazy-map.ts';
import type { Mapping } from '../../../src/kernel/mm/mapping.ts';
import type { PhysicalMemory } from '../../../src/machine/memory.ts';
import { READ, WRITE } from '../../../src/machine/page-table.ts';
import type { SortedList } from '../../../src/machine/sorted-list.ts';
import { BDF, IOVA, PAGE, Vmm } from './vmm.ts';

const found = (host: Host): string[] =>
  [...findings(host)].filter((finding) => finding !== null).map((finding) => sentenceOf(finding));

/** Fields that are nobody's business elsewhere. */
type Inside = Record<string, unknown>;
const inside = (object: object): Inside => object as unknown as Inside;
function add(object: object, field: string, by: number): void {
  const fields = inside(object);
  assert.equal(typeof fields[field], 'number', `${field} is a number`);
  fields[field] = (fields[field] as number) + by;
}

const firstOf = (mappings: SortedList<Readonly<Mapping>>): Mapping => mappings.above(-1) as Mapping;
const ownersOf = (memory: PhysicalMemory): object => inside(memory)._owners as object;
const ioasOf = (vmm: Vmm): Ioas => vmm.object(Ioas);
const parentOf = (vmm: Vmm): HwptPaging => vmm.object(HwptPaging);
const groupOf = ({ kernel, host }: Vmm): IommuGroup => kernel.iommu.groupOf(host.machine.functions.get(BDF)!)!;
/** Of the second page of process memory, which no other area shows. */
const SINGLE = IOVA + 2 * PAGE;
const tableOf = (vmm: Vmm) => parentOf(vmm).domain.table;
const frameOf = (vmm: Vmm): number => Math.floor(tableOf(vmm).lookup(SINGLE / 2048)!.physical / PAGE);
/** Maps so many units anew, as nobody has asked for. */
function remap(vmm: Vmm, iova: number, by: number, access: number): void {
  const table = tableOf(vmm);
  const unit = iova / 2048;
  const { physical } = table.lookup(unit)!;
  table.unmap(unit, 2);
  table.map(unit, physical + by * PAGE, 2, access, 12);
}

interface Plant {
  plant: (vmm: Vmm) => void;
  /** One of the sentences. */
  names: RegExp;
}

const ATTACHED: Readonly<Record<string, Plant>> = {
  'a user too many': { plant: (vmm) => add(ioasOf(vmm), '_users', 1), names: /^users of ioas \d+ .*: 3, .* 2 \(/ },
  'a user too few': { plant: (vmm) => add(parentOf(vmm), '_users', -1), names: /^users of hwpt-paging .*: 1, .* 2 \(/ },
  'a user of a vIOMMU too many': { plant: (vmm) => add(vmm.object(Viommu), '_users', 1), names: /^users of viommu/ },
  'a reference of a file too many': {
    plant: (vmm) => add(vmm.context, '_refs', 1),
    names: /^references of the iommufd \(descriptor \d+ of process 1\): 6, .* 5 \(/,
  },
  'a reference of a memfd too few': {
    plant: (vmm) => add(vmm.inode, '_refs', -1),
    names: /^references of "memfd:ram"/,
  },
  'a writer of a memfd too many': {
    plant: (vmm) => add(vmm.inode, '_sharedWritable', 1),
    names: /^shared writable mappings of "memfd:ram"/,
  },
  'a waiter that an eventfd does not know': {
    plant: (vmm) => Object.assign(inside(vmm.counter), { _waiters: new Set() }),
    names: /^waiters of .*: 0, .* 1 \(0000:01:00.0\)$/,
  },
  'a number that is never given': {
    plant: (vmm) => add(vmm.process, '_lowestFree', 2),
    names: /^lowest free number of descriptors of process 1/,
  },
  'an id that is never given': {
    plant: (vmm) => add(vmm.context.objects, '_lowestFree', 1),
    names: /^lowest free number of ids of the iommufd/,
  },
  'a pin that is lost': {
    plant: (vmm) => vmm.memory.unpin(frameOf(vmm), 1),
    names: /^pins of frame \d+ \(anonymous\): 0, .* 1$/,
  },
  'a pin too many': {
    plant: (vmm) => vmm.memory.pin(frameOf(vmm), 1),
    names: /^pins of frame \d+ \(anonymous\): 2, .* 1$/,
  },
  'a frame with another owner': {
    plant: (vmm) => vmm.memory.setOwner(frameOf(vmm), 1, 'memfd'),
    names: /^owner of frame \d+ of process 1: memfd, .* anonymous$/,
  },
  'a frame that is gone': {
    plant: (vmm) => {
      vmm.memory.unpin(frameOf(vmm), 1);
      vmm.memory.release(frameOf(vmm), 1);
    },
    names: /^owner of frame \d+ of process 1: free, .* anonymous$/,
  },
  'a frame of nobody': {
    plant: (vmm) => vmm.memory.allocate(2, { owner: 'memfd' }),
    names: /^owner of frames \d+-\d+ \(memfd\): nobody/,
  },
  'a frame that is not counted as free': {
    plant: (vmm) => add(ownersOf(vmm.memory), '_free', -1),
    names: /^free frames of memory/,
  },
  'a frame that is never given': {
    plant: (vmm) => add(ownersOf(vmm.memory), '_lowestFree', 1),
    names: /^lowest free frame of memory/,
  },
  'a context entry': {
    plant: (vmm) => {
      const fn = vmm.host.machine.functions.get(BDF)!;
      vmm.host.machine.unitOf(fn).setContext(fn.sourceId, { kind: 'identity' });
    },
    names: /^context entry of 0000:01:00.0 .*identity/,
  },
  'a context entry of no function': {
    plant: (vmm) => vmm.host.machine.units.get('mock0')!.setContext(0x108, { kind: 'identity' }),
    names: /^context entry of source 0x108 of mock0: present/,
  },
  'an owner of a group too many': {
    plant: (vmm) => add(groupOf(vmm).owner, 'count', 1),
    names: /^owners of group \d+: 2, .* 1 \(device \d+\)/,
  },
  'the domain of a group': {
    plant: (vmm) => Object.assign(inside(groupOf(vmm)), { _domain: { kind: 'identity' } }),
    names: /^domain of group \d+: identity, .* domain \d+$/,
  },
  'a leaf that points elsewhere': {
    plant: (vmm) => remap(vmm, SINGLE, 16, READ | WRITE),
    names: /^pins of frame \d+ \(anonymous\): 1, .* 0$/,
  },
  'a leaf of shared pages that points elsewhere': {
    plant: (vmm) => remap(vmm, IOVA, 64, READ | WRITE),
    names: /^memory of the area at 0x1000000 of ioas \d+ .* in domain 1: 0x1000 bytes at /,
  },
  'the access of a leaf': {
    plant: (vmm) => remap(vmm, SINGLE, 0, WRITE),
    names: /^access of 0x1002000 of ioas \d+ .* in domain 1: 2, .* 3$/,
  },
  'a leaf that is missing': {
    plant: (vmm) => tableOf(vmm).unmap(SINGLE / 2048, 2),
    names: /^mapping of 0x1002000 of ioas \d+ .* in domain 1: missing, .* there, as an area shows it$/,
  },
  'a leaf too many': {
    plant: (vmm) => tableOf(vmm).map((SINGLE + PAGE) / 2048, frameOf(vmm) * PAGE, 2, READ | WRITE, 12),
    names: /^mapping of 0x1003000 of ioas \d+ .* in domain 1: there, .* missing, as no area shows it$/,
  },
  'locked pages': {
    plant: (vmm) => add(vmm.kernel.userLocked(0), 'pages', 1),
    names: /^locked pages of user 0: 33, .* 32$/,
  },
  'a frame of memory that is not mapped': {
    plant: ({ process: { mm } }) => {
      firstOf(mm.mappings).last--;
    },
    names: /^mapping of page 0x[0-9a-f]+ of process 1, which has a frame: none, or shared, .* private$/,
  },
  'mappings that lie over each other': {
    plant: ({ process: { mm } }) => mm.mappings.add(firstOf(mm.mappings).last, { ...firstOf(mm.mappings) }),
    names: /^order of mappings of process 1: one at page /,
  },
  'a protection that a mapping may not have': {
    plant: ({ process: { mm } }) => {
      firstOf(mm.mappings).may = 1;
    },
    names: /^protection of the mapping at page .* of process 1: 3, .* 1$/,
  },
  'a page that is not up to date, and not there': {
    plant: (vmm) => vmm.inode.fallocated.insert({ page: 100, frame: 5, count: 1, folioShift: 12 }),
    names: /^frames of pages 100-100 of "memfd:ram", which are not up to date: 100: 5-5, /,
  },
  'pinned pages of a source': {
    plant: (vmm) => add([...ioasOf(vmm).iopt.sources].find(({ shared }) => shared === null)!, '_pinnedPages', 1),
    names: /^pinned pages of source \d+ of ioas/,
  },
  'areas of a source': {
    plant: (vmm) => add([...ioasOf(vmm).iopt.sources][0]!, '_areas', 1),
    names: /^areas of source \d+ of ioas/,
  },
  'holders of shared pages': {
    plant: (vmm) => {
      const { shared } = [...ioasOf(vmm).iopt.sources].find((source) => source.shared !== null)!;
      add(shared!.holds[0]!, 'count', 1);
    },
    names: /^holders of pages of pages \d+ and others of process 1 that are shared/,
  },
  'an area that an access holds once more': {
    plant: (vmm) => add([...ioasOf(vmm).iopt.holds.values()][0]!, 'pins', 1),
    names: /^pins and locks of the area at 0x1000000 of ioas/,
  },
  'an access that its IOAS does not know': {
    plant: (vmm) => ioasOf(vmm).iopt.accesses.delete(vmm.object(Access)),
    names: /^accesses of ioas \d+ .*without it, .* with access \d+$/,
  },
  'a gap that is wider than known': {
    plant: (vmm) => {
      ioasOf(vmm).iopt.areas.parts.index.groups[0]!.widest[0] = PAGE / 2;
    },
    names: /^widest gap of a block of ioas/,
  },
  'a place that a search has missed': {
    plant: (vmm) => ioasOf(vmm).iopt.areas.parts.gaps.remember(PAGE, PAGE, PAGE, 0x8000),
    names: /^first place for 4096 bytes of ioas \d+ .*: 32768, .* 4096 or less$/,
  },
  'the key of a block of areas': {
    plant: (vmm) => {
      ioasOf(vmm).iopt.areas.parts.index.groups[0]!.firsts[0]! -= PAGE;
    },
    names: /^key of a block of ioas/,
  },
  'the number of areas': {
    plant: (vmm) => add(ioasOf(vmm).iopt.areas, '_size', 1),
    names: /^areas of ioas \d+ .*: 18, .* 17$/,
  },
  'an area in a reserved range': {
    plant: (vmm) => ioasOf(vmm).iopt.reserved.push({ start: BigInt(IOVA), last: BigInt(IOVA), owner: {} }),
    names: /^areas of ioas \d+ .*: the area at 0x1000000, .* apart from reserved ranges$/,
  },
  'the alignment': {
    plant: (vmm) => {
      ioasOf(vmm).iopt.alignment = 1n;
    },
    names: /^alignment of ioas/,
  },
  'a HWPT that its IOAS does not know': {
    plant: (vmm) => {
      ioasOf(vmm).hwpts = [];
    },
    names: /^HWPTs of ioas \d+ .*without it, .* with hwpt-paging/,
  },
  'a domain that is not listed': {
    plant: (vmm) => vmm.kernel.iommu.domains.delete(1),
    names: /^place in the list of domains of the domain of hwpt-paging/,
  },
};

const PRESERVED: Readonly<Record<string, Plant>> = {
  'a preserved frame that is missing': {
    plant: (vmm) => {
      const hwpt = parentOf(vmm);
      vmm.kernel.kho.preserve(hwpt, hwpt.domain.table.tables().slice(1));
    },
    names: /^preserved frames of hwpt-paging/,
  },
  'a HWPT that KHO does not know': {
    plant: (vmm) => vmm.kernel.kho.unpreserve(parentOf(vmm)),
    names: /^who preserves frames of KHO: without it, .* with hwpt-paging/,
  },
  'a HWPT that is not marked as preserved': {
    plant: (vmm) => {
      parentOf(vmm).preserved = false;
    },
    names: /^whether it is preserved of hwpt-paging .*: false, .* true$/,
  },
  'an IOAS that may change': {
    plant: (vmm) => add(parentOf(vmm).ioas!.iopt, '_preserved', -1),
    names: /^preserved HWPTs of ioas \d+ .*: 0, .* 1$/,
  },
  'a memfd that LUO does not know': {
    plant: (vmm) => (vmm.kernel.luo!.holders as Map<object, string>).delete(vmm.inode),
    names: /^what is in sessions of LUO: without it, .* with ShmemInode$/,
  },
  'a memfd that may change its size': {
    plant: (vmm) => {
      vmm.inode.preserved = false;
    },
    names: /^whether it is preserved of "memfd:ram"/,
  },
  'a device that can be opened twice': {
    plant: (vmm) => {
      vmm.kernel.luo!.deviceOpen = false;
    },
    names: /^open files of \/dev\/liveupdate: 1, .* 0$/,
  },
  'a session that is forgotten': {
    plant: (vmm) => vmm.kernel.luo!.outgoing.splice(0),
    names: /^session of the iommufd .*: vm1, .* null$/,
  },
};

const RESTORED: Readonly<Record<string, Plant>> = {
  'an owner in luo mode': {
    plant: (vmm) => Object.assign(inside(groupOf(vmm)), { _owner: { kind: 'none' } }),
    names: /^owner in state L of 0000:01:00.0/,
  },
  'a page that a restored domain does not hold': {
    plant: (vmm) => {
      const [domain] = vmm.kernel.restored.domains.values();
      inside(domain!)._held = domain!.heldPages.slice(1);
    },
    names: /^held frames of restored domain 1/,
  },
  'a memfd that may change its size under a domain': {
    plant: (vmm) => add(vmm.inode, '_restoredDomains', -1),
    names: /^restored domains of a memfd that came out of a session: 0, .* 1 \(domain 1\)$/,
  },
  'an iommufd that may not adopt': {
    plant: (vmm) => {
      const contexts = inside(vmm.kernel.restored)._contexts as LazyMap<string, object>;
      for (const key of [...contexts.keys()]) contexts.delete(key);
    },
    names: /^retrieved iommufds of the restored state: without it/,
  },
};

const ADOPTED: Readonly<Record<string, Plant>> = {
  'a restored HWPT that is gone': {
    plant: (vmm) => {
      const [records] = vmm.kernel.restored.hwpts;
      (records as RestoredHwpts).set(7n, { state: 'gone' });
    },
    names: /^record of hwpt-paging \d+ of the iommufd .*: false, .* true$/,
  },
  'a device that is not adopted': {
    plant: (vmm) => {
      const { devices } = vmm.kernel.restored;
      const { domain } = devices.get(BDF)!;
      devices.set(BDF, { state: 'waiting', domain, owner: new RestoredOwner('vm1', 2n) });
    },
    names: /^owner in state L of 0000:01:00.0: false/,
  },
};

const STAGES = {
  attached: { make: () => Vmm.attached(), plants: ATTACHED },
  'in a session': { make: () => Vmm.preserved(), plants: PRESERVED },
  retrieved: { make: () => Vmm.restored(false), plants: RESTORED },
  adopted: { make: () => Vmm.restored(true), plants: ADOPTED },
} as const;

for (const [stage, { make, plants }] of Object.entries(STAGES))
  describe(`a VMM that is ${stage}`, () => {
    test('is whole', () => assert.deepEqual(found(make().host), []));
    for (const [fault, { plant, names }] of Object.entries(plants))
      test(`${fault} is found`, () => {
        const vmm = make();
        plant(vmm);
        const sentences = found(vmm.host);
        assert.ok(
          sentences.some((sentence) => names.test(sentence)),
          `none of these is it:\n${sentences.join('\n')}`,
        );
      });
  });

test('where no kernel runs memory is looked at', () => {
  const { host, memory } = Vmm.preserved();
  host.execute({ op: 'kexec.freeze', mode: 'live-update', image: 'loaded' });
  assert.equal(host.kernel, null);
  assert.deepEqual(found(host), []);
  add(ownersOf(memory), '_free', 1);
  assert.match(found(host).join(), /^free frames of memory/);
});
