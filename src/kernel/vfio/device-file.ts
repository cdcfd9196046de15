/**
 * Files of a VFIO device (drivers/vfio/device_cdev.c, iommufd.c, pci/vfio_pci_core.c): of its cdev, or of the legacy
 * group. A cdev file is unbound, then bound; there is no way back but close.
 */
import { MAX_TRANSFER } from '../../limits.ts';
import { assert, Refusal, refuse } from '../errno.ts';
import {
  type Handlers,
  type IoctlOk,
  type MapRequest,
  type MapTarget,
  OpenFile,
  type ReadOk,
  type Written,
} from '../file.ts';
import { IommufdContext } from '../iommufd/context.ts';
import { attachDevice, bindDevice, detachDevice, unbindDevice } from '../iommufd/device/device.ts';
import { attachPasid, detachPasid, replacePasid } from '../iommufd/device/pasid.ts';
import { Hwpt } from '../iommufd/hw-pagetable/hwpt.ts';
import { Ioas } from '../iommufd/ioas.ts';
import type { Process } from '../process.ts';
import type { ArgOf, RequestDescriptor } from '../uapi/index.ts';
import { VfioPciCore } from './pci/core.ts';
import { feature } from './pci/features.ts';
import { getHotResetInfo, hotReset, tryResetSet } from './pci/hot-reset.ts';
import { getIrqInfo, setIrqs } from './pci/intrs.ts';
import { ioeventfd } from './pci/ioeventfd.ts';
import { mapRegion } from './pci/mmap.ts';
import { readRegion, writeRegion } from './pci/rdwr.ts';
import { getRegionInfo } from './pci/regions.ts';
import type { VfioDevice } from './vfio.ts';

const FLAG_RESET = 1;
const FLAG_PCI = 2;
const MAX_PASID = 2 ** 31 - 1;

type AttachArg = ArgOf<'VFIO_DEVICE_ATTACH_IOMMUFD_PT'>;
type DetachArg = ArgOf<'VFIO_DEVICE_DETACH_IOMMUFD_PT'>;

/** What the kernel before handed over of a device. */
interface Retrieved {
  resetWorks: boolean;
  /** Its user's copy of the configuration space; null: the function was reset instead. */
  config: Uint8Array | null;
}

export class VfioDeviceFile extends OpenFile {
  readonly kind = 'vfio-cdev';
  readonly device: VfioDevice;
  /** Opened through /dev/vfio/devices, not through the legacy group. */
  readonly cdev: boolean;
  /** Set if it came out of a session of LUO, with or without a restored domain. */
  readonly retrieved: Retrieved | null;
  bound = false;
  /** Where read and write go on: in BAR 0 in the beginning. */
  position = 0n;
  /** It is in an outgoing session: attach and detach are refused (C3). */
  preserved = false;
  /** The freeze has reset the device (policy vfioFreezeResets). */
  dead = false;

  constructor(device: VfioDevice, cdev: boolean, retrieved: Retrieved | null = null) {
    super();
    this.device = device;
    this.cdev = cdev;
    this.retrieved = retrieved;
    device.files.add(this);
  }

  /** A cdev's node is deleted as soon as its driver is to be unbound; a file of the legacy group never had one. */
  link(): string {
    if (!this.cdev) return 'anon_inode:[vfio-device]';
    if (this.retrieved) return 'anon_inode:[vfio-device-liveupdate]';
    return `${this.device.path}${this.device.unbinding ? ' (deleted)' : ''}`;
  }

  /** Files of anon_inodes are (SB_I_NOEXEC); a node of devtmpfs is not. */
  override get isNoexec(): boolean {
    return !this.cdev || this.retrieved !== null;
  }

  release(): void {
    if (this.bound) this._unbind();
    this.device.files.delete(this);
    this.device.kernel.vfio.fileClosed(this.device);
  }

  override beforeIoctl(request: RequestDescriptor | null): Refusal | null {
    if (this.dead)
      return refuse('EIO', 'vfio_device_fops_unl_ioctl', 'the freeze of a live update has reset the device', 'R22');
    if (request?.name === 'VFIO_DEVICE_BIND_IOMMUFD') return null;
    if (this.bound) {
      // vfio_device_pm_runtime_get
      this.pci.resume();
      return null;
    }
    return refuse(
      'EINVAL',
      'vfio_device_fops_unl_ioctl',
      'the device is not bound: VFIO_DEVICE_BIND_IOMMUFD comes first',
    );
  }

  override get handlers(): Handlers<'vfio-cdev', VfioDeviceFile> {
    return HANDLERS;
  }

  /** What vfio-pci keeps of the device. Only a bound file has it. */
  get pci(): VfioPciCore {
    assert(this.bound, 'a bound device is enabled');
    // A stored host of a version that had no device side comes with devices that are bound and nothing kept of them.
    this.device.pci ??= new VfioPciCore(this.device, null);
    return this.device.pci;
  }

  override read(length: bigint): ReadOk | Refusal {
    if (length > MAX_TRANSFER) return refuse('EINVAL', 'vfs_read', `at most ${MAX_TRANSFER} bytes a call`);
    const answer = this.pread(this.position, Number(length));
    if (!(answer instanceof Refusal)) this.position += BigInt(answer.ret);
    return answer;
  }

  override write({ data }: Written): number | Refusal {
    const count = this.pwrite(this.position, data);
    if (!(count instanceof Refusal)) this.position += BigInt(count);
    return count;
  }

  override pread(offset: bigint, length: number): ReadOk | Refusal {
    return this._checkOpen('vfio_device_fops_read') ?? readRegion(this.pci, offset, length);
  }

  override pwrite(offset: bigint, data: Uint8Array): number | Refusal {
    return this._checkOpen('vfio_device_fops_write') ?? writeRegion(this.pci, offset, data);
  }

  override map(request: MapRequest): MapTarget | Refusal {
    return this._checkOpen('vfio_device_fops_mmap') ?? mapRegion(this, request);
  }

  /** EINVAL not bound; EIO reset by a freeze. */
  private _checkOpen(where: string): Refusal | null {
    if (this.dead) return refuse('EIO', where, 'the freeze of a live update has reset the device', 'R22');
    if (this.bound) return null;
    return refuse('EINVAL', where, 'the device is not bound: VFIO_DEVICE_BIND_IOMMUFD comes first');
  }

  getInfo(): IoctlOk {
    const { regions, irqs } = this.device.fn.spec;
    const flags = FLAG_PCI | (this._resetWorks ? FLAG_RESET : 0);
    return { arg: { flags, num_regions: regions, num_irqs: irqs, cap_offset: 0 } };
  }

  reset(): IoctlOk | Refusal {
    const { fn, kernel } = this.device;
    if (!this._resetWorks) return refuse('EINVAL', 'vfio_pci_ioctl_reset', `${fn.bdf} cannot be reset`);
    kernel.resetFunction(fn, 'VFIO_DEVICE_RESET');
    return {};
  }

  private get _resetWorks(): boolean {
    return this.retrieved ? this.retrieved.resetWorks : this.device.fn.spec.reset;
  }

  /** vfio_df_ioctl_bind_iommufd (R6): the checks of BIND in README.md, in that order. */
  bindIoctl(process: Process, arg: ArgOf<'VFIO_DEVICE_BIND_IOMMUFD'>): IoctlOk | Refusal {
    const where = 'vfio_df_ioctl_bind_iommufd';
    const { device } = this;
    const fd = arg.iommufd;
    if (fd < 0 || arg.flags & ~1) return refuse('EINVAL', where, 'unknown flag, or a negative descriptor');
    if (!this.cdev) return refuse('EINVAL', where, 'the device was opened through its legacy group');
    if (device.kernel.vfio.groupFiles.has(device.fn.spec.group!))
      return refuse('EBUSY', 'vfio_device_block_group', `legacy group /dev/vfio/${device.fn.spec.group} is open`);
    if (this.bound) return refuse('EINVAL', where, 'this descriptor is bound already');
    if (arg.flags & 1)
      return refuse('EINVAL', 'vfio_pci_core_match_token_uuid', 'the device is no virtual function and takes no token');
    const file = process.file(fd);
    if (file instanceof Refusal) return file;
    if (!(file instanceof IommufdContext))
      return refuse('EBADFD', where, `descriptor ${fd} is ${file.link()}, not an iommufd`);
    if (device.boundFiles.size > 0)
      return refuse('EINVAL', 'vfio_df_device_first_open', 'the device is bound through another descriptor');
    const refusal = this.bind(file);
    return refusal ?? { arg: { out_devid: device.bound!.id } };
  }

  /** Claims ownership and opens the device; a restored one keeps its domain and is not reset. All or nothing (R6). */
  bind(context: IommufdContext): Refusal | null {
    const { device } = this;
    const { kernel } = device;
    const restored = this.retrieved ? kernel.restored.waiting(device.fn) : null;
    const owner = restored && kernel.restored.ownerFor(restored, context);
    const bound = bindDevice(context, device.fn, owner);
    if (bound instanceof Refusal) return bound;
    const refusal =
      kernel.faults.refusal('vfio.open', 'vfio_pci_open_device') ??
      (restored ? kernel.restored.adopt(restored, bound) : null);
    if (refusal) {
      unbindDevice(bound, owner);
      return refusal;
    }
    device.bound = bound;
    // vfio_pci_core_enable tries a reset; a function that cannot be reset stays as it is.
    if (!this.retrieved && device.fn.spec.reset) kernel.resetFunction(device.fn, 'open');
    device.pci = new VfioPciCore(device, this.retrieved?.config ?? null);
    this.join();
    kernel.emit('vfio.bind', `${device.fn.bdf} is bound to an iommufd`, { bdf: device.fn.bdf, device: bound.id });
    return null;
  }

  /** Counts this file among those through which the device is bound. */
  join(): void {
    this.bound = true;
    this.device.boundFiles.add(this);
  }

  private _checkAttachment(where: string, flags: number): Refusal | null {
    if (flags & ~1) return refuse('EINVAL', where, 'unknown flag');
    if (this.preserved)
      return refuse('EBUSY', where, 'the device is preserved: close the session to change its attachment', 'C3');
    return null;
  }

  attachIoctl(arg: AttachArg): IoctlOk | Refusal {
    const where = 'vfio_df_ioctl_attach_pt';
    if (!this.cdev) return refuse('ENOTTY', where, 'a device of a legacy group is attached by its container');
    const refusal = this._checkAttachment(where, arg.flags);
    if (refusal) return refusal;
    const hwpt = arg.flags & 1 ? this._attachPasid(arg) : attachDevice(this.device.bound!, arg.pt_id);
    return hwpt instanceof Hwpt ? { arg: { pt_id: hwpt.id } } : hwpt;
  }

  /** vfio_iommufd_physical_pasid_attach_ioas: attaches a PASID, or moves one that is attached. EINVAL, ENOSPC. */
  private _attachPasid({ pasid, pt_id: target }: AttachArg): Hwpt | Refusal {
    const where = 'vfio_iommufd_physical_pasid_attach_ioas';
    const { device } = this;
    const { bound } = device;
    if (pasid === undefined) return refuse('EINVAL', where, 'the struct is too small for a PASID');
    if (device.pasids.has(pasid)) return replacePasid(bound!, pasid, target);
    if (pasid > MAX_PASID) return refuse('ENOSPC', where, 'a PASID has 31 bits');
    const hwpt = attachPasid(bound!, pasid, target);
    if (hwpt instanceof Hwpt) device.pasids.add(pasid);
    return hwpt;
  }

  private _detachPasid(pasid: number): void {
    if (this.device.pasids.delete(pasid)) detachPasid(this.device.bound!, pasid);
  }

  detachIoctl(arg: DetachArg): IoctlOk | Refusal {
    const where = 'vfio_df_ioctl_detach_pt';
    if (!this.cdev) return refuse('ENOTTY', where, 'a device of a legacy group is detached by closing it');
    const refusal = this._checkAttachment(where, arg.flags);
    if (refusal) return refusal;
    if (arg.flags & 1) {
      if (arg.pasid === undefined) return refuse('EINVAL', where, 'the struct is too small for a PASID');
      this._detachPasid(arg.pasid);
      return {};
    }
    detachDevice(this.device.bound!);
    return {};
  }

  /** The first open through the legacy group: binds, and attaches to the compatibility IOAS that is set now. */
  openForGroup(context: IommufdContext): Refusal | null {
    const refusal = this.bind(context);
    if (refusal) return refusal;
    const ioas = context.vfioIoas;
    const hwpt =
      ioas instanceof Ioas
        ? attachDevice(this.device.bound!, ioas.id)
        : refuse('ENODEV', 'vfio_iommufd_compat_attach_ioas', 'the container has no IOAS');
    if (hwpt instanceof Hwpt) return null;
    this._unbind();
    return hwpt;
  }

  /**
   * vfio_df_close. The close of the last file resets the device first; then its translation is removed, and its
   * ownership ends (R16).
   */
  private _unbind(): void {
    const { device } = this;
    const { kernel } = device;
    this.bound = false;
    device.boundFiles.delete(this);
    if (device.boundFiles.size > 0) return;
    const { bound } = device;
    assert(bound, 'a bound file has a bound device');
    device.pci?.disable();
    device.pci = null;
    device.needsReset = !this._resetWorks;
    if (this._resetWorks) kernel.resetFunction(device.fn, 'close');
    tryResetSet(device);
    for (const pasid of device.pasids) this._detachPasid(pasid);
    detachDevice(bound);
    device.bound = null;
    if (this.retrieved) kernel.restored.closed(device.fn);
    unbindDevice(bound, null);
  }
}

const HANDLERS: Handlers<'vfio-cdev', VfioDeviceFile> = {
  VFIO_DEVICE_GET_INFO: (file) => file.getInfo(),
  VFIO_DEVICE_GET_REGION_INFO: ({ pci }, arg) => getRegionInfo(pci, arg),
  VFIO_DEVICE_GET_IRQ_INFO: ({ pci }, arg) => getIrqInfo(pci, arg),
  VFIO_DEVICE_SET_IRQS: ({ pci }, arg, process) => setIrqs(pci, arg, process),
  VFIO_DEVICE_RESET: (file) => file.reset(),
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO: (file, arg) => getHotResetInfo(file, arg),
  VFIO_DEVICE_PCI_HOT_RESET: (file, arg, process) => hotReset(file, arg, process),
  VFIO_DEVICE_IOEVENTFD: ({ pci }, arg, process) => ioeventfd(pci, arg, process),
  VFIO_DEVICE_FEATURE: ({ pci }, arg, process) => feature(pci, arg, process),
  VFIO_DEVICE_BIND_IOMMUFD: (file, arg, process) => file.bindIoctl(process, arg),
  VFIO_DEVICE_ATTACH_IOMMUFD_PT: (file, arg) => file.attachIoctl(arg),
  VFIO_DEVICE_DETACH_IOMMUFD_PT: (file, arg) => file.detachIoctl(arg),
};
