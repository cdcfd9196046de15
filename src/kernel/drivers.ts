/**
 * Drivers of PCI functions, as sysfs sees them (drivers/base/{dd,bus}.c): match, probe, unbind. Drivers that use the DMA
 * API ask for the default domain first; VFIO's, pci-stub and the port driver manage DMA themselves and do not.
 */
import type { PciFunction } from '../machine/pci.ts';
import { ERRNO, type Refusal, refuse } from './errno.ts';
import type { Kernel } from './kernel.ts';

interface Match {
  /** Prefixes of the class that the driver takes. */
  classes?: readonly string[];
  vendor?: string;
}

const MANAGES_DMA: ReadonlySet<string> = new Set(['vfio-pci', 'pci-stub', 'pcieport']);

/** What drivers of known kinds take. A function of unknown class or vendor fits each of them as far as that goes. */
const MATCHES: Readonly<Record<string, Match>> = {
  'vfio-pci': {},
  'pci-stub': {},
  pcieport: { classes: ['0604'] },
  nvme: { classes: ['0108'] },
  ahci: { classes: ['0106'] },
  e1000e: { classes: ['02'], vendor: '8086' },
  igb: { classes: ['02'], vendor: '8086' },
  ixgbe: { classes: ['02'], vendor: '8086' },
  i40e: { classes: ['02'], vendor: '8086' },
  ice: { classes: ['02'], vendor: '8086' },
  mlx5_core: { classes: ['02'], vendor: '15b3' },
  r8169: { classes: ['02'], vendor: '10ec' },
  'virtio-pci': { vendor: '1af4' },
  xhci_hcd: { classes: ['0c03'] },
  snd_hda_intel: { classes: ['0403'] },
  i915: { classes: ['03'], vendor: '8086' },
  amdgpu: { classes: ['03'], vendor: '1002' },
};

function fits(fn: PciFunction, driver: string): boolean {
  const match = MATCHES[driver];
  if (!match) return fn.spec.class === null;
  const { class: code, vendor } = fn.spec;
  if (match.vendor && vendor !== null && vendor !== match.vendor) return false;
  return !match.classes || code === null || match.classes.some((prefix) => code.startsWith(prefix));
}

export class Drivers {
  private readonly _kernel: Kernel;
  readonly bound = new Map<string, string>();

  constructor(kernel: Kernel) {
    this._kernel = kernel;
  }

  /** driver_override, then `bind`: ENODEV no match, EBUSY has a driver or its DMA is owned (R5), EINVAL the probe. */
  bind(fn: PciFunction, driver: string): Refusal | null {
    const where = 'bind_store';
    if (!fits(fn, driver))
      return refuse(
        'ENODEV',
        where,
        `${driver} does not take ${fn.bdf} (class ${fn.spec.class ?? 'unknown'}, vendor ${fn.spec.vendor ?? 'unknown'})`,
      );
    const current = this.bound.get(fn.bdf);
    if (current) return refuse('EBUSY', where, `${fn.bdf} has driver ${current}: unbind it first`);
    const refusal =
      driver === 'vfio-pci'
        ? this._kernel.vfio.probe(fn)
        : MANAGES_DMA.has(driver)
          ? null
          : this._kernel.iommu.groupOf(fn).useDefaultDomain();
    if (refusal) {
      this._kernel.emit(
        'driver.probe',
        `probe of ${fn.bdf} by ${driver} failed with error -${ERRNO[refusal.errno]}`,
        {
          bdf: fn.bdf,
          driver,
          errno: refusal.errno,
        },
        refusal.rule,
      );
      return refusal;
    }
    this.bound.set(fn.bdf, driver);
    this._kernel.emit('driver.bind', `${driver} drives ${fn.bdf}`, { bdf: fn.bdf, driver });
    return null;
  }

  /** `unbind`: ENODEV not on that driver; `blocked` while files of its VFIO device are open. */
  unbind(fn: PciFunction, driver: string | undefined): { blocked: boolean } | Refusal {
    const current = this.bound.get(fn.bdf);
    if (!current || (driver !== undefined && driver !== current))
      return refuse('ENODEV', 'unbind_store', `${fn.bdf} is not on driver ${driver ?? ''}`.trim());
    const device = this._kernel.vfio.devices.get(fn.bdf);
    if (device && device.files.length > 0) {
      device.unbinding = true;
      this._kernel.vfio.groupShrank(fn);
      this._kernel.emit('driver.unbinding', `${fn.bdf}: unbind waits for ${device.files.length} open files`, {
        bdf: fn.bdf,
        driver: current,
      });
      return { blocked: true };
    }
    this.finishUnbind(fn);
    return { blocked: false };
  }

  finishUnbind(fn: PciFunction): void {
    const driver = this.bound.get(fn.bdf)!;
    this.bound.delete(fn.bdf);
    if (driver === 'vfio-pci') this._kernel.vfio.remove(fn);
    else if (!MANAGES_DMA.has(driver)) this._kernel.iommu.groupOf(fn).unuseDefaultDomain();
    this._kernel.emit('driver.unbind', `${driver} has let go of ${fn.bdf}`, { bdf: fn.bdf, driver });
  }

  /** At boot: built-in drivers probe what they fit, in order of address; a failure leaves the function driverless. */
  autoprobe(): void {
    for (const bdf of [...this._kernel.machine.functions.keys()].sort())
      for (const driver of this._kernel.boot.builtinDrivers) {
        const fn = this._kernel.machine.functions.get(bdf)!;
        if (!this.bound.has(bdf) && fits(fn, driver)) this.bind(fn, driver);
      }
  }
}
