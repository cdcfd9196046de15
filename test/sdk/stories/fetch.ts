/** A live update, driven by the client of openapi-typescript and openapi-fetch. */
import createClient from 'openapi-fetch';
import type { components, paths } from './openapi.d.ts';
import { DEVICE, done, granted, HELLO, holds, IOVA, READ, SIZE } from './story.js';

type Call = components['schemas']['Call'];
type HostEvent = components['schemas']['HostEvent'];

export async function story(baseUrl: string, key: string): Promise<void> {
  const client = createClient<paths>({ baseUrl, headers: { authorization: `Bearer ${key}` } });
  const { id: host } = granted(await client.POST('/v1/hosts', { body: { name: 'lab', preset: 'vmm-lab' } }));
  const inHost = { path: { host } };
  const inDevice = { path: { host, bdf: DEVICE } };
  const startProcess = async () =>
    granted(await client.POST('/v1/hosts/{host}/processes', { params: inHost, body: { name: 'vmm' } })).pid;
  const dma = async () => {
    const body = { accesses: [READ] };
    const { results } = granted(await client.POST('/v1/hosts/{host}/devices/{bdf}/dma', { params: inDevice, body }));
    const [result] = results;
    holds(result?.ok === true && result.data === HELLO, 'the device reads hello');
  };

  const pid = await startProcess();
  const inProcess = { path: { host, pid } };
  const memfd = granted(
    await client.POST('/v1/hosts/{host}/processes/{pid}/memfds', {
      params: inProcess,
      body: { name: 'ram', size: SIZE, flags: ['MFD_ALLOW_SEALING'] },
    }),
  ).fd;
  const inMemfd = { path: { host, pid, fd: memfd } };
  granted(
    await client.PUT('/v1/hosts/{host}/processes/{pid}/memfds/{fd}/data', {
      params: { ...inMemfd, query: { offset: '0' } },
      body: { data: HELLO },
    }),
  );
  done(
    await client.POST('/v1/hosts/{host}/processes/{pid}/memfds/{fd}/seals', {
      params: inMemfd,
      body: { seals: ['F_SEAL_SEAL', 'F_SEAL_SHRINK', 'F_SEAL_GROW'] },
    }),
  );
  const iommufd = granted(await client.POST('/v1/hosts/{host}/processes/{pid}/iommufds', { params: inProcess })).fd;
  const inIommufd = { path: { host, pid, fd: iommufd } };
  const device = granted(await client.GET('/v1/hosts/{host}/devices/{bdf}', { params: inDevice }));
  holds(device.cdev !== null, 'the device has a cdev');
  const cdev = granted(
    await client.POST('/v1/hosts/{host}/processes/{pid}/cdevs', { params: inProcess, body: { path: device.cdev } }),
  ).fd;
  const inCdev = { path: { host, pid, fd: cdev } };
  const bound = granted(
    await client.PUT('/v1/hosts/{host}/processes/{pid}/cdevs/{fd}/iommufd', { params: inCdev, body: { iommufd } }),
  );
  const { ioas } = granted(
    await client.POST('/v1/hosts/{host}/processes/{pid}/iommufds/{fd}/ioases', { params: inIommufd }),
  );
  granted(
    await client.POST('/v1/hosts/{host}/processes/{pid}/iommufds/{fd}/ioases/{ioas}/file-mappings', {
      params: { path: { ...inIommufd.path, ioas } },
      body: { fd: memfd, start: 0, length: SIZE, iova: IOVA },
    }),
  );
  const { hwpt } = granted(
    await client.POST('/v1/hosts/{host}/processes/{pid}/iommufds/{fd}/hwpts', {
      params: inIommufd,
      body: { device: bound.device, pageTable: ioas },
    }),
  );
  granted(
    await client.PUT('/v1/hosts/{host}/processes/{pid}/cdevs/{fd}/attachment', {
      params: inCdev,
      body: { pageTable: hwpt },
    }),
  );
  await dma();

  const liveupdate = granted(
    await client.POST('/v1/hosts/{host}/processes/{pid}/liveupdates', { params: inProcess }),
  ).fd;
  const session = granted(
    await client.POST('/v1/hosts/{host}/processes/{pid}/liveupdates/{fd}/sessions', {
      params: { path: { host, pid, fd: liveupdate } },
      body: { name: 'vm1' },
    }),
  ).fd;
  done(
    await client.PUT('/v1/hosts/{host}/processes/{pid}/iommufds/{fd}/hwpts/{hwpt}/token', {
      params: { path: { ...inIommufd.path, hwpt } },
      body: { token: 7 },
    }),
  );
  for (const [token, fd] of [memfd, iommufd, cdev].entries())
    granted(
      await client.POST('/v1/hosts/{host}/processes/{pid}/sessions/{fd}/files', {
        params: { path: { host, pid, fd: session } },
        body: { fd, token },
      }),
    );
  const { refusal, hazards } = granted(await client.GET('/v1/hosts/{host}/preflight', { params: inHost }));
  holds(refusal === null && hazards.length === 0, 'nothing is missing before the kexec');
  const { kernel, handedOver } = granted(
    await client.POST('/v1/hosts/{host}/kexec', { params: inHost, body: { mode: 'live-update' } }),
  );
  const kept = handedOver.devices.find(({ bdf }) => bdf === DEVICE);
  holds(kernel === 2 && kept?.fate === 'kept' && kept.state === 'L', 'the device was kept, in luo mode');
  await dma();

  const bind = async (driver: string) =>
    await client.PUT('/v1/hosts/{host}/devices/{bdf}/driver', { params: inDevice, body: { driver } });
  const { error } = await bind('nvme');
  holds(error?.errno === 'EBUSY' && error.type === '/problems/kernel-conflict', 'another driver is refused');
  granted(await bind('vfio-pci'));
  const next = await startProcess();
  const again = granted(
    await client.POST('/v1/hosts/{host}/processes/{pid}/liveupdates', { params: { path: { host, pid: next } } }),
  ).fd;
  const incoming = granted(
    await client.POST('/v1/hosts/{host}/processes/{pid}/liveupdates/{fd}/retrievals', {
      params: { path: { host, pid: next, fd: again } },
      body: { name: 'vm1' },
    }),
  ).fd;
  const retrieve = async (token: string) =>
    granted(
      await client.POST('/v1/hosts/{host}/processes/{pid}/sessions/{fd}/files/{token}/retrieve', {
        params: { path: { host, pid: next, fd: incoming, token } },
      }),
    ).fd;
  const [memory, context, adopted] = [await retrieve('0'), await retrieve('1'), await retrieve('2')];
  const inContext = { path: { host, pid: next, fd: context } };
  const inAdopted = { path: { host, pid: next, fd: adopted } };
  const own = granted(
    await client.PUT('/v1/hosts/{host}/processes/{pid}/cdevs/{fd}/iommufd', {
      params: inAdopted,
      body: { iommufd: context },
    }),
  );
  done(
    await client.POST('/v1/hosts/{host}/processes/{pid}/sessions/{fd}/finish', {
      params: { path: { host, pid: next, fd: incoming } },
    }),
  );
  const restored = granted(
    await client.GET('/v1/hosts/{host}/processes/{pid}/iommufds/{fd}/restored-hwpts/{token}', {
      params: { path: { ...inContext.path, token: '7' } },
    }),
  ).hwpt;
  const space = granted(
    await client.POST('/v1/hosts/{host}/processes/{pid}/iommufds/{fd}/ioases', { params: inContext }),
  ).ioas;
  const batch = granted(
    await client.POST('/v1/hosts/{host}/processes/{pid}/iommufds/{fd}/ioases/{ioas}/batch', {
      params: { path: { ...inContext.path, ioas: space } },
      body: { operations: [{ op: 'map-file', fd: memory, start: 0, length: SIZE, iova: IOVA }] },
    }),
  );
  holds(batch.applied === 1, 'the memory is mapped anew');
  const fresh = granted(
    await client.POST('/v1/hosts/{host}/processes/{pid}/iommufds/{fd}/hwpts', {
      params: inContext,
      body: { device: own.device, pageTable: space },
    }),
  ).hwpt;
  granted(
    await client.PUT('/v1/hosts/{host}/processes/{pid}/cdevs/{fd}/attachment', {
      params: inAdopted,
      body: { pageTable: fresh },
    }),
  );
  done(
    await client.DELETE('/v1/hosts/{host}/processes/{pid}/iommufds/{fd}/hwpts/{hwpt}', {
      params: { path: { ...inContext.path, hwpt: restored } },
    }),
  );
  await dma();
  const { state } = granted(await client.GET('/v1/hosts/{host}/devices/{bdf}', { params: inDevice }));
  holds(state === 'S', 'the device was swapped to the new page table');

  const calls: Call[] = [
    { call: 'open', path: '/dev/iommu' },
    { call: 'ioctl', fd: 0, request: 'IOMMU_IOAS_ALLOC', arg: { flags: 0 } },
    // @ts-expect-error The name of the request is mistyped.
    { call: 'ioctl', fd: 0, request: 'IOMMU_IOAS_ALOC', arg: { flags: 0 } },
  ];
  const run = async (...some: Call[]) =>
    granted(
      await client.POST('/v1/hosts/{host}/processes/{pid}/calls', {
        params: { path: { host, pid: next } },
        body: { calls: some },
      }),
    ).results;
  const [opened] = await run({ call: 'open', path: '/dev/iommu' });
  holds(opened !== undefined && typeof opened.ret === 'number' && !('errno' in opened), 'an iommufd is open');
  const fd = opened.ret;
  const [made, unknown] = await run(
    { call: 'ioctl', fd, request: 'IOMMU_IOAS_ALLOC', arg: { flags: 0 } },
    { call: 'raw_ioctl', fd, request: '0x3bf0' },
  );
  holds(made?.arg?.out_ioas_id === 1, 'the result of an ioctl has its fields');
  holds(unknown !== undefined && 'errno' in unknown && unknown.errno === 'ENOTTY', 'an unknown request is ENOTTY');
  holds(calls.length === 3, 'there are calls that are not sent');

  const events: HostEvent[] = [];
  for (let after: string | null | undefined; after !== null; ) {
    const query = { limit: 10, ...(after !== undefined && { after }) };
    const page = granted(await client.GET('/v1/hosts/{host}/events', { params: { ...inHost, query } }));
    holds(typeof page !== 'string', 'the page is JSON');
    events.push(...page.items);
    after = page.nextPageToken;
  }
  const swapped = events.find((event) => event.kind === 'restore.swapped');
  holds(swapped?.data.bdf === DEVICE, 'the log tells of the swap');
  for (const event of events)
    if (event.kind === 'hazard') throw new Error(`${event.data.hazard} was raised: ${event.message}`);
  done(await client.DELETE('/v1/hosts/{host}', { params: inHost }));
}
