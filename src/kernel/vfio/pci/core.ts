/** What vfio-pci keeps of a device from its first open to its last close (struct vfio_pci_core_device). */
import type { PciFunction } from '../../../machine/pci/function.ts';
import { D3HOT } from '../../../machine/pci/registers.ts';
import { type Refusal, refuse } from '../../errno.ts';
import type { Eventfd } from '../../eventfd.ts';
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
   * A program has put the device into low power (pm_runtime_engaged): mappings of its BARs fault. It sleeps as soon as
   * no request of the program is at work.
   */
  private _lowPower = false;
  /** Is signalled when something wakes the device, which ends the low power then. */
  private _wakeup: Eventfd | null = null;

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
    return this._lowPower;
  }

  /** Whether the device can do nothing by itself: it is in D3hot, or in low power with no request of the program at work. */
  get isAsleep(): boolean {
    return this._lowPower || !this._isAwake;
  }

  /** vfio_pci_runtime_pm_entry. EINVAL: it is in low power already. */
  enterLowPower(wakeup: Eventfd | null): Refusal | null {
    if (this._lowPower)
      return refuse('EINVAL', 'vfio_pci_runtime_pm_entry', `${this.fn.bdf} is in low power already: end that first`);
    this._lowPower = true;
    this._wakeup = wakeup;
    // vfio_pci_core_runtime_suspend: in D3hot the device could not be sent to sleep.
    this.fn.config.setPowerState(0);
    return null;
  }

  /** vfio_pci_runtime_pm_exit. */
  exitLowPower(): void {
    this._lowPower = false;
    this._wakeup = null;
  }

  /** A request, or an access of its regions, wakes the device (vfio_pci_core_runtime_resume). */
  resume(): void {
    if (!this._wakeup) return;
    this._wakeup.signal();
    this.exitLowPower();
  }

  private get _isAwake(): boolean {
    return this.fn.config.powerState < D3HOT;
  }

  /** vfio_pci_core_disable, before the reset. */
  disable(): void {
    this.exitLowPower();
    this.irqs.disable();
    for (const ioeventfd of this.ioeventfds) ioeventfd.disable();
    this.ioeventfds = [];
    this.fn.config.restore();
  }
}
