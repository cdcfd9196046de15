/** A host in this process with a VMM that has something of everything: what faults are planted in. */
import assert from 'node:assert/strict';
import type { Command } from '../../../src/host/command.ts';
import { Host } from '../../../src/host/host.ts';
import { buildHostSpec } from '../../../src/host/host-spec.ts';
import { type Eventfd, EventfdFile } from '../../../src/kernel/eventfd.ts';
import { IommufdContext } from '../../../src/kernel/iommufd/context.ts';
import type { IommufdObject } from '../../../src/kernel/iommufd/objects.ts';
import type { Kernel } from '../../../src/kernel/kernel.ts';
import { MemfdFile } from '../../../src/kernel/mm/memfd-file.ts';
import type { ShmemInode } from '../../../src/kernel/mm/shmem.ts';
import type { Process } from '../../../src/kernel/process.ts';
import type { CallInput, CallResult } from '../../../src/kernel/uapi/calls.ts';
import type { PhysicalMemory } from '../../../src/machine/memory.ts';

export const BDF = '0000:01:00.0';
const SECOND = '0000:02:00.0';
const MEMORY = '0x100000000000';
export const IOVA = 0x1000000;
export const PAGE = 4096;
const PAGES = 16;
const RAM = PAGES * PAGE;
const TRIGGER_BY_EVENTFD = 4 | 32;
const UNMASK_BY_EVENTFD = 4 | 16;
/** Capabilities of a VMM whose locked memory is counted. */
const PAYS = ['CAP_SYS_BOOT', 'CAP_SYS_RESOURCE', 'CAP_SYS_ADMIN', 'CAP_SYS_RAWIO'];

export class Vmm {
  readonly host: Host;
  pid = 0;
  memfd = 0;
  iommufd = 0;
  cdev = 0;
  device = 0;
  /** Signalled by INTx, and unmasks it. */
  eventfd = 0;
  /** With areas of process memory, one of the memfd, and the parent of what is nested. */
  ioas = 0;
  parent = 0;
  /** With the memfd alone, and in a session where `preserve` was called. */
  kept = 0;
  hwpt = 0;

  constructor() {
    const built = buildHostSpec({
      iommus: [{ id: 'mock0', kind: 'generic', nesting: true, maxPasidLog2: 20 }],
      devices: [
        { bdf: BDF, iommu: 'mock0', driver: 'vfio-pci', pasid: true, config: { interruptPin: 1 } },
        { bdf: SECOND, iommu: 'mock0', driver: 'nvme', class: '0108' },
      ],
    });
    assert.ok('spec' in built);
    this.host = new Host(built.spec);
  }

  /** Areas, shared and not; vIOMMU, queues, interrupts, accesses. */
  static attached(): Vmm {
    const vmm = new Vmm();
    vmm.#begin();
    const map = { flags: 7, ioas_id: vmm.ioas, length: PAGE };
    for (let page = 0; page < PAGES; page++)
      vmm.ioctl(vmm.iommufd, 'IOMMU_IOAS_MAP', {
        ...map,
        user_va: `0x${(Number(MEMORY) + page * PAGE).toString(16)}`,
        iova: IOVA + page * 2 * PAGE,
      });
    vmm.#mapFile(vmm.ioas, 0x2000000);
    vmm.parent = vmm.ioctl(vmm.iommufd, 'IOMMU_HWPT_ALLOC', { flags: 1, dev_id: vmm.device, pt_id: vmm.ioas })
      .out_hwpt_id!;
    vmm.ioctl(vmm.iommufd, 'IOMMU_IOAS_COPY', {
      flags: 7,
      dst_ioas_id: vmm.kept,
      src_ioas_id: vmm.ioas,
      length: PAGE,
      src_iova: IOVA,
      dst_iova: 0x3000000,
    });
    vmm.ioctl(vmm.cdev, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { pt_id: vmm.parent });
    const viommu = vmm.ioctl(vmm.iommufd, 'IOMMU_VIOMMU_ALLOC', {
      type: 0xdeadbeef,
      dev_id: vmm.device,
      hwpt_id: vmm.parent,
    }).out_viommu_id!;
    vmm.ioctl(vmm.iommufd, 'IOMMU_VDEVICE_ALLOC', { viommu_id: viommu, dev_id: vmm.device, virt_id: 9 });
    vmm.ioctl(vmm.iommufd, 'IOMMU_FAULT_QUEUE_ALLOC');
    vmm.ioctl(vmm.iommufd, 'IOMMU_VEVENTQ_ALLOC', { viommu_id: viommu, type: 0xbeefbeef, veventq_depth: 2 });
    vmm.eventfd = vmm.call({ call: 'eventfd', initval: 0, flags: 0 }).ret as number;
    for (const flags of [TRIGGER_BY_EVENTFD, UNMASK_BY_EVENTFD])
      vmm.ioctl(vmm.cdev, 'VFIO_DEVICE_SET_IRQS', { flags, index: 0, start: 0, count: 1, eventfds: [vmm.eventfd] });
    const access = vmm.call({ call: 'access_create', fd: vmm.iommufd, ioas: vmm.ioas, pin: true }).ret as number;
    vmm.call({ call: 'access_pin', fd: vmm.iommufd, access, iova: IOVA, length: PAGE, write: true });
    return vmm;
  }

  /** All of it in a session. */
  static preserved(): Vmm {
    const vmm = new Vmm();
    vmm.#begin();
    vmm.#mapFile(vmm.kept, IOVA);
    vmm.hwpt = vmm.ioctl(vmm.iommufd, 'IOMMU_HWPT_ALLOC', { dev_id: vmm.device, pt_id: vmm.kept }).out_hwpt_id!;
    vmm.ioctl(vmm.cdev, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', { pt_id: vmm.hwpt });
    const liveupdate = vmm.#open('/dev/liveupdate');
    const session = vmm.ioctl(liveupdate, 'LIVEUPDATE_IOCTL_CREATE_SESSION', { name: 'vm1' }).fd!;
    vmm.ioctl(vmm.iommufd, 'IOMMU_HWPT_LU_SET_PRESERVE', { hwpt_id: vmm.hwpt, token: 7 });
    for (const [index, fd] of [vmm.memfd, vmm.iommufd, vmm.cdev].entries())
      vmm.ioctl(session, 'LIVEUPDATE_SESSION_PRESERVE_FD', { fd, token: index + 1 });
    return vmm;
  }

  /** In the next kernel, retrieved; bound, too, if `adopted`. */
  static restored(adopted: boolean): Vmm {
    const vmm = Vmm.preserved();
    vmm.execute({ op: 'kexec.freeze', mode: 'live-update', image: 'loaded' });
    vmm.#process();
    vmm.execute({ op: 'driver.bind', bdf: BDF, driver: 'vfio-pci' });
    const liveupdate = vmm.#open('/dev/liveupdate');
    const session = vmm.ioctl(liveupdate, 'LIVEUPDATE_IOCTL_RETRIEVE_SESSION', { name: 'vm1' }).fd!;
    const [memfd, iommufd, cdev] = [1, 2, 3].map(
      (token) => vmm.ioctl(session, 'LIVEUPDATE_SESSION_RETRIEVE_FD', { token }).fd!,
    );
    Object.assign(vmm, { memfd, iommufd, cdev });
    if (adopted) vmm.ioctl(vmm.cdev, 'VFIO_DEVICE_BIND_IOMMUFD', { iommufd: vmm.iommufd });
    return vmm;
  }

  #process(): void {
    this.pid = (this.execute({ op: 'process.create', capabilities: PAYS }) as { pid: number }).pid;
  }

  #begin(): void {
    this.#process();
    this.call({ call: 'mmap', addr: MEMORY, length: RAM });
    this.memfd = this.call({ call: 'memfd_create', name: 'ram', flags: 2, size: RAM }).ret as number;
    this.call({ call: 'add_seals', fd: this.memfd, seals: 7 });
    this.call({ call: 'mmap', addr: '0x200000000000', length: RAM, fd: this.memfd, shared: true });
    this.iommufd = this.#open('/dev/iommu');
    this.cdev = this.#open('/dev/vfio/devices/vfio0');
    this.device = this.ioctl(this.cdev, 'VFIO_DEVICE_BIND_IOMMUFD', { iommufd: this.iommufd }).out_devid!;
    this.ioas = this.ioctl(this.iommufd, 'IOMMU_IOAS_ALLOC').out_ioas_id!;
    this.kept = this.ioctl(this.iommufd, 'IOMMU_IOAS_ALLOC').out_ioas_id!;
  }

  #mapFile(ioas: number, iova: number): void {
    const arg = { flags: 7, ioas_id: ioas, fd: this.memfd, start: 0, length: RAM, iova };
    this.ioctl(this.iommufd, 'IOMMU_IOAS_MAP_FILE', arg);
  }

  #open(path: string): number {
    return this.call({ call: 'open', path }).ret as number;
  }

  /** A freeze goes on to the boot of the next kernel. */
  execute(command: Command): unknown {
    const { answer, records } = this.host.execute(command);
    assert.equal(answer.kind, 'ok', JSON.stringify(answer));
    for (const record of records)
      if (record.kind === 'handover') return this.execute({ op: 'kexec.boot', handover: record.text });
    return answer.kind === 'ok' ? answer.value : undefined;
  }

  call(call: CallInput): CallResult {
    const { results } = this.execute({ op: 'calls', pid: this.pid, calls: [call] }) as { results: CallResult[] };
    assert.equal(results[0]!.errno, undefined, JSON.stringify([call, results[0]]));
    return results[0]!;
  }

  ioctl(fd: number, request: string, arg: Record<string, unknown> = {}): Record<string, number> {
    return this.call({ call: 'ioctl', fd, request, arg }).arg as Record<string, number>;
  }

  // What faults are planted in.

  get kernel(): Kernel {
    return this.host.kernel!;
  }

  get memory(): PhysicalMemory {
    return this.host.machine.memory;
  }

  get process(): Process {
    return this.kernel.processes.get(this.pid)!;
  }

  get context(): IommufdContext {
    const file = this.process.descriptors.get(this.iommufd);
    assert.ok(file instanceof IommufdContext);
    return file;
  }

  get counter(): Eventfd {
    const file = this.process.descriptors.get(this.eventfd);
    assert.ok(file instanceof EventfdFile);
    return file.eventfd;
  }

  get inode(): ShmemInode {
    const file = this.process.descriptors.get(this.memfd);
    assert.ok(file instanceof MemfdFile);
    return file.inode;
  }

  /** The object with the lowest id of a class. */
  object<T extends IommufdObject>(kind: abstract new (...args: never[]) => T): T {
    for (const object of this.context.objects.visible()) if (object instanceof kind) return object;
    throw new Error(`there is no ${kind.name}`);
  }
}
