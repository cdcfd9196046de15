/** S26 and S34 once more, through REST resources alone: not one request to `…/calls`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { useApp } from '../support/app.ts';
import { D1, type Host, MIB } from '../support/client.ts';
import { DmaWatch } from '../support/dma-watch.ts';
import { expectErrno } from '../support/kernel-error.ts';
import { ALLOW_SEALING, SIZE_SEALS } from '../support/process.ts';
import { IOVA, RAM, TEXT, TOKEN } from '../support/setups.ts';

const app = useApp();
const base64 = (text: string): string => Buffer.from(text).toString('base64');

type Body = Record<string, unknown>;

/** The resources of one process. */
class Resources {
  readonly #host: Host;
  readonly #path: string;

  constructor(host: Host, pid: number) {
    this.#host = host;
    this.#path = `/processes/${pid}`;
  }

  static async create(host: Host): Promise<Resources> {
    const { pid } = (await host.request('post', '/processes', { name: 'vmm' })) as { pid: number };
    return new Resources(host, pid);
  }

  async get(path: string): Promise<Body> {
    return (await this.#host.request('get', this.#path + path)) as Body;
  }

  async post(path: string, body: Body = {}): Promise<Body> {
    return (await this.#host.request('post', this.#path + path, body)) as Body;
  }

  async put(path: string, body: Body): Promise<Body> {
    return (await this.#host.request('put', this.#path + path, body)) as Body;
  }

  async delete(path: string): Promise<Body> {
    return (await this.#host.request('delete', this.#path + path)) as Body;
  }

  /** Opens or makes something; its descriptor. */
  async open(path: string, body: Body = {}): Promise<number> {
    return (await this.post(path, body)).fd as number;
  }

  close(fd: number): Promise<Body> {
    return this.delete(`/descriptors/${fd}`);
  }

  async openCdev(): Promise<number> {
    return this.open('/cdevs', { path: (await this.#host.device(D1)).cdev });
  }

  async bind(cdev: number, iommufd: number): Promise<number> {
    return (await this.put(`/cdevs/${cdev}/iommufd`, { iommufd })).device as number;
  }

  attach(cdev: number, pageTable: number): Promise<Body> {
    return this.put(`/cdevs/${cdev}/attachment`, { pageTable });
  }

  /** An IOAS with the memory at the usual place, and a HWPT of it. */
  async mapMemory(iommufd: number, device: number, memfd: number): Promise<{ ioas: number; hwpt: number }> {
    const { ioas } = await this.post(`/iommufds/${iommufd}/ioases`);
    const mapping = { fd: memfd, start: 0, length: RAM, iova: IOVA, readable: true, writeable: true };
    await this.post(`/iommufds/${iommufd}/ioases/${ioas}/file-mappings`, mapping);
    const { hwpt } = await this.post(`/iommufds/${iommufd}/hwpts`, { device, pageTable: ioas });
    return { ioas: ioas as number, hwpt: hwpt as number };
  }

  preserve(session: number, fd: number, token: number): Promise<Body> {
    return this.post(`/sessions/${session}/files`, { fd, token });
  }

  retrieve(session: number, token: number): Promise<number> {
    return this.open(`/sessions/${session}/files/${token}/retrieve`);
  }

  async restore(iommufd: number, token: number): Promise<number> {
    return (await this.get(`/iommufds/${iommufd}/restored-hwpts/${token}`)).hwpt as number;
  }
}

/** Setup P. */
async function prepare(): Promise<{ host: Host; watch: DmaWatch }> {
  const host = await app.host();
  const vmm = await Resources.create(host);
  const memfd = await vmm.open('/memfds', { name: 'ram', size: RAM, flags: ALLOW_SEALING });
  await vmm.post(`/memfds/${memfd}/seals`, { seals: SIZE_SEALS });
  assert.deepEqual(await vmm.get(`/memfds/${memfd}/seals`), { seals: SIZE_SEALS });
  await vmm.put(`/memfds/${memfd}/data?offset=0`, { data: base64(TEXT) });
  const iommufd = await vmm.open('/iommufds');
  const cdev = await vmm.openCdev();
  const device = await vmm.bind(cdev, iommufd);
  const { hwpt } = await vmm.mapMemory(iommufd, device, memfd);
  assert.deepEqual(await vmm.attach(cdev, hwpt), { hwpt });
  const watch = await new DmaWatch(host, D1, IOVA, TEXT).start();

  const session = await vmm.open(`/liveupdates/${await vmm.open('/liveupdates')}/sessions`, { name: 'vm1' });
  await vmm.preserve(session, memfd, 1);
  await vmm.put(`/iommufds/${iommufd}/hwpts/${hwpt}/token`, { token: TOKEN });
  await vmm.preserve(session, iommufd, 2);
  await vmm.preserve(session, cdev, 3);
  return { host, watch };
}

test('S26 the happy path, by REST alone', async () => {
  const { host, watch } = await prepare();
  const { id } = (await host.device(D1)).domain;
  await host.kexec();
  assert.equal((await host.device(D1)).state, 'L');
  await watch.noGap();

  await host.bindDriver(D1, 'vfio-pci');
  const vmm = await Resources.create(host);
  const lu = await vmm.open('/liveupdates');
  const session = await vmm.open(`/liveupdates/${lu}/retrievals`, { name: 'vm1' });
  assert.deepEqual(await vmm.get(`/sessions/${session}`), { name: 'vm1' });
  const memfd = await vmm.retrieve(session, 1);
  const iommufd = await vmm.retrieve(session, 2);
  const cdev = await vmm.retrieve(session, 3);
  const device = await vmm.bind(cdev, iommufd);
  assert.equal((await host.device(D1)).state, 'A');
  await watch.noGap();

  const restored = await vmm.restore(iommufd, TOKEN);
  await expectErrno('EBUSY', vmm.delete(`/iommufds/${iommufd}/hwpts/${restored}`));
  const { ioas, hwpt } = await vmm.mapMemory(iommufd, device, memfd);
  assert.deepEqual(await vmm.attach(cdev, hwpt), { hwpt });
  assert.equal((await host.device(D1)).state, 'S');
  await watch.noGap();
  await host.dmaWrite(D1, IOVA + MIB, 'from the device');
  const { data } = await vmm.get(`/memfds/${memfd}/data?offset=${MIB}&length=15`);
  assert.equal(data, base64('from the device'));

  await vmm.delete(`/iommufds/${iommufd}/hwpts/${restored}`);
  assert.equal(await host.domain(id ?? 0), undefined);
  await expectErrno('ENOENT', vmm.restore(iommufd, TOKEN));
  await vmm.post(`/sessions/${session}/finish`);
  await vmm.close(session);
  await watch.noGap();
  await vmm.delete(`/iommufds/${iommufd}/ioases/${ioas}/mappings?iova=${IOVA}&length=${RAM}`);
  await host.dmaFaults(D1, IOVA);
});

test('S34 cdev never restored, by REST alone', async () => {
  const { host, watch } = await prepare();
  await host.kexec();
  const vmm = await Resources.create(host);
  const lu = await vmm.open('/liveupdates');
  const session = await vmm.open(`/liveupdates/${lu}/retrievals`, { name: 'vm1' });
  await vmm.retrieve(session, 1);
  await vmm.retrieve(session, 2);
  await expectErrno('EBUSY', vmm.post(`/sessions/${session}/finish`));
  await watch.noGap();
  await vmm.close(session);
  await expectErrno('EINVAL', vmm.open(`/liveupdates/${lu}/retrievals`, { name: 'vm1' }));
  await expectErrno('EBUSY', host.bindDriver(D1, 'nvme'));
  await host.bindDriver(D1, 'vfio-pci');
  await expectErrno('EPERM', vmm.bind(await vmm.openCdev(), await vmm.open('/iommufds')));
  assert.equal((await host.device(D1)).state, 'L');
  await watch.noGap();

  await host.kexec();
  assert.equal((await host.device(D1)).state, 'N');
  await host.dmaFaults(D1, IOVA);
  await host.bindDriver(D1, 'nvme');
});
