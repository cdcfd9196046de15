/** What vfio-pci keeps of a device from its first open to its last close (struct vfio_pci_core_device). */
import type { PciFunction } from '../../../machine/pci/function.ts';
import type { VfioDevice, VfioKernel } from '../vfio.ts';
import type { Ioeventfd } from './ioeventfd.ts';
import { VfioPciIrqs } from './irqs.ts';

export class VfioPciCore {
  readonly kernel: VfioKernel;
  readonly fn: PciFunction;
  readonly irqs: VfioPciIrqs;
  ioeventfds: readonly Ioeventfd[] = [];

  /** vfio_pci_core_enable, after the reset. */
  constructor(device: VfioDevice) {
    this.kernel = device.kernel;
    this.fn = device.fn;
    this.irqs = new VfioPciIrqs(device);
  }

  /** Whether the function answers in its memory BARs (__vfio_pci_memory_enabled). */
  get memoryEnabled(): boolean {
    return true;
  }

  /** Whether it answers at its I/O ports. */
  get ioEnabled(): boolean {
    return true;
  }

  /** Whether it may write to memory, and so send messages. */
  get busMaster(): boolean {
    return true;
  }

  /** Whether its ROM answers once memory is on, which Linux sees to (vfio_pci_memory_lock_and_enable). */
  get romAnswers(): boolean {
    return true;
  }

  /** Whether its user has let it go to low power (pm_runtime_engaged): no mapping of it can be touched. */
  get lowPower(): boolean {
    return false;
  }

  /** vfio_pci_core_disable, before the reset. */
  disable(): void {
    this.irqs.disable();
    for (const ioeventfd of this.ioeventfds) ioeventfd.disable();
    this.ioeventfds = [];
  }
}
