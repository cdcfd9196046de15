/** What becomes large by small requests, and stays. */
import type { Attack } from '../attack.ts';
import type { Attacker } from '../attacker.ts';
import {
  alone,
  attached,
  type Call,
  GIB,
  hex,
  ioctl,
  KIB,
  largeSpec,
  MOST_CALLS,
  map,
  mapPages,
  mmap,
  newHost,
  newProcess,
  PAGE,
  type Process,
  TIB,
  times,
  VA,
} from '../prey.ts';

const sparse = (size: bigint): Call => ({ call: 'memfd_create', name: 'sparse', flags: 2, size: hex(size) });
const privately = (length: bigint, fd = 3): Call => mmap(length, VA, { fd, offset: 0, shared: false });

/** Rounds of calls that a process makes again and again, each in a new host once the old one takes no more. */
function untilRefused(spec: unknown, prepare: readonly Call[], round: (turn: number) => Call[]): Attack['begin'] {
  return async (attacker: Attacker) => {
    let process: Process | undefined;
    let turn = 0;
    return async () => {
      if (process === undefined) {
        process = await alone(attacker, spec);
        await process.do(...prepare);
        turn = 0;
      }
      const { status } = await process.calls(round(turn++));
      if (status !== 200) process = undefined;
    };
  };
}

export const GROWTH: readonly Attack[] = [
  {
    name: 'private mmap of 2 GiB that are not there, twice',
    tries: 'Two private mappings of a sparse memfd of 2 GiB, each in a host of its own.',
    begin: async (attacker) => async () => {
      const process = await alone(attacker, { memory: hex(64n * GIB) });
      await process.calls([sparse(2n * GIB), privately(2n * GIB)]);
      await attacker.request('DELETE', process.host);
    },
  },
  {
    name: 'private mmap of 4 TiB, polled',
    tries: 'What may end a lane, and then everybody asks for that host again.',
    begin: async (attacker) => {
      const process = await alone(attacker, { memory: hex(64n * TIB) });
      await process.calls([sparse(4n * TIB), privately(4n * TIB)]);
      return () => attacker.get(process.host);
    },
  },
  {
    name: '600,000 writes of one byte',
    tries: 'Each in a page of its own of a memfd: 33 MiB of requests, pages of 2.4 GiB.',
    begin: untilRefused({ memory: hex(64n * GIB) }, [sparse(16n * GIB)], (turn) =>
      times(MOST_CALLS, (index) => ({
        call: 'pwrite',
        fd: 3,
        offset: hex(BigInt(turn * MOST_CALLS + index) * PAGE),
        data: 'AQ==',
      })),
    ),
  },
  {
    name: 'pokes into pages of a large mapping',
    tries: 'Four bytes in each page of 16 GiB of anonymous memory.',
    begin: untilRefused({ memory: hex(64n * GIB) }, [mmap(16n * GIB)], (turn) =>
      times(MOST_CALLS, (index) => ({
        call: 'poke',
        addr: hex(VA + BigInt(turn * MOST_CALLS + index) * PAGE),
        data: 'AQIDBA==',
      })),
    ),
  },
  {
    name: 'whole pages that cannot be compressed',
    tries: 'Bodies of 1 MiB of random bytes into memory, one behind the other.',
    begin: async (attacker) => {
      const process = await alone(attacker, { memory: hex(64n * GIB) });
      await process.do(mmap(16n * GIB));
      const noise = Buffer.alloc(512 << 10);
      for (let at = 0; at < noise.length; at += 4) noise.writeUInt32LE((at * 2_654_435_761) >>> 0, at);
      const data = noise.toString('base64');
      let at = VA;
      return () => {
        const calls = times(2, () => {
          const call = { call: 'poke', addr: hex(at), data };
          at += BigInt(noise.length);
          return call;
        });
        return process.calls(calls);
      };
    },
  },
  {
    name: 'batches of 16 million mappings',
    tries: '160 bytes map 16,000,000 pages, in one host after the other.',
    begin: async (attacker) => async () => {
      const target = await attached(attacker, largeSpec(64n * GIB));
      await target.process.do(mmap(PAGE));
      await mapPages(target, attacker.size(16_000_000));
    },
  },
  {
    name: 'IOASes of 16 GiB in pages, again and again',
    tries: 'Page tables of 32 MiB each, as many as the host has memory for.',
    begin: async (attacker) => {
      const target = await attached(attacker, largeSpec(64n * GIB));
      const { process, iommufd, device, ioas } = target;
      await process.calls([mmap(16n * GIB), map(target, 16n * GIB)]);
      return () => process.calls([ioctl(iommufd, 'IOMMU_HWPT_ALLOC', { dev_id: device, pt_id: ioas })]);
    },
  },
  {
    name: 'forks of 40,000 mappings',
    tries: 'One request forks a process of 40,000 mappings 10,000 times: 400,000,000 of them.',
    begin: async (attacker) => {
      const process = await alone(attacker, { memory: hex(64n * GIB) });
      const mappings = times(attacker.size(40_000), (index) => mmap(PAGE, VA + BigInt(index) * 2n * PAGE));
      await process.doMany(mappings);
      const forks = times(attacker.size(MOST_CALLS), () => ({ call: 'fork' }));
      return () => process.calls(forks);
    },
  },
  {
    name: 'forks of 60,000 descriptors',
    tries: 'The same with 60,000 descriptors.',
    begin: async (attacker) => {
      const process = await alone(attacker);
      await process.doMany(times(attacker.size(60_000), () => ({ call: 'open', path: '/dev/null' })));
      const forks = times(attacker.size(MOST_CALLS), () => ({ call: 'fork' }));
      return () => process.calls(forks);
    },
  },
  {
    name: 'forks of written memory',
    tries: 'A process with 64 MiB of contents is forked 1,000 times.',
    begin: async (attacker) => {
      const process = await alone(attacker, { memory: hex(64n * TIB) });
      await process.do(mmap(64n * KIB * KIB));
      const data = Buffer.alloc(1 << 20, 7).toString('base64');
      for (let piece = 0; piece < 64 && attacker.going; piece += 1)
        await process.do({ call: 'poke', addr: hex(VA + BigInt(piece << 20)), data });
      const forks = times(attacker.size(1000), () => ({ call: 'fork' }));
      return () => process.calls(forks);
    },
  },
  {
    name: 'objects without end',
    tries: 'IOASes, eventfds, processes and armed faults, 10,000 a request.',
    begin: async (attacker) => {
      const process = await alone(attacker);
      await process.do({ call: 'open', path: '/dev/iommu' });
      const kinds: Call[] = [
        ioctl(3, 'IOMMU_IOAS_ALLOC'),
        { call: 'eventfd', initval: 0, flags: 0 },
        { call: 'fork', name: 'x'.repeat(200) },
        { call: 'memfd_create', name: 'x'.repeat(200), flags: 0, size: 0 },
      ];
      const bodies = kinds.map((call) => Buffer.from(JSON.stringify({ calls: times(MOST_CALLS, () => call) })));
      return async () => {
        for (const body of bodies) await attacker.post(`${process.path}/calls`, body);
      };
    },
  },
  {
    name: 'events without end',
    tries: 'Each refused access of a DMA is an event: 1,000 a request, four at a time.',
    begin: async (attacker) => {
      const { process } = await attached(attacker);
      const accesses = times(attacker.size(1000), (index) => ({ op: 'read', iova: hex(index * 4096), length: 4 }));
      const path = `${process.host}/devices/0000:01:00.0/dma`;
      return () => Promise.all(times(4, () => attacker.post(path, { accesses })));
    },
  },
  {
    name: 'many middling hosts at once',
    tries: 'Hosts of 500,000 mappings each, all asked in turn: each leaves memory for the next.',
    begin: async (attacker) => {
      const hosts: string[] = [];
      const make = async (): Promise<void> => {
        const target = await attached(attacker, largeSpec(64n * GIB));
        await target.process.do(mmap(PAGE));
        await mapPages(target, attacker.size(500_000));
        hosts.push(target.process.path);
      };
      for (let made = 0; made < 20 && attacker.going; made++) await make();
      return async () => {
        for (const path of hosts)
          if (attacker.going) await attacker.post(`${path}/calls`, { calls: [{ call: 'fork' }] });
      };
    },
  },
  {
    name: '4,096 functions, host after host',
    tries: 'The largest machines there can be, one after the other.',
    begin: async (attacker) => {
      const devices = times(attacker.size(4096), (index) => ({
        bdf: `0000:${hex(index >> 8)
          .slice(2)
          .padStart(2, '0')}:${hex((index >> 3) & 31)
          .slice(2)
          .padStart(2, '0')}.${index & 7}`,
        driver: 'vfio-pci',
      }));
      const body = Buffer.from(JSON.stringify({ devices }));
      return async () => {
        const host = await newHost(attacker, body);
        await newProcess(attacker, host);
      };
    },
  },
];
