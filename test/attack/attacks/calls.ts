/** Requests of a few KiB that ask for very much work at once. */
import { MAX_DIRTY_BITS, MAX_DMA_BYTES, MAX_READ, MAX_TRANSFER } from '../../../src/limits.ts';
import type { Attack } from '../attack.ts';
import {
  alone,
  attached,
  batchPath,
  type Call,
  GIB,
  granted,
  hex,
  IOVA,
  ioctl,
  KIB,
  largeSpec,
  MOST_CALLS,
  map,
  mmap,
  PAGE,
  TIB,
  times,
  unmap,
  VA,
} from '../prey.ts';

const manyRanges = (count: number): Call[] =>
  times(count, (index) => {
    const start = BigInt(index) * 2n * PAGE;
    return { start: hex(start), last: hex(start + PAGE - 1n) };
  });

const manyMappings = (count: number): Call[] => times(count, (index) => mmap(PAGE, VA + BigInt(index) * 2n * PAGE));

/** A memfd of so many spans of one page, with holes between them. */
const manySpans = (count: number, fd = 3): Call[] => [
  { call: 'memfd_create', name: 'spans', flags: 2, size: hex(GIB) },
  ...times(count, (index) => ({ call: 'pwrite', fd, offset: hex(BigInt(index) * 2n * PAGE), data: 'AA==' })),
];

const MAP_AND_UNMAP: Attack['begin'] = async (attacker) => {
  const target = await attached(attacker, largeSpec(64n * GIB));
  await target.process.do(mmap(16n * GIB));
  const calls = times(attacker.size(20), () => [map(target, 16n * GIB), unmap(target, 16n * GIB)]).flat();
  return () => target.process.calls(calls);
};

/** Bytes of one access of a DMA. */
const ACCESS = 16 << 10;

export const CALLS: readonly Attack[] = [
  {
    name: 'map and unmap 16 GiB, 20 times',
    tries: '5 KB of calls map and unmap 16 GiB in pages of 4 KiB, 20 times in one request.',
    begin: MAP_AND_UNMAP,
  },
  {
    name: 'the same, touched after a restart',
    tries: 'Such calls are in the journal, and the first touch after a restart does them again.',
    restarts: true,
    begin: async (attacker) => {
      const target = await attached(attacker, largeSpec(64n * GIB));
      await target.process.do(mmap(16n * GIB));
      const calls = times(attacker.size(6), () => [map(target, 16n * GIB), unmap(target, 16n * GIB)]).flat();
      await target.process.calls(calls);
      return () => attacker.get(target.process.host);
    },
  },
  {
    name: 'map 60 TiB',
    tries: 'One MAP of 60 TiB.',
    begin: async (attacker) => {
      const { process, ...target } = await attached(attacker, largeSpec(64n * TIB));
      const length = 60n * TIB;
      return () =>
        process.calls([mmap(length), map({ process, ...target }, length), unmap({ process, ...target }, length)]);
    },
  },
  {
    name: 'map 60 TiB through a unit of large pages',
    tries: 'The same where pages may be of 2 MiB and 1 GiB, over memory of huge pages and over that of small ones.',
    begin: async (attacker) => {
      const target = await attached(attacker, {
        memory: hex(64n * TIB),
        iommus: [{ kind: 'intel-vtd' }],
        devices: [{ bdf: '0000:01:00.0', driver: 'vfio-pci' }],
      });
      const length = 30n * TIB;
      const calls = [mmap(length, VA, { huge: '2M' }), map(target, length), unmap(target, length)];
      return async () => {
        await target.process.calls(calls);
        await target.process.calls([mmap(length, VA + length), map(target, length, IOVA, VA + length)]);
      };
    },
  },
  {
    name: 'ALLOW_IOVAS of 16,384 ranges',
    tries: 'IOMMU_IOAS_ALLOW_IOVAS with as many ranges as it may have, and with four times as many, again and again.',
    begin: async (attacker) => {
      const process = await alone(attacker);
      await process.do({ call: 'open', path: '/dev/iommu' }, ioctl(3, 'IOMMU_IOAS_ALLOC'));
      const allow = (count: number): Promise<unknown> => {
        const ranges = manyRanges(attacker.size(count));
        return process.calls([ioctl(3, 'IOMMU_IOAS_ALLOW_IOVAS', { ioas_id: 1, allowed_iovas: ranges })]);
      };
      return async () => {
        await allow(65_536);
        await allow(16_384);
      };
    },
  },
  {
    name: 'ftruncate of 30,000 spans',
    tries: 'A memfd of 30,000 spans is cut in halves and to nothing.',
    begin: async (attacker) => {
      const process = await alone(attacker);
      const [, ...spans] = manySpans(attacker.size(30_000));
      await process.do({ call: 'memfd_create', name: 'spans', flags: 2, size: hex(GIB) });
      const cut = (length: bigint): Call => ({ call: 'ftruncate', fd: 3, length: hex(length) });
      return async () => {
        await process.doMany(spans);
        await process.calls([cut(GIB / 8n), cut(0n), cut(GIB)]);
      };
    },
  },
  {
    name: '10,000 munmaps of 40,000 mappings',
    tries: 'A process of 40,000 mappings unmaps 10,000 of them, one by one in one request.',
    begin: async (attacker) => {
      const process = await alone(attacker);
      const mappings = manyMappings(attacker.size(40_000));
      await process.doMany(mappings);
      const some = mappings.slice(0, MOST_CALLS);
      const munmaps = some.map(({ addr }) => ({ call: 'munmap', addr, length: hex(PAGE) }));
      return async () => {
        await process.calls(munmaps);
        await process.doMany(some);
      };
    },
  },
  {
    name: '10,000 mprotects in one mapping',
    tries: 'A mapping of 1 GiB is cut into 20,000 pieces by mprotect, and made one again.',
    begin: async (attacker) => {
      const process = await alone(attacker);
      await process.do(mmap(GIB));
      const protect = (prot: number): Call[] =>
        times(attacker.size(MOST_CALLS), (index) => ({
          call: 'mprotect',
          addr: hex(VA + BigInt(index) * 2n * PAGE),
          length: hex(PAGE),
          prot,
        }));
      const calls = [protect(1), protect(3)];
      return async () => {
        for (const some of calls) await process.calls(some);
      };
    },
  },
  {
    name: '1,000 faults × 9,000 allocations',
    tries: 'Each allocation of the kernel looks at all armed faults.',
    begin: async (attacker) => {
      const process = await alone(attacker);
      await process.do({ call: 'open', path: '/dev/iommu' });
      const fault = { point: 'allocation', nth: 2 ** 30, errno: 'ENOMEM' };
      const each = attacker.size(100);
      await Promise.all(
        times(10, async () => {
          for (let armed = 0; armed < each && attacker.going; armed++)
            await attacker.post(`${process.host}/faults`, fault);
        }),
      );
      const allocations = times(attacker.size(9000), () => ioctl(3, 'IOMMU_IOAS_ALLOC'));
      return () => process.calls(allocations);
    },
  },
  {
    name: '3,000 access_rw of 1 MiB',
    tries: 'An answer of 4 GiB, were it not counted; then as much as is allowed, again and again.',
    begin: async (attacker) => {
      const process = await alone(attacker);
      const [, , , , access] = await process.do(
        { call: 'open', path: '/dev/iommu' },
        ioctl(3, 'IOMMU_IOAS_ALLOC'),
        mmap(KIB * KIB),
        ioctl(3, 'IOMMU_IOAS_MAP', { flags: 7, ioas_id: 1, user_va: hex(VA), length: hex(KIB * KIB), iova: '0x0' }),
        { call: 'access_create', fd: 3, ioas: 1, pin: true },
      );
      const rw = { call: 'access_rw', fd: 3, access: access!.ret, iova: 0, length: MAX_TRANSFER, write: false };
      const [many, allowed] = [times(3000, () => rw), times(MAX_READ / MAX_TRANSFER, () => rw)];
      return async () => {
        await process.calls(many);
        await Promise.all(times(4, () => process.calls(allowed)));
      };
    },
  },
  {
    name: 'dirty bitmaps of 64 GiB',
    tries: '10,000 times a bitmap of 2 MiB in one answer: 20 GB, were it not counted.',
    begin: async (attacker) => {
      const target = await attached(attacker, largeSpec(80n * GIB, { dirtyTracking: true }));
      const { process, iommufd, device, ioas } = target;
      const [allocated] = await process.do(
        ioctl(iommufd, 'IOMMU_HWPT_ALLOC', { flags: 2, dev_id: device, pt_id: ioas }),
        mmap(64n * GIB),
      );
      const hwpt_id = (allocated!.arg as { out_hwpt_id: number }).out_hwpt_id;
      await process.calls([
        map(target, 64n * GIB),
        ioctl(iommufd, 'IOMMU_HWPT_SET_DIRTY_TRACKING', { flags: 1, hwpt_id }),
      ]);
      const arg = { hwpt_id, flags: 0, iova: hex(IOVA), length: hex(64n * GIB), page_size: hex(PAGE) };
      const calls = (count: number): Call[] => times(count, () => ioctl(iommufd, 'IOMMU_HWPT_GET_DIRTY_BITMAP', arg));
      const [many, some] = [calls(attacker.size(MOST_CALLS)), calls(MAX_READ / (MAX_DIRTY_BITS / 8))];
      return async () => {
        await process.calls(many);
        await process.calls(some);
      };
    },
  },
  {
    name: 'HWPTs of an IOAS of 4 million pages',
    tries: 'Each new HWPT has all that its IOAS has, 16 GiB in pages of 4 KiB: 100 of them in one request.',
    begin: async (attacker) => {
      const target = await attached(attacker, largeSpec(64n * GIB));
      const { process, iommufd, device, ioas, hwpt } = target;
      await process.calls([mmap(16n * GIB), map(target, 16n * GIB)]);
      const calls = times(attacker.size(100), () => [
        ioctl(iommufd, 'IOMMU_HWPT_ALLOC', { dev_id: device, pt_id: ioas }),
        ioctl(iommufd, 'IOMMU_DESTROY', { id: hwpt + 1 }),
      ]).flat();
      return () => process.calls(calls);
    },
  },
  {
    name: 'poll of 1,024 descriptors, 4,000 times',
    tries: 'A body of 64 MiB would hold more: each poll looks at 1,024 eventfds.',
    begin: async (attacker) => {
      const process = await alone(attacker);
      await process.doMany(times(1024, () => ({ call: 'eventfd', initval: 1, flags: 0 })));
      const fds = times(1024, () => ({ fd: 3, events: 1 }));
      const calls = times(attacker.size(250), () => ({ call: 'poll', fds }));
      return () => process.calls(calls);
    },
  },
  {
    name: 'DMA of as much as is allowed',
    tries: 'Accesses of 16 KiB each, as many as a request may have, four requests at a time.',
    begin: async (attacker) => {
      const target = await attached(attacker, largeSpec(GIB));
      await target.process.do(mmap(64n * KIB * KIB), map(target, 64n * KIB * KIB));
      const accesses = times(attacker.size(MAX_DMA_BYTES / ACCESS), (index) => ({
        op: index % 2 === 0 ? 'read' : 'write',
        iova: hex(IOVA + BigInt(index * ACCESS)),
        length: ACCESS,
      }));
      const path = `${target.process.host}/devices/0000:01:00.0/dma`;
      return () => Promise.all(times(4, () => attacker.post(path, { accesses })));
    },
  },
  {
    name: 'rollbacks of 160 bytes',
    tries:
      'A batch of 160 bytes maps 200,000 pages, fails at the last operation and undoes all: the host is built anew.',
    begin: async (attacker) => {
      const target = await attached(attacker, largeSpec(16n * GIB));
      await target.process.do(mmap(PAGE));
      const count = attacker.size(200_000);
      const run = { op: 'map', iova: hex(IOVA), length: 4096, count, userVa: hex(VA), userVaStride: 0 };
      const bad = { op: 'unmap', iova: 1, length: 1, count: 1 };
      return () => attacker.post(batchPath(target), { onError: 'rollback', runs: [run, bad] });
    },
  },
  {
    name: 'rollbacks over a long past',
    tries: 'Each rollback builds the host anew: behind its snapshot lies what took very long.',
    begin: async (attacker) => {
      const target = await attached(attacker, largeSpec(64n * GIB));
      await target.process.do(mmap(16n * GIB));
      await target.process.calls(
        times(attacker.size(4), () => [map(target, 16n * GIB), unmap(target, 16n * GIB)]).flat(),
      );
      const runs = [
        { op: 'map', iova: hex(IOVA), length: 4096, count: 2, userVa: hex(VA) },
        { op: 'unmap', iova: 1, length: 1, count: 1 },
      ];
      return () => attacker.post(batchPath(target), { onError: 'rollback', runs });
    },
  },
  {
    name: 'everything closed at once',
    tries: 'A process of 60,000 descriptors and 20,000 mappings, which is forked, ends; and the host is reset.',
    begin: async (attacker) => {
      const spec = largeSpec(16n * GIB);
      const process = await alone(attacker, spec);
      const opens = times(attacker.size(60_000), () => ({ call: 'open', path: '/dev/null' }));
      return async () => {
        const { pid } = granted(await attacker.post(`${process.host}/processes`, { name: 'full' }), 'a process');
        const path = `${process.host}/processes/${pid}`;
        for (const calls of [opens, manyMappings(attacker.size(20_000))])
          for (let from = 0; from < calls.length && attacker.going; from += MOST_CALLS)
            await attacker.post(`${path}/calls`, { calls: calls.slice(from, from + MOST_CALLS) });
        await attacker.post(`${path}/calls`, { calls: times(20, () => ({ call: 'fork' })) });
        await attacker.request('DELETE', path);
        await attacker.post(`${process.host}/reset`, {});
      };
    },
  },
];
