/** Queries that may find very much do so in steps, and find the same. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EngineVmm } from '../../bench/engine.ts';
import { hex, IOVA, MEMORY, PAGE } from '../../bench/vmm.ts';
import type { Answer, HostQuery } from '../../src/host/command.ts';
import { STEP } from '../../src/host/queries/row.ts';

const MANY = 20 * STEP;

/** With so many areas, each a run of its translation; so many mappings of a process, each with memory; and objects. */
function vmm(): EngineVmm {
  const made = new EngineVmm({ pages: 2 * MANY, attached: true });
  made.mapPages(MANY, 2);
  const { host, pid, fd } = made;
  const each = <Call>(call: (index: number) => Call): Call[] => Array.from({ length: MANY }, (_, index) => call(index));
  const apart = (index: number): string => hex(0x6000_0000_0000 + 2 * index * PAGE);
  const calls = [
    ...each((index) => ({ call: 'mmap' as const, addr: apart(index), length: PAGE })),
    ...each((index) => ({ call: 'poke' as const, addr: apart(index), data: 'AQ==' })),
    ...each(() => ({ call: 'ioctl' as const, fd, request: 'IOMMU_IOAS_ALLOC', arg: {} })),
  ];
  const { answer } = host.execute({ op: 'calls', pid, calls, stopOnError: true });
  assert.equal((answer as { value: { results: unknown[] } }).value.results.length, 3 * MANY);
  return made;
}

test('no step of a query looks at much', () => {
  const { host, pid, fd, ioas } = vmm();
  const bdf = host
    .kernel!.vfio.devices.keys()
    .find((name) => host.kernel!.vfio.devices.get(name)!.path.endsWith('/vfio0'))!;
  const length = hex(2 * MANY * PAGE);
  const found = (query: HostQuery): [number, Answer] => {
    const steps = host.look(query);
    assert.ok(!('kind' in steps), query.view);
    for (let count = 1; ; count += 1) {
      const { done, value } = steps.next();
      if (done) return [count, value];
    }
  };
  const value = (query: HostQuery): unknown => {
    const [steps, answer] = found(query);
    assert.ok(steps >= MANY / STEP, `${query.view}: ${steps}`);
    assert.deepEqual(host.query(query), answer);
    assert.equal(answer.kind, 'ok');
    return (answer as { value: unknown }).value;
  };
  const translation = value({ view: 'translation', bdf, iova: hex(IOVA), length }) as { address: string }[];
  assert.deepEqual([translation.length, translation.at(-1)!.address], [MANY, hex(IOVA + 2 * (MANY - 1) * PAGE)]);
  const memory = value({ view: 'memory', pid, address: '0x600000000000', length }) as { length: string }[];
  assert.deepEqual([memory.length, memory.at(-1)!.length], [MANY, hex(PAGE)]);
  const { areas, bytes } = value({ view: 'ioas', pid, fd, ioas }) as { areas: number; bytes: string };
  assert.deepEqual([areas, bytes], [MANY, hex(MANY * PAGE)]);
  const { more } = value({ view: 'iommufd', pid, fd }) as { more: { ioases: number } };
  assert.equal(more.ioases, MANY + 1 - 1000);
});

test('an area that ends with the address space counts as a whole', () => {
  const { host, pid, fd, ioas } = new EngineVmm({ pages: 1, attached: false });
  const map = (iova: string, length: string) => ({
    call: 'ioctl' as const,
    fd,
    request: 'IOMMU_IOAS_MAP',
    arg: { flags: 7, ioas_id: ioas, user_va: hex(MEMORY), length, iova },
  });
  host.execute({ op: 'calls', pid, calls: [map('0x0', '0x1000'), map('0xfffffffffffff000', '0x1000')] });
  const { value } = host.query({ view: 'ioas', pid, fd, ioas }) as { value: { areas: number; bytes: string } };
  assert.deepEqual([value.areas, value.bytes], [2, '0x2000']);
});
