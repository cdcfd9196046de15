/** What vfio-pci keeps of a device from its first open to its last close (struct vfio_pci_core_device). */
import type { PciFunction } from '../../../machine/pci/function.ts';
import { D3HOT } from '../../../machine/pci/registers.ts';
import type { VfioDevice, VfioKernel } from '../vfio.ts';
import { VfioPciConfig } from './config.ts';
import type { Ioeventfd } from './ioeventfd.ts';
import { VfioPciIrqs } from './irqs.ts';

export class VfioPciCore {
  readonly device: VfioDevice;
  readonly irqs: VfioPciIrqs;
  readonly config: VfioPciConfig;
  ioeventfds: readonly Ioeventfd[] = [];

  /**
   * vfio_pci_core_enable, after the reset. `handedOver`: the program's copy of the configuration space, of a device that
   * came running from another kernel and stays as it is.
   */
  constructor(device: VfioDevice, handedOver: Uint8Array | null) {
    this.device = device;
    this.irqs = new VfioPciIrqs(device);
    if (!handedOver) this.fn.config.enable();
    this.config = new VfioPciConfig(this, handedOver);
  }

  get kernel(): VfioKernel {
    return this.device.kernel;
  }

  get fn(): PciFunction {
    return this.device.fn;
  }

  /** Whether the function answers in its memory BARs (__vfio_pci_memory_enabled). */
  get memoryEnabled(): boolean {
    return this._isAwake && this.config.memoryEnabled;
  }

  /** Whether it answers at its I/O ports. */
  get ioEnabled(): boolean {
    return this._isAwake && this.fn.config.ioEnabled;
  }

  /** Whether it may write to memory, and so send messages. */
  get busMaster(): boolean {
    return this._isAwake && this.fn.config.busMaster;
  }

  /** Whether its ROM answers once memory is on, which Linux sees to (vfio_pci_memory_lock_and_enable). */
  get romAnswers(): boolean {
    return this._isAwake;
  }

  /** Whether its user has let it go to low power (pm_runtime_engaged): no mapping of it can be touched. */
  get lowPower(): boolean {
    return false;
  }

  private get _isAwake(): boolean {
    return this.fn.config.powerState < D3HOT;
  }

  /** vfio_pci_core_disable, before the reset. */
  disable(): void {
    this.irqs.disable();
    for (const ioeventfd of this.ioeventfds) ioeventfd.disable();
    this.ioeventfds = [];
    this.fn.config.restore();
  }
}
