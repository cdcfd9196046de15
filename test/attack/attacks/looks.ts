/** Questions whose answers are large, or that look at much. */
import type { Attack } from '../attack.ts';
import type { Attacker } from '../attacker.ts';
import {
  alone,
  attached,
  batchPath,
  GIB,
  granted,
  hex,
  IOVA,
  largeSpec,
  map,
  mapPages,
  mmap,
  newProcess,
  PAGE,
  times,
  unmap,
  VA,
} from '../prey.ts';

const AT_A_TIME = 4;

/** A copy of the host is made, and deleted. */
async function copied(attacker: Attacker, host: string): Promise<void> {
  const from = host.slice('/v1/hosts/'.length);
  const { id } = granted(await attacker.post('/v1/hosts', { from }), 'a copy') as { id?: string };
  await attacker.request('DELETE', `/v1/hosts/${id}`);
}

const IMPORT = '/v1/hosts/import';

/** A host is made of a file, and deleted. */
async function filed(attacker: Attacker, file: string): Promise<void> {
  const { id } = granted(await attacker.post(IMPORT, file), 'an import') as { id?: string };
  await attacker.request('DELETE', `/v1/hosts/${id}`);
}

export const LOOKS: readonly Attack[] = [
  {
    name: 'process lists',
    tries: 'A host of 1,000 processes of 63 descriptors each is asked for all of them.',
    begin: async (attacker) => {
      const process = await alone(attacker);
      await process.do(...times(60, () => ({ call: 'open', path: '/dev/null' })));
      await process.calls(times(attacker.size(1000), () => ({ call: 'fork' })));
      return () => Promise.all(times(AT_A_TIME, () => attacker.get(`${process.host}/processes`)));
    },
  },
  {
    name: 'a process of 60,000 descriptors',
    tries: 'It is asked for, four at a time.',
    begin: async (attacker) => {
      const process = await alone(attacker);
      await process.doMany(times(attacker.size(60_000), () => ({ call: 'open', path: '/dev/null' })));
      return () => Promise.all(times(AT_A_TIME, () => attacker.get(process.path)));
    },
  },
  {
    name: 'memory maps of 40,000 mappings',
    tries: 'They are asked for, four at a time.',
    begin: async (attacker) => {
      const process = await alone(attacker);
      await process.doMany(times(attacker.size(40_000), (index) => mmap(PAGE, VA + BigInt(index) * 2n * PAGE)));
      return () => Promise.all(times(AT_A_TIME, () => attacker.get(process.path)));
    },
  },
  {
    name: 'a host of a million mappings, asked',
    tries: 'Its state, whose digest is of all of it, after each change.',
    begin: async (attacker) => {
      const target = await attached(attacker, largeSpec(64n * GIB));
      await target.process.do(mmap(PAGE));
      await mapPages(target, attacker.size(1_000_000));
      return async () => {
        await newProcess(attacker, target.process.host);
        await attacker.get(target.process.host);
      };
    },
  },
  {
    name: 'preflights and copies of hosts of a million mappings',
    tries: 'Each has all of the host in memory once more: of four hosts, four at a time of each.',
    begin: async (attacker) => {
      const targets = await Promise.all(times(4, () => attached(attacker, largeSpec(64n * GIB))));
      for (const target of targets) {
        await target.process.do(mmap(PAGE));
        await mapPages(target, attacker.size(1_000_000));
      }
      return () =>
        Promise.all(
          targets.flatMap(({ process: { host } }) => [
            attacker.get(`${host}/preflight`),
            attacker.get(`${host}/preflight?mode=plain`),
            copied(attacker, host),
            copied(attacker, host),
          ]),
        );
    },
  },
  {
    name: 'histories, differences and sweeps',
    tries: 'Of four hosts of 500 processes and 500,000 mappings, whose commands have to be done again for each.',
    begin: async (attacker) => {
      const targets = await Promise.all(times(4, () => attached(attacker, largeSpec(64n * GIB))));
      for (const target of targets) {
        await target.process.do(mmap(PAGE), ...times(50, () => ({ call: 'open', path: '/dev/null' })));
        await target.process.calls(times(attacker.size(500), () => ({ call: 'fork' })));
        await mapPages(target, attacker.size(500_000));
      }
      return () =>
        Promise.all(
          targets.flatMap(({ process: { host } }) => [
            attacker.get(`${host}/history?answers=true`),
            attacker.get(`${host}/diff?from=0`),
            attacker.get(`${host}/diff?from=0`),
            attacker.post(`${host}/sweep`, { requests: times(20, () => ({ method: 'POST', path: '/processes' })) }),
          ]),
        );
    },
  },
  {
    name: 'files of hosts',
    tries: 'Of a host of 500,000 mappings, saved and read again, and what is as large and no file.',
    begin: async (attacker) => {
      const target = await attached(attacker, largeSpec(64n * GIB));
      await target.process.do(mmap(PAGE));
      await mapPages(target, attacker.size(500_000));
      const { host } = target.process;
      const junk = `[${'{},'.repeat(attacker.size(10_000_000))}{}]`;
      return async () => {
        const file = await attacker.get(`${host}/export`);
        await Promise.all([filed(attacker, file.text), filed(attacker, file.text), attacker.post(IMPORT, junk)]);
      };
    },
  },
  {
    name: 'a large host brought back again and again',
    tries: 'Two hosts of a million mappings go back to a named snapshot, four requests at a time of each.',
    begin: async (attacker) => {
      const targets = await Promise.all(times(2, () => attached(attacker, largeSpec(64n * GIB))));
      for (const target of targets) {
        await target.process.do(mmap(PAGE));
        await mapPages(target, attacker.size(1_000_000));
        await attacker.request('PUT', `${target.process.host}/snapshots/ready`);
      }
      return () =>
        Promise.all(
          targets.flatMap(({ process: { host } }) =>
            times(AT_A_TIME, () => attacker.post(`${host}/snapshots/ready/restore`, {})),
          ),
        );
    },
  },
  {
    name: 'an engine over 4 GiB in single pages',
    tries: 'Its pages go and come, all of them and every second one, and are moved.',
    begin: async (attacker) => {
      const target = await attached(attacker, largeSpec(64n * GIB));
      await target.process.calls([mmap(4n * GIB), map(target, 4n * GIB)]);
      const device = `${target.process.host}/devices/0000:01:00.0`;
      await attacker.post(`${device}/engines`, { ranges: [{ iova: hex(IOVA), length: hex(4n * GIB) }] });
      const every = { op: 'map', iova: hex(IOVA), stride: hex(2n * PAGE), length: hex(PAGE), userVa: hex(VA) };
      return async () => {
        await target.process.calls([unmap(target, 4n * GIB)]);
        await attacker.post(batchPath(target), { runs: [{ ...every, count: attacker.size(500_000) }] });
        await attacker.get(`${device}/engines/1`);
        await target.process.calls([unmap(target, 4n * GIB), map(target, 4n * GIB)]);
      };
    },
  },
  {
    name: 'engines over pages that lead all over memory',
    tries:
      'Each page leads to a frame of its own; engines start and end, pages come and go, and what was written is read.',
    begin: async (attacker) => {
      const target = await attached(attacker, largeSpec(64n * GIB));
      const { process } = target;
      const count = attacker.size(1_000_000);
      await process.do(mmap(8n * GIB));
      const run = {
        op: 'map',
        iova: hex(IOVA),
        length: 4096,
        count,
        stride: 4096,
        userVa: hex(VA),
        userVaStride: 8192,
      };
      granted(await attacker.post(batchPath(target), { runs: [run] }), 'scattered pages');
      const engines = `${process.host}/devices/0000:01:00.0/engines`;
      const ranges = [{ iova: hex(IOVA), length: hex(4096n * BigInt(count)) }];
      const peek = { call: 'peek', addr: hex(VA), length: 65_536 };
      return async () => {
        const { id } = granted(
          await attacker.post(engines, { ranges, bytesPerSecond: String(2 ** 45) }),
          'an engine',
        ) as {
          id?: number;
        };
        for (let time = 0; time < 8; time++)
          await process.calls([unmap(target, PAGE), map(target, PAGE), ...times(16, () => peek)]);
        await attacker.request('DELETE', `${engines}/${id}`);
      };
    },
  },
  {
    name: 'translations of 16 GiB',
    tries: 'What a device sees in 16 GiB of pages of 4 KiB, and the domains and mappings of them.',
    begin: async (attacker) => {
      const target = await attached(attacker, largeSpec(64n * GIB));
      await target.process.calls([mmap(16n * GIB), map(target, 16n * GIB)]);
      const { host, path } = target.process;
      const from = `iova=${hex(IOVA)}&length=${hex(16n * GIB)}`;
      return () =>
        Promise.all([
          attacker.get(`${host}/devices/0000:01:00.0/translation?${from}`),
          attacker.get(`${host}/domains`),
          attacker.get(`${path}/iommufds/${target.iommufd}`),
          attacker.get(`${path}/iommufds/${target.iommufd}/ioases/${target.ioas}/mappings`),
        ]);
    },
  },
];
