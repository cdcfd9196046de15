/** The two situations that most scenarios begin with: prepared for a kexec (P), and adopted after it (Q). */
import { D1, D2, type Host, type HostBody, type HostMaker, MIB } from './client.ts';
import { DmaWatch } from './dma-watch.ts';
import type { Process } from './process.ts';

export const IOVA = 0x1_0000_0000;
export const RAM = 64 * MIB;
/** What the VMM wrote at the start of its memory before the kexec. */
export const TEXT = 'written by the VMM before the kexec';
export const TOKEN = 7;

/** A VMM's device before a live update: memory in a sealed memfd, mapped, attached. */
export interface Vmm {
  host: Host;
  vmm: Process;
  memfd: number;
  iommufd: number;
  cdev: number;
  device: number;
  ioas: number;
  hwpt: number;
  watch: DmaWatch;
}

/** A VMM whose descriptors are in session `vm1`. */
export interface Prepared extends Vmm {
  lu: number;
  session: number;
}

/** The same descriptors in the next kernel; `device` is 0 while the cdev is not bound. */
export interface Adopted {
  host: Host;
  vmm: Process;
  lu: number;
  session: number;
  memfd: number;
  iommufd: number;
  cdev: number;
  device: number;
  watch: DmaWatch;
}

/** Setup P up to, and without, /dev/liveupdate. */
export async function setUpVmm(app: HostMaker, body: HostBody = {}): Promise<Vmm> {
  const host = await app.host(body);
  const vmm = await host.process({ name: 'vmm' });
  const memfd = await vmm.sealedMemfd(RAM);
  await vmm.write(memfd, 0, TEXT);
  const iommufd = await vmm.open('/dev/iommu');
  const cdev = await vmm.openCdev(D1);
  const device = await vmm.bind(cdev, iommufd);
  const ioas = await vmm.allocIoas(iommufd);
  await vmm.mapFile(iommufd, ioas, IOVA, memfd, RAM);
  const hwpt = await vmm.allocHwpt(iommufd, device, ioas);
  await vmm.attach(cdev, hwpt);
  const watch = await new DmaWatch(host, D1, IOVA, TEXT).start();
  return { host, vmm, memfd, iommufd, cdev, device, ioas, hwpt, watch };
}

/** All that the next kernel needs, into a session of the VMM's own: memory (token 1), iommufd (2), cdev (3). */
export async function preserveAll({
  vmm,
  memfd,
  iommufd,
  cdev,
  hwpt,
}: Pick<Vmm, 'vmm' | 'memfd' | 'iommufd' | 'cdev' | 'hwpt'>): Promise<{ lu: number; session: number }> {
  const lu = await vmm.openLiveupdate();
  const session = await vmm.createSession(lu, 'vm1');
  await vmm.preserve(session, memfd, 1);
  await vmm.mark(iommufd, hwpt, TOKEN);
  await vmm.preserve(session, iommufd, 2);
  await vmm.preserve(session, cdev, 3);
  return { lu, session };
}

/** Setup P. The session is the VMM's own. */
export async function prepare(app: HostMaker, body: HostBody = {}): Promise<Prepared> {
  const ready = await setUpVmm(app, body);
  return { ...ready, ...(await preserveAll(ready)) };
}

/** Setup Q without BIND, on a host that has just been updated: vfio-pci on D1, everything retrieved. State L. */
export async function retrieveAll(host: Host, watch: DmaWatch): Promise<Adopted> {
  await host.bindDriver(D1, 'vfio-pci');
  const vmm = await host.process({ name: 'vmm' });
  const lu = await vmm.openLiveupdate();
  const session = await vmm.retrieveSession(lu, 'vm1');
  const memfd = await vmm.retrieve(session, 1);
  const iommufd = await vmm.retrieve(session, 2);
  const cdev = await vmm.retrieve(session, 3);
  return { host, vmm, lu, session, memfd, iommufd, cdev, device: 0, watch };
}

/** Setup P, then a live update, then everything retrieved: state L. */
export async function update(app: HostMaker, body: HostBody = {}): Promise<Adopted> {
  const { host, watch } = await prepare(app, body);
  await host.kexec();
  return retrieveAll(host, watch);
}

/** Setup Q: state A. */
export async function adopt(app: HostMaker, body: HostBody = {}): Promise<Adopted> {
  const restored = await update(app, body);
  return { ...restored, device: await restored.vmm.bind(restored.cdev, restored.iommufd) };
}

/** D1 and D2 on one marked HWPT, both cdevs preserved (tokens 3 and 4): ready for a live update. */
export async function prepareTwoDevices(
  app: HostMaker,
  body: HostBody = {},
): Promise<Prepared & { secondWatch: DmaWatch }> {
  const ready = await setUpVmm(app, body);
  const { host, vmm, iommufd, hwpt } = ready;
  const other = await vmm.openCdev(D2);
  await vmm.bind(other, iommufd);
  await vmm.attach(other, hwpt);
  const { lu, session } = await preserveAll(ready);
  await vmm.preserve(session, other, 4);
  const secondWatch = await new DmaWatch(host, D2, IOVA, TEXT).start();
  return { ...ready, lu, session, secondWatch };
}

/** The two devices after the live update, everything retrieved and nothing bound: both in state L. */
export async function updateTwoDevices(
  app: HostMaker,
  body: HostBody = {},
): Promise<Adopted & { second: number; secondWatch: DmaWatch }> {
  const { host, watch, secondWatch } = await prepareTwoDevices(app, body);
  await host.kexec();
  await host.bindDriver(D2, 'vfio-pci');
  const retrieved = await retrieveAll(host, watch);
  return { ...retrieved, second: await retrieved.vmm.retrieve(retrieved.session, 4), secondWatch };
}

/** A new IOAS with the memory at the same place, and a HWPT of it: what a restored domain is replaced by. */
export async function buildSuccessor(q: Adopted, length = RAM): Promise<{ ioas: number; hwpt: number }> {
  const ioas = await q.vmm.allocIoas(q.iommufd);
  await q.vmm.mapFile(q.iommufd, ioas, IOVA, q.memfd, length);
  return { ioas, hwpt: await q.vmm.allocHwpt(q.iommufd, q.device, ioas) };
}
