/** What is done to many pages, spans or mappings takes about as long as the same done to a part of them at a time. */
import assert from 'node:assert/strict';
import { threadCpuUsage } from 'node:process';
import { test } from 'node:test';
import type { CallInput, Command } from '../../../src/host/command.ts';
import { Host } from '../../../src/host/host.ts';
import { buildHostSpec } from '../../../src/host/host-spec.ts';
import { PROTECTION } from '../../../src/kernel/uapi/bits.ts';

const FEW = 3000;
const TIMES = 4;
/** As much work, at once in place of in four parts: all with all it would take four times as long. */
const MOST_TIMES = 2.2;
/** Microseconds: some systems count the time of threads in ticks of 10 ms. */
const TICKS = 30_000;
/** Page number of the first mapping. */
const BASE = 0x10000;

const at = (page: number): string => `0x${(page * 4096).toString(16)}`;
const numbers = (count: number): number[] => Array.from({ length: count }, (_, number) => number);

/** In the same order in every run. */
function shuffled(count: number): number[] {
  const all = numbers(count);
  let seed = 1;
  for (let left = count - 1; left > 0; left--) {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    const other = (seed >>> 8) % (left + 1);
    [all[left], all[other]] = [all[other]!, all[left]!];
  }
  return all;
}

class Lab {
  readonly host: Host;
  readonly pid: number;

  constructor() {
    const built = buildHostSpec({ preset: 'vmm-lab', memory: '0x1000000000' });
    if ('errors' in built) throw new Error(JSON.stringify(built.errors));
    this.host = new Host(built.spec);
    this.pid = (this.execute({ op: 'process.create' }) as { pid: number }).pid;
  }

  execute(command: Command): unknown {
    const { answer } = this.host.execute(command);
    assert.equal(answer.kind, 'ok', JSON.stringify(answer));
    return (answer as { value: unknown }).value;
  }

  calls(calls: CallInput[]): number[] {
    const { results } = this.execute({ op: 'calls', pid: this.pid, calls }) as { results: { ret: number }[] };
    const failed = results.find((result) => 'errno' in result);
    assert.equal(failed, undefined, JSON.stringify(failed));
    return results.map(({ ret }) => ret);
  }

  memfd(pages: number): number {
    const [fd] = this.calls([{ call: 'memfd_create', name: 'ram', size: at(pages) }]);
    return fd!;
  }

  /** A memfd whose every second page has a frame. */
  spans(order: readonly number[]): number {
    const fd = this.memfd(2 * order.length);
    this.calls(order.map((number) => write(fd, 2 * number)));
    return fd;
  }

  /** Mappings of a page each, and gaps between them. */
  mappings(count: number): void {
    this.calls(numbers(count).map((number) => mmap(BASE + 2 * number, 1)));
  }
}

const write = (fd: number, page: number): CallInput => ({ call: 'pwrite', fd, offset: at(page), data: 'AQ==' });
const mmap = (page: number, pages: number): CallInput => ({ call: 'mmap', addr: at(page), length: at(pages) });
const { PROT_READ, PROT_WRITE } = PROTECTION;

/** Prepares as much as it is told, and returns what is to be measured. */
const WORK: Record<string, (count: number) => () => unknown> = {
  'writes to pages in any order': (count) => {
    const lab = new Lab();
    const fd = lab.memfd(2 * count);
    const calls = shuffled(count).map((number) => write(fd, 2 * number));
    return () => lab.calls(calls);
  },
  'stores to private pages of a memfd, the last one first': (count) => {
    const lab = new Lab();
    const fd = lab.memfd(2 * count);
    lab.calls([
      { call: 'mmap', addr: at(BASE), length: at(2 * count), prot: PROT_READ | PROT_WRITE, flags: 2, fd, offset: 0 },
    ]);
    const calls = numbers(count).map((number) => ({
      ...{ call: 'poke' as const, addr: at(BASE + 2 * (count - 1 - number)), data: 'AQ==' },
    }));
    return () => lab.calls(calls);
  },
  'ftruncate of spans in any order': (count) => {
    const lab = new Lab();
    const fd = lab.spans(shuffled(count));
    return () => lab.calls([{ call: 'ftruncate', fd, length: 0 }]);
  },
  'ftruncate page by page': (count) => {
    const lab = new Lab();
    const fd = lab.spans(numbers(count));
    const calls = numbers(count).map((number) => ({
      ...{ call: 'ftruncate' as const, fd, length: at(2 * (count - 1 - number)) },
    }));
    return () => lab.calls(calls);
  },
  'holes punched in any order': (count) => {
    const lab = new Lab();
    const fd = lab.memfd(count);
    lab.calls([{ call: 'fallocate', fd, mode: 0, offset: 0, length: at(count) }]);
    const calls = shuffled(count).map((number) => ({
      ...{ call: 'fallocate' as const, fd, mode: 3, offset: at(number), length: at(1) },
    }));
    return () => lab.calls(calls);
  },
  'mmap and munmap among many mappings': (count) => {
    const lab = new Lab();
    const order = shuffled(count);
    const maps = order.map((number) => mmap(BASE + 2 * number, 1));
    const unmaps = order.map((number) => ({
      ...{ call: 'munmap' as const, addr: at(BASE + 2 * number), length: at(1) },
    }));
    return () => [lab.calls(maps), lab.calls(unmaps)];
  },
  'munmap and mprotect that cut one mapping to pieces': (count) => {
    const lab = new Lab();
    lab.calls([mmap(BASE, 4 * count)]);
    const calls = shuffled(count).map((number): CallInput => {
      const range = { addr: at(BASE + 4 * number), length: at(1) };
      return number % 2 === 0 ? { call: 'munmap', ...range } : { call: 'mprotect', ...range, prot: PROT_READ };
    });
    return () => lab.calls(calls);
  },
  'mremap of mappings that have no room where they are': (count) => {
    const lab = new Lab();
    lab.mappings(count);
    const calls = numbers(count).map((number) => ({
      ...{ call: 'mremap' as const, addr: at(BASE + 2 * number), old_length: at(1), new_length: at(3), flags: 1 },
    }));
    return () => lab.calls(calls);
  },
  'memory in which only holes of one page are free': (count) => {
    const lab = new Lab();
    const fd = lab.memfd(2 * count);
    lab.calls(numbers(count).map((number) => write(fd, number)));
    lab.calls(
      numbers(count / 2).map((number) => ({
        ...{ call: 'fallocate' as const, fd, mode: 3, offset: at(2 * number), length: at(1) },
      })),
    );
    const calls = numbers(count).map((number) => mmap(BASE + 3 * number, 2));
    return () => lab.calls(calls);
  },
  'fork of a process, and its end': (count) => {
    const lab = new Lab();
    lab.mappings(count);
    return () => {
      const [pid] = lab.calls([{ call: 'fork' }]);
      lab.execute({ op: 'process.kill', pid: pid! });
    };
  },
};

/** Microseconds of this thread for doing it so many times, without what prepares it: whatever else the machine does. */
function cost(work: (count: number) => () => unknown, count: number, times: number): number {
  let all = 0;
  for (let time = 0; time < times; time++) {
    const measured = work(count);
    const begun = threadCpuUsage();
    measured();
    const { user, system } = threadCpuUsage(begun);
    all += user + system;
  }
  return all;
}

for (const [name, work] of Object.entries(WORK))
  test(name, () => {
    cost(work, FEW, 2);
    const few = cost(work, FEW, TIMES * TIMES);
    const many = cost(work, TIMES * FEW, TIMES);
    assert.ok(many < MOST_TIMES * few + TICKS, `${few} µs in ${TIMES} parts, ${many} µs at once`);
  });

test('a terabyte of a memfd takes nothing until it is written, mapped private or shared, and is gone at once', () => {
  const lab = new Lab();
  const PAGES = 2 ** 28;
  const fd = lab.memfd(PAGES);
  const begun = threadCpuUsage();
  const maps = [1, 2].map((flags) => ({
    ...{ call: 'mmap' as const, addr: at(BASE + flags * PAGES), length: at(PAGES), prot: 3, flags, fd, offset: 0 },
  }));
  lab.calls(maps);
  lab.calls(
    numbers(100).map((number) => ({ call: 'poke', addr: at(BASE + 2 * PAGES + number * 2 ** 20), data: 'AQ==' })),
  );
  lab.calls([{ call: 'fork' }, { call: 'ftruncate', fd, length: 0 }]);
  lab.execute({ op: 'process.kill', pid: lab.pid });
  const { user, system } = threadCpuUsage(begun);
  assert.ok(user + system < 1_000_000, `${user + system} µs`);
});
