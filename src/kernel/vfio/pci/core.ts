/** What vfio-pci keeps of a device from its first open to its last close (struct vfio_pci_core_device). */
import type { PciFunction } from '../../../machine/pci/function.ts';
import type { VfioKernel } from '../vfio.ts';

export class VfioPciCore {
  readonly kernel: VfioKernel;
  readonly fn: PciFunction;

  /** vfio_pci_core_enable, after the reset. */
  constructor(kernel: VfioKernel, fn: PciFunction) {
    this.kernel = kernel;
    this.fn = fn;
  }

  /** vfio_pci_core_disable, before the reset. */
  disable(): void {}
}
