/** Every row of the tables of requests and calls is answered by something, and nothing else is. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import type { Handlers, OpenFile } from '../../../src/kernel/file.ts';
import { IommufdContext } from '../../../src/kernel/iommufd/context.ts';
import { LiveUpdateFile, SessionFile } from '../../../src/kernel/liveupdate/files.ts';
import { CALLS } from '../../../src/kernel/uapi/calls.ts';
import { REQUESTS, type RequestKind, type RequestTable } from '../../../src/kernel/uapi/index.ts';
import { VfioDeviceFile } from '../../../src/kernel/vfio/device-file.ts';
import { VfioGroupFile } from '../../../src/kernel/vfio/group-file.ts';
import { useApp } from '../../support/app.ts';
import { D1, D2, type Host } from '../../support/client.ts';
import type { Process } from '../../support/process.ts';

const app = useApp();

const FILES: Record<RequestKind, { prototype: OpenFile }> = {
  iommufd: IommufdContext,
  'vfio-cdev': VfioDeviceFile,
  'vfio-group': VfioGroupFile,
  liveupdate: LiveUpdateFile,
  session: SessionFile,
};
const KINDS = Object.keys(FILES) as RequestKind[];

const namesOf = (kind: RequestKind): string[] =>
  [...REQUESTS.values()].filter((request) => request.kind === kind).map(({ name }) => name);

/** Checked by tsc: what follows a @ts-expect-error has to be an error. */
test('a map of handlers that lacks a request does not compile', () => {
  type Of<Kind extends RequestKind> = Handlers<Kind, never>;
  const iommufd = {} as Omit<Of<'iommufd'>, 'IOMMU_IOAS_MAP'>;
  const cdev = {} as Omit<Of<'vfio-cdev'>, 'VFIO_DEVICE_DETACH_IOMMUFD_PT'>;
  const group = {} as Omit<Of<'vfio-group'>, 'VFIO_GROUP_GET_STATUS'>;
  const liveupdate = {} as Omit<Of<'liveupdate'>, 'LIVEUPDATE_IOCTL_CREATE_SESSION'>;
  const session = {} as Omit<Of<'session'>, 'LIVEUPDATE_SESSION_FINISH'>;
  // @ts-expect-error: IOMMU_IOAS_MAP has no handler
  iommufd satisfies Of<'iommufd'>;
  // @ts-expect-error: VFIO_DEVICE_DETACH_IOMMUFD_PT has no handler
  cdev satisfies Of<'vfio-cdev'>;
  // @ts-expect-error: VFIO_GROUP_GET_STATUS has no handler
  group satisfies Of<'vfio-group'>;
  // @ts-expect-error: LIVEUPDATE_IOCTL_CREATE_SESSION has no handler
  liveupdate satisfies Of<'liveupdate'>;
  // @ts-expect-error: LIVEUPDATE_SESSION_FINISH has no handler
  session satisfies Of<'session'>;
});

test('a row that does not say how far it is supported, or why not, does not compile', () => {
  const row = { number: 1, minSize: 0, size: 0, sizeField: 'size', tail: 'zero', fields: {}, about: '' } as const;
  // @ts-expect-error: whether it is supported is not said
  ({ IOMMU_NEW: row }) satisfies RequestTable;
  // @ts-expect-error: what is different is not said
  ({ IOMMU_NEW: { ...row, support: 'part' } }) satisfies RequestTable;
  ({ IOMMU_NEW: { ...row, support: 'part', note: 'Never.' } }) satisfies RequestTable;
});

test('every kind of file answers the requests of its table, and no other', () => {
  for (const kind of KINDS) assert.deepEqual(Object.keys(FILES[kind].prototype.handlers).sort(), namesOf(kind).sort());
  assert.equal(KINDS.flatMap(namesOf).length, REQUESTS.size, 'every request is one of some kind of file');
});

describe('by the API', () => {
  let host: Host;
  let process: Process;
  let ioas: number;
  let fds: Record<RequestKind, number>;

  before(async () => {
    await app.start();
    host = await app.host();
    process = await host.process();
    const iommufd = await process.open('/dev/iommu');
    const cdev = await process.openCdev(D1);
    await process.bind(cdev, iommufd);
    ioas = await process.allocIoas(iommufd);
    await process.attach(cdev, ioas);
    const { group } = await host.device(D2);
    const liveupdate = await process.open('/dev/liveupdate');
    const session = await process.createSession(liveupdate, 'one');
    fds = { iommufd, 'vfio-cdev': cdev, 'vfio-group': await process.open(`/dev/vfio/${group}`), liveupdate, session };
  });

  const ask = async (kind: RequestKind, request: string) =>
    (await host.runCalls(process.pid, [{ call: 'ioctl', fd: fds[kind], request, arg: {} }]))[0]!;

  test('an empty struct is answered by each of them, and only a detach detaches', async () => {
    for (const kind of KINDS)
      for (const name of namesOf(kind)) {
        const { ret, errno } = await ask(kind, name);
        assert.ok(ret !== -1 || errno !== undefined, name);
        const { domain } = await host.device(D1);
        assert.equal(domain.kind, name === 'VFIO_DEVICE_DETACH_IOMMUFD_PT' ? 'blocked' : 'paging', name);
        if (domain.kind === 'blocked') await process.attach(fds['vfio-cdev'], ioas);
      }
  });

  test('every system call is answered with descriptors that are not there', async () => {
    for (const [name, { parameters }] of CALLS) {
      const given = Object.entries(parameters).filter(([, { optional }]) => !optional);
      const call = { call: name, ...Object.fromEntries(given.map(([field, { type }]) => [field, EMPTY[type]])) };
      const [result] = await host.runCalls(process.pid, [call]);
      assert.ok(result!.ret !== -1 || result!.errno !== undefined, name);
    }
  });
});

const EMPTY = { int: 99, u64: 0, bytes: '', string: '', boolean: false, responses: [], polls: [] };
