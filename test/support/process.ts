/** A process on a simulated host. Every method is one system call of `POST …/calls`; a refusal is a KernelError. */
import assert from 'node:assert/strict';
import type { HwptView, IommufdView, ProcessView } from '../../src/host/views.ts';
import type { CallResult } from '../../src/kernel/uapi/calls.ts';
import type { Host } from './client.ts';
import { hex, KernelError } from './kernel-error.ts';

export const ALLOW_SEALING = 2;
export const HUGETLB = 4;
export const SEAL = 1;
export const SHRINK = 2;
export const GROW = 4;
/** The seals that a memfd needs before it is mapped for a domain that is to be preserved. */
export const SIZE_SEALS = SEAL | SHRINK | GROW;

const FIXED_READ_WRITE = 1 | 2 | 4;

type Number64 = number | string;

export class Process {
  readonly host: Host;
  readonly pid: number;

  constructor(host: Host, pid: number) {
    this.host = host;
    this.pid = pid;
  }

  async call(call: string, parameters: Record<string, unknown>): Promise<CallResult> {
    const [result] = await this.host.runCalls(this.pid, [{ call, ...parameters }]);
    assert.ok(result !== undefined, 'a result for each call');
    if (result.errno === undefined) return result;
    throw new KernelError(result.errno, `${call} ${JSON.stringify(parameters)}`, result.why, result.rule);
  }

  async #number(call: string, parameters: Record<string, unknown>): Promise<number> {
    return (await this.call(call, parameters)).ret as number;
  }

  /** The fields that the kernel wrote. */
  async ioctl(fd: number, request: string, arg: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    return (await this.call('ioctl', { fd, request, arg })).arg ?? {};
  }

  async view(): Promise<ProcessView> {
    return (await this.host.request('get', `/processes/${this.pid}`)) as ProcessView;
  }

  async kill(): Promise<void> {
    await this.host.request('delete', `/processes/${this.pid}`);
  }

  open(path: string): Promise<number> {
    return this.#number('open', { path });
  }

  close(fd: number): Promise<number> {
    return this.#number('close', { fd });
  }

  dup(fd: number): Promise<number> {
    return this.#number('dup', { fd });
  }

  /** The descriptor that the other process then has. */
  sendFd(fd: number, to: Process): Promise<number> {
    return this.#number('send_fd', { fd, to: to.pid });
  }

  // Memory and memfds.

  memfd(size: Number64, flags = ALLOW_SEALING, name = 'ram'): Promise<number> {
    return this.#number('memfd_create', { name, flags, size });
  }

  async sealedMemfd(size: number): Promise<number> {
    const fd = await this.memfd(size);
    await this.addSeals(fd, SIZE_SEALS);
    return fd;
  }

  write(fd: number, offset: number, data: string): Promise<number> {
    return this.#number('pwrite', { fd, offset, data: Buffer.from(data).toString('base64') });
  }

  async read(fd: number, offset: number, length: number): Promise<string> {
    const { data } = await this.call('pread', { fd, offset, length });
    return Buffer.from(data ?? '', 'base64').toString();
  }

  truncate(fd: number, length: number): Promise<number> {
    return this.#number('ftruncate', { fd, length });
  }

  allocate(fd: number, offset: number, length: number, mode = 0): Promise<number> {
    return this.#number('fallocate', { fd, mode, offset, length });
  }

  /** Moves the file position; without an offset it only tells it. */
  seek(fd: number, offset?: number): Promise<number> {
    return this.#number('lseek', { fd, offset: offset ?? 0, whence: offset === undefined ? 1 : 0 });
  }

  async size(fd: number): Promise<number> {
    return Number((await this.call('fstat', { fd })).size);
  }

  addSeals(fd: number, seals: number): Promise<number> {
    return this.#number('add_seals', { fd, seals });
  }

  seals(fd: number): Promise<number> {
    return this.#number('get_seals', { fd });
  }

  async mmap(address: number, length: number): Promise<void> {
    await this.call('mmap', { addr: hex(address), length });
  }

  // iommufd.

  async allocIoas(fd: number): Promise<number> {
    return (await this.ioctl(fd, 'IOMMU_IOAS_ALLOC')).out_ioas_id as number;
  }

  /** Maps readable and writeable at exactly this IOVA. */
  async mapFile(fd: number, ioas: number, iova: number, memfd: number, length: number, start = 0): Promise<void> {
    const arg = { flags: FIXED_READ_WRITE, ioas_id: ioas, fd: memfd, start, length, iova: hex(iova) };
    await this.ioctl(fd, 'IOMMU_IOAS_MAP_FILE', arg);
  }

  async map(fd: number, ioas: number, iova: number, address: number, length: number): Promise<void> {
    const arg = { flags: FIXED_READ_WRITE, ioas_id: ioas, user_va: hex(address), length, iova: hex(iova) };
    await this.ioctl(fd, 'IOMMU_IOAS_MAP', arg);
  }

  async copy(fd: number, to: number, toIova: number, from: number, fromIova: number, length: number): Promise<void> {
    const iovas = { dst_iova: hex(toIova), src_iova: hex(fromIova) };
    const arg = { flags: FIXED_READ_WRITE, dst_ioas_id: to, src_ioas_id: from, length, ...iovas };
    await this.ioctl(fd, 'IOMMU_IOAS_COPY', arg);
  }

  async unmap(fd: number, ioas: number, iova: number, length: number): Promise<void> {
    await this.ioctl(fd, 'IOMMU_IOAS_UNMAP', { ioas_id: ioas, iova: hex(iova), length });
  }

  async allocHwpt(fd: number, device: number, pt: number, more: Record<string, unknown> = {}): Promise<number> {
    return (await this.ioctl(fd, 'IOMMU_HWPT_ALLOC', { dev_id: device, pt_id: pt, ...more })).out_hwpt_id as number;
  }

  async destroy(fd: number, id: number): Promise<void> {
    await this.ioctl(fd, 'IOMMU_DESTROY', { id });
  }

  async mark(fd: number, hwpt: number, token: Number64): Promise<void> {
    await this.ioctl(fd, 'IOMMU_HWPT_LU_SET_PRESERVE', { hwpt_id: hwpt, token });
  }

  async restore(fd: number, token: Number64): Promise<number> {
    return (await this.ioctl(fd, 'IOMMU_HWPT_LU_RESTORE', { token })).hwpt_id as number;
  }

  async iommufd(fd: number): Promise<IommufdView> {
    return (await this.host.request('get', `/processes/${this.pid}/iommufds/${fd}`)) as IommufdView;
  }

  async hwpt(fd: number, hwpt: number): Promise<HwptView> {
    return (await this.host.request('get', `/processes/${this.pid}/iommufds/${fd}/hwpts/${hwpt}`)) as HwptView;
  }

  // vfio.

  /** Opens the cdev of a function that is on vfio-pci. */
  async openCdev(bdf: string): Promise<number> {
    const { cdev } = await this.host.device(bdf);
    assert.ok(cdev !== null, `${bdf} has a cdev`);
    return this.open(cdev);
  }

  /** The id of the device in the iommufd. */
  async bind(cdev: number, iommufd: number): Promise<number> {
    return (await this.ioctl(cdev, 'VFIO_DEVICE_BIND_IOMMUFD', { iommufd })).out_devid as number;
  }

  /** The id of the HWPT that the device is then on. */
  async attach(cdev: number, pt: number): Promise<number> {
    return (await this.ioctl(cdev, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { pt_id: pt })).pt_id as number;
  }

  async detach(cdev: number): Promise<void> {
    await this.ioctl(cdev, 'VFIO_DEVICE_DETACH_IOMMUFD_PT');
  }

  async resetDevice(cdev: number): Promise<void> {
    await this.ioctl(cdev, 'VFIO_DEVICE_RESET');
  }

  // Live update.

  openLiveupdate(): Promise<number> {
    return this.open('/dev/liveupdate');
  }

  async createSession(lu: number, name: string): Promise<number> {
    return (await this.ioctl(lu, 'LIVEUPDATE_IOCTL_CREATE_SESSION', { name })).fd as number;
  }

  async retrieveSession(lu: number, name: string): Promise<number> {
    return (await this.ioctl(lu, 'LIVEUPDATE_IOCTL_RETRIEVE_SESSION', { name })).fd as number;
  }

  async preserve(session: number, fd: number, token: Number64): Promise<void> {
    await this.ioctl(session, 'LIVEUPDATE_SESSION_PRESERVE_FD', { fd, token });
  }

  async retrieve(session: number, token: Number64): Promise<number> {
    return (await this.ioctl(session, 'LIVEUPDATE_SESSION_RETRIEVE_FD', { token })).fd as number;
  }

  async finish(session: number): Promise<void> {
    await this.ioctl(session, 'LIVEUPDATE_SESSION_FINISH');
  }

  async sessionName(session: number): Promise<string> {
    return String((await this.ioctl(session, 'LIVEUPDATE_SESSION_GET_NAME')).name);
  }
}
