/** Hosts as a whole: made, deleted, evicted, updated, loaded again. */
import type { Attack } from '../attack.ts';
import {
  type Attached,
  alone,
  attach,
  attached,
  GIB,
  granted,
  hex,
  IOVA,
  ioctl,
  largeSpec,
  mapPages,
  mmap,
  newHost,
  newProcess,
  PAGE,
  times,
} from '../prey.ts';

/** A VMM whose memory, 4 GiB in a memfd, is mapped and preserved. */
async function prepared(target: Attached): Promise<void> {
  const { process, iommufd, cdev, device, ioas } = target;
  const length = hex(4n * GIB);
  const [memfd, luo] = await process.do(
    { call: 'memfd_create', name: 'ram', flags: 2, size: length },
    { call: 'open', path: '/dev/liveupdate' },
  );
  const fd = memfd!.ret as number;
  const [, , allocated, session] = await process.do(
    { call: 'add_seals', fd, seals: 7 },
    ioctl(iommufd, 'IOMMU_IOAS_MAP_FILE', { flags: 7, ioas_id: ioas, fd, start: 0, length, iova: hex(IOVA) }),
    ioctl(iommufd, 'IOMMU_HWPT_ALLOC', { dev_id: device, pt_id: ioas }),
    ioctl(luo!.ret as number, 'LIVEUPDATE_IOCTL_CREATE_SESSION', { name: 'vm' }),
  );
  const hwpt = (allocated!.arg as { out_hwpt_id: number }).out_hwpt_id;
  const sessionFd = (session!.arg as { fd: number }).fd;
  const preserve = (fd: number, token: number) => ioctl(sessionFd, 'LIVEUPDATE_SESSION_PRESERVE_FD', { fd, token });
  await process.do(
    ioctl(cdev, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { pt_id: hwpt }),
    preserve(fd, 1),
    ioctl(iommufd, 'IOMMU_HWPT_LU_SET_PRESERVE', { hwpt_id: hwpt, token: 7 }),
    preserve(iommufd, 2),
    preserve(cdev, 3),
  );
}

export const HOSTS: readonly Attack[] = [
  {
    name: 'hosts made and deleted',
    tries: 'Sixteen at a time.',
    begin: async (attacker) => () =>
      attacker.loops(16, async () => {
        const host = await newHost(attacker);
        await attacker.request('DELETE', host);
      }),
  },
  {
    name: 'hosts without end',
    tries: 'They are made, used once and kept, sixteen at a time.',
    begin: async (attacker) => () =>
      attacker.loops(16, async () => {
        const { status, text } = await attacker.post('/v1/hosts', { preset: 'alder-lake' });
        if (status !== 201) return;
        await attacker.post(`/v1/hosts/${JSON.parse(text).id}/processes`, { name: 'x' });
      }),
  },
  {
    name: 'lists of hosts',
    tries: 'A tenant of 500 hosts lists them, sixteen at a time.',
    begin: async (attacker) => {
      const count = attacker.size(500);
      for (let made = 0; made < count && attacker.going; made += 10)
        await Promise.all(times(10, () => attacker.post('/v1/hosts', { preset: 'mock' })));
      return () => attacker.loops(16, () => attacker.get('/v1/hosts?limit=1000'));
    },
  },
  {
    name: 'live updates in a loop',
    tries: 'A VMM of 4 GiB in pages of 4 KiB is prepared and updated, and the host is reset.',
    begin: async (attacker) => {
      const host = await newHost(attacker, {
        memory: hex(16n * GIB),
        iommus: [{ kind: 'intel-vtd', pageSizes: [hex(PAGE)] }],
        devices: [{ bdf: '0000:01:00.0', driver: 'vfio-pci' }],
      });
      return async () => {
        await attacker.request('PUT', `${host}/devices/0000:01:00.0/driver`, { body: { driver: 'vfio-pci' } });
        await prepared(await attach(await newProcess(attacker, host)));
        await attacker.post(`${host}/kexec`, { mode: 'live-update' });
        await attacker.post(`${host}/reset`, {});
      };
    },
  },
  {
    name: 'crashes and resets of a full host',
    tries: 'A host of a million mappings crashes and is reset.',
    begin: async (attacker) => {
      const spec = largeSpec(64n * GIB);
      return async () => {
        const target = await attached(attacker, spec);
        await target.process.do(mmap(PAGE));
        await mapPages(target, attacker.size(1_000_000));
        await attacker.post(`${target.process.host}/crash`, {});
        await attacker.post(`${target.process.host}/reset`, {});
        await attacker.request('DELETE', target.process.host);
      };
    },
  },
  {
    name: 'a flood of small commands',
    tries: 'As many `calls` of one call as 64 connections can send, to eight hosts.',
    begin: async (attacker) => {
      const processes = await Promise.all(times(8, () => alone(attacker)));
      return () => attacker.loops(64, (loop) => processes[loop % 8]!.calls([{ call: 'fork' }]));
    },
  },
  {
    name: 'drivers bound and unbound',
    tries: 'Each function of a machine of 4,096 is bound to vfio-pci and back, sixteen at a time.',
    begin: async (attacker) => {
      const bdfs = times(attacker.size(4096), (index) => {
        const digits = (value: number): string => value.toString(16).padStart(2, '0');
        return `0000:${digits(index >> 8)}:${digits((index >> 3) & 31)}.${index & 7}`;
      });
      const answer = await attacker.post('/v1/hosts', { devices: bdfs.map((bdf) => ({ bdf, group: 0 })) });
      const host = `/v1/hosts/${granted(answer, 'a host').id}`;
      let turn = 0;
      return () =>
        attacker.loops(16, async () => {
          const path = `${host}/devices/${bdfs[turn++ % bdfs.length]}/driver`;
          await attacker.request('PUT', path, { body: { driver: 'vfio-pci' } });
          await attacker.request('DELETE', path);
          await attacker.get(`${host}/devices`);
        });
    },
  },
];
