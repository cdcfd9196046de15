/** A large batch in no order is put in order where nobody can tell, and nowhere else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { EngineVmm } from '../../../bench/engine.ts';
import { hex, IOVA, MEMORY, PAGE } from '../../../bench/vmm.ts';
import { Batch, type BatchOutcome } from '../../../src/host/batch/batch.ts';
import type { BatchView } from '../../../src/host/batch/execution.ts';
import { unpack } from '../../../src/host/batch/packed.ts';
import type { IommufdContext } from '../../../src/kernel/iommufd/context.ts';
import { type Ioas, lookupIoas } from '../../../src/kernel/iommufd/ioas.ts';
import { digestOf } from '../../../src/lanes/state-digest.ts';
import { type Operation, type Performing, perform, STEP } from './performing.ts';

const MANY = 40_000;
/** A batch of so few is done as it comes. */
const FEW = 1000;

interface Options extends Performing {
  attached?: boolean;
}

/** Maps, or unmaps, of pages with a page between them, in no order. */
function inNoOrder(op: Operation['op']): Operation[] {
  const pages = Array.from({ length: MANY }, (_, index) => index);
  let seed = 5;
  for (let at = MANY - 1; at > 0; at--) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const other = Math.floor((seed / 2 ** 32) * (at + 1));
    [pages[at], pages[other]] = [pages[other]!, pages[at]!];
  }
  return pages.map((page) => ({ op, iova: IOVA + 2 * page * PAGE, length: PAGE, userVa: MEMORY + page * PAGE }));
}

function vmmWith({ attached = true }: Options = {}): EngineVmm {
  return new EngineVmm({ pages: MANY, attached });
}

function performFew(vmm: EngineVmm, operations: readonly Operation[]): void {
  for (let at = 0; at < operations.length; at += FEW) perform(vmm, operations.slice(at, at + FEW));
}

const viewOf = ({ answer }: BatchOutcome): BatchView => (answer as unknown as { value: BatchView }).value;

/** Whether the journal keeps the operations in order of their IOVAs. */
function isInOrder({ stored }: BatchOutcome): boolean {
  const { iova } = unpack(stored!.payload);
  for (let row = 1; row < iova.rows; row++) if (iova.big(row) < iova.big(row - 1)) return false;
  return true;
}

function ioasOf({ host, pid, fd, ioas }: EngineVmm): Ioas {
  const context = host.kernel!.processes.get(pid)!.file(fd) as IommufdContext;
  return lookupIoas(context, ioas) as Ioas;
}

/** What is mapped to which memory, and what that takes. */
function shown(vmm: EngineVmm): unknown {
  const { areas, domains, sources } = ioasOf(vmm).iopt;
  const mapped = [...areas].map(({ iova, last, start, access }) => {
    const leaf = domains[0]?.table.lookup(Number(iova) / PAGE);
    return [iova, last, start, access, leaf?.physical, leaf?.shift, leaf?.access];
  });
  const pins = [...sources].map((source) => [source.areas, source.pinnedPages]);
  return { mapped, pins, free: vmm.host.machine.memory.freeFrames };
}

/** The stored command on a host that was made in the same way. */
function replayed({ stored }: BatchOutcome, vmm: EngineVmm): string {
  const batch = new Batch(vmm.host, stored!.command, stored!.payload);
  while (!batch.step(STEP));
  assert.deepEqual(batch.outcome!.stored!.proof, stored!.proof);
  return digestOf(vmm.host);
}

for (const attached of [true, false])
  test(`maps and unmaps, ${attached ? 'with' : 'without'} a domain: as one by one, and again in a replay`, () => {
    const [maps, unmaps] = [inNoOrder('map'), inNoOrder('unmap')];
    const [vmm, other, third] = [vmmWith({ attached }), vmmWith({ attached }), vmmWith({ attached })];
    const mapped = perform(vmm, maps);
    performFew(other, maps);
    assert.ok(isInOrder(mapped));
    assert.equal(viewOf(mapped).applied, MANY);
    assert.ok(isDeepStrictEqual(shown(vmm), shown(other)));
    assert.equal(replayed(mapped, third), digestOf(vmm.host));
    const unmapped = perform(vmm, unmaps);
    performFew(other, unmaps);
    assert.ok(isInOrder(unmapped));
    assert.equal(viewOf(unmapped).unmappedBytes, hex(MANY * PAGE));
    assert.ok(isDeepStrictEqual(shown(vmm), shown(other)));
    assert.equal(replayed(unmapped, third), digestOf(vmm.host));
  });

/** The operation with this number is another one. */
const but = (operations: Operation[], index: number, other: Partial<Operation>): Operation[] =>
  operations.with(index, { ...operations[index]!, ...other });

const BAD = 20_000;
const MEBIBYTES_2 = 2 << 20;

interface Case extends Options {
  errno: string;
  /** What is refused first, if it is not the one that is different. */
  at?: number;
  prepare?: (vmm: EngineVmm) => void;
  operations: () => Operation[];
}

const REFUSED: Record<string, Case> = {
  'an IOVA comes twice': {
    errno: 'EEXIST',
    operations: () => but(inNoOrder('map'), BAD, { iova: inNoOrder('map')[7]!.iova }),
  },
  'an IOVA is taken': {
    errno: 'EEXIST',
    prepare: (vmm) => perform(vmm, [inNoOrder('map')[BAD]!]),
    operations: () => inNoOrder('map'),
  },
  'an IOVA is taken, and there is no domain': {
    errno: 'EEXIST',
    attached: false,
    prepare: (vmm) => perform(vmm, [inNoOrder('map')[BAD]!]),
    operations: () => inNoOrder('map'),
  },
  'an IOVA is taken by a large page': {
    errno: 'EEXIST',
    prepare: (vmm) => {
      perform(vmm, [{ op: 'map', iova: IOVA - MEBIBYTES_2, length: MEBIBYTES_2, userVa: MEMORY }]);
      assert.equal(ioasOf(vmm).iopt.domains[0]!.table.lookup(IOVA / PAGE - 1)!.shift, 21);
    },
    operations: () => but(inNoOrder('map'), BAD, { iova: IOVA - PAGE }),
  },
  'an IOVA is reserved': {
    errno: 'EINVAL',
    operations: () => but(inNoOrder('map'), BAD, { iova: 0xfee00000 }),
  },
  'memory is not there': {
    errno: 'EFAULT',
    operations: () => but(inNoOrder('map'), BAD, { userVa: MEMORY - PAGE }),
  },
  'more memory is locked than may be': {
    errno: 'ENOMEM',
    at: 1000,
    prepare: (vmm) => {
      vmm.call({ call: 'setrlimit', memlock: hex(1000 * PAGE) });
      vmm.call({ call: 'setuid', uid: 1000 });
    },
    operations: () => inNoOrder('map'),
  },
  'there is no memory for the tables': {
    errno: 'ENOMEM',
    at: 57,
    prepare: (vmm) => {
      const pages = vmm.host.machine.memory.freeFrames - 50;
      vmm.call({ call: 'mmap', addr: hex(MEMORY + 2 ** 32), length: hex(pages * PAGE) });
    },
    operations: () => inNoOrder('map'),
  },
  'a mapping is preserved': {
    errno: 'EBUSY',
    at: 0,
    prepare: (vmm) => ioasOf(vmm).iopt.preserve(),
    operations: () => inNoOrder('map'),
  },
  'what is unmapped is not there': {
    errno: 'ENOENT',
    prepare: (vmm) => {
      perform(vmm, inNoOrder('map'));
    },
    operations: () => but(inNoOrder('unmap'), BAD, { iova: IOVA + PAGE }),
  },
};

/** Two pages where one is meant, the first or the second of which it is. */
for (const before of [0, 1])
  REFUSED[`what is unmapped is a part of an area (${before})`] = {
    errno: 'ENOENT',
    prepare: (vmm) => {
      const iova = inNoOrder('map')[BAD]!.iova - before * PAGE;
      perform(vmm, but(inNoOrder('map'), BAD, { iova, length: 2 * PAGE, userVa: MEMORY }));
    },
    operations: () => inNoOrder('unmap'),
  };

for (const [what, { errno, attached, at = BAD, prepare, operations }] of Object.entries(REFUSED))
  test(`${what}: done as it comes, and refused where it comes`, () => {
    const vmm = vmmWith(attached === undefined ? {} : { attached });
    prepare?.(vmm);
    const outcome = perform(vmm, operations());
    const { applied, errors } = viewOf(outcome);
    assert.ok(!isInOrder(outcome));
    assert.equal(applied, at);
    assert.deepEqual(
      errors.map((error) => [error.index, error.errno]),
      [[at, errno]],
    );
  });

test('with results, which are told in the order of the operations', () => {
  const vmm = vmmWith();
  const maps = inNoOrder('map');
  const outcome = perform(vmm, maps, { results: true });
  assert.ok(!isInOrder(outcome));
  const { results } = viewOf(outcome) as BatchView & { results: { iova: string }[] };
  assert.deepEqual(
    results.map(({ iova }) => iova),
    maps.map(({ iova }) => hex(iova)),
  );
});
