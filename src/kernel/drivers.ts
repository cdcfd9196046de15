/**
 * Drivers of PCI functions, as sysfs sees them (drivers/base/{dd,bus}.c): match, probe, unbind, and removal. Any name is a
 * driver. Those that use the DMA API ask for the default domain first; VFIO's, pci-stub and the port driver manage DMA
 * themselves and do not.
 */
import type { PciFunction } from '../machine/pci/function.ts';
import { ERRNO, type Refusal, refuse } from './errno.ts';
import type { VfioKernel } from './vfio/vfio.ts';

interface Match {
  /** Prefixes of the class that the driver takes. */
  classes?: readonly string[];
  vendor?: string;
}

/** vfio-pci, and drivers made of its core for one kind of device, such as mlx5_vfio_pci. */
const VFIO_DRIVER = /(^|[-_])vfio[-_]pci$/;

/** Drivers that manage DMA themselves (driver_managed_dma), beside those of VFIO. */
const MANAGES_DMA: ReadonlySet<string> = new Set(['pci-stub', 'pcieport']);

const INTEL_NETWORK: Match = { classes: ['02'], vendor: '8086' };

/**
 * The functions that drivers take whose tables of ids leave no doubt. An unknown class or vendor fits all of them; a driver
 * that is not listed may take any function.
 */
const MATCHES: ReadonlyMap<string, Match> = new Map(
  Object.entries<Match>({
    'vfio-pci': {},
    'pci-stub': {},
    pcieport: { classes: ['0604', '0807'] },
    // Apple's have a class of their own.
    nvme: { classes: ['0108', '0180'] },
    ahci: { classes: ['0101', '0104', '0106', '0180'] },
    vmd: { classes: ['0104'], vendor: '8086' },
    mpt3sas: { classes: ['01'] },
    megaraid_sas: { classes: ['01'] },
    e1000: INTEL_NETWORK,
    e1000e: INTEL_NETWORK,
    igb: INTEL_NETWORK,
    igbvf: INTEL_NETWORK,
    igc: INTEL_NETWORK,
    ixgbe: INTEL_NETWORK,
    ixgbevf: INTEL_NETWORK,
    i40e: INTEL_NETWORK,
    iavf: INTEL_NETWORK,
    ice: INTEL_NETWORK,
    iwlwifi: INTEL_NETWORK,
    bnxt_en: { classes: ['02'], vendor: '14e4' },
    mlx5_core: { classes: ['02'], vendor: '15b3' },
    r8169: { classes: ['02'] },
    'virtio-pci': { vendor: '1af4' },
    xhci_hcd: { classes: ['0c03'] },
    'ehci-pci': { classes: ['0c03'] },
    snd_hda_intel: { classes: ['0401', '0403'] },
    i801_smbus: { classes: ['0c05'], vendor: '8086' },
    lpc_ich: { classes: ['0601'], vendor: '8086' },
    i915: { classes: ['03'], vendor: '8086' },
    xe: { classes: ['03'], vendor: '8086' },
    // Accelerators without a display are of class 12.
    amdgpu: { classes: ['03', '12'], vendor: '1002' },
    nouveau: { classes: ['03'], vendor: '10de' },
    nvidia: { classes: ['03'], vendor: '10de' },
    'nvidia-gpu': { classes: ['0c80'], vendor: '10de' },
  }),
);

/** Whether it asks for the default domain of its functions' group. */
export const usesDmaApi = (driver: string): boolean => !VFIO_DRIVER.test(driver) && !MANAGES_DMA.has(driver);

function takes(driver: string, { spec }: PciFunction): boolean {
  if (spec.provenDriver === driver) return true;
  const { classes, vendor } = MATCHES.get(driver) ?? {};
  if (vendor && spec.vendor !== null && spec.vendor !== vendor) return false;
  return !classes || spec.class === null || classes.some((prefix) => spec.class!.startsWith(prefix));
}

export class Drivers {
  private readonly _kernel: VfioKernel;
  readonly bound = new Map<string, string>();

  constructor(kernel: VfioKernel) {
    this._kernel = kernel;
  }

  /**
   * driver_override, which makes any driver match, then `bind` (bind_store). EBUSY the function has a driver, or its DMA is
   * owned (R5); ENODEV it is no device of this driver; a VFIO driver: the errnos of `Vfio.probe`.
   */
  bind(fn: PciFunction, driver: string): Refusal | null {
    const current = this.bound.get(fn.bdf);
    if (current) return refuse('EBUSY', 'bind_store', `${fn.bdf} has driver ${current}: unbind it first`);
    const refusal = this._probe(fn, driver);
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

  /** really_probe: ownership of the DMA comes first (dma_configure), then the driver looks at the device. */
  private _probe(fn: PciFunction, driver: string): Refusal | null {
    if (VFIO_DRIVER.test(driver)) return this._kernel.vfio.probe(fn);
    const group = MANAGES_DMA.has(driver) ? null : this._kernel.iommu.groupOf(fn);
    const refusal = group?.useDefaultDomain();
    if (refusal) return refusal;
    if (takes(driver, fn)) return null;
    group?.unuseDefaultDomain();
    const { class: code, vendor } = fn.spec;
    const what = `class ${code ?? 'unknown'}, vendor ${vendor ?? 'unknown'}`;
    return refuse('ENODEV', 'bind_store', `${driver} is no driver of such a function: ${fn.bdf} has ${what}`);
  }

  /**
   * `unbind` (unbind_store). ENODEV not on that driver. `blocked`: it waits until the open files of its VFIO device are
   * closed.
   */
  unbind(fn: PciFunction, driver: string | undefined): { blocked: boolean } | Refusal {
    const current = this.bound.get(fn.bdf);
    if (!current) return refuse('ENODEV', 'unbind_store', `${fn.bdf} is on no driver`);
    if (driver !== undefined && driver !== current)
      return refuse('ENODEV', 'unbind_store', `${fn.bdf} is on driver ${current}, not on ${driver}`);
    if (this._waits(fn, 'unbind')) return { blocked: true };
    this.finishUnbind(fn);
    return { blocked: false };
  }

  /** `remove` (pci_stop_and_remove_bus_device): the driver is unbound first, which may wait as `unbind` does. */
  remove(fn: PciFunction): { blocked: boolean } {
    if (this.bound.has(fn.bdf)) {
      if (this._waits(fn, 'removal')) {
        this._kernel.vfio.devices.get(fn.bdf)!.removing = true;
        return { blocked: true };
      }
      this.finishUnbind(fn);
    }
    this._kernel.removeFunction(fn);
    return { blocked: false };
  }

  /** Whether files of its VFIO device are open. If so, no other one can be opened from now on. */
  private _waits(fn: PciFunction, what: 'unbind' | 'removal'): boolean {
    const device = this._kernel.vfio.devices.get(fn.bdf);
    if (!device || device.files.size === 0) return false;
    // vfio_pci_core_request
    if (!device.unbinding) device.pci?.irqs.request?.signal();
    device.unbinding = true;
    this._kernel.vfio.groupShrank(fn);
    this._kernel.emit('driver.unbinding', `${fn.bdf}: ${what} waits for ${device.files.size} open files`, {
      bdf: fn.bdf,
      driver: this.bound.get(fn.bdf)!,
    });
    return true;
  }

  /** Unbinds the driver, with no file of its VFIO device open. */
  finishUnbind(fn: PciFunction): void {
    const driver = this.bound.get(fn.bdf)!;
    this.bound.delete(fn.bdf);
    if (VFIO_DRIVER.test(driver)) this._kernel.vfio.remove(fn);
    else if (!MANAGES_DMA.has(driver)) this._kernel.iommu.groupOf(fn)?.unuseDefaultDomain();
    this._kernel.emit('driver.unbind', `${driver} has let go of ${fn.bdf}`, { bdf: fn.bdf, driver });
  }

  /**
   * At boot: built-in drivers probe the functions that they take, in order of address; a failed probe leaves a function
   * without a driver. A driver that is not in MATCHES probes the functions of unknown class.
   */
  autoprobe(): void {
    for (const bdf of [...this._kernel.machine.functions.keys()].sort())
      for (const driver of this._kernel.boot.builtinDrivers) {
        const fn = this._kernel.machine.functions.get(bdf)!;
        const listed = MATCHES.has(driver) ? takes(driver, fn) : fn.spec.class === null;
        if (!listed || this.bound.has(bdf)) continue;
        const refusal = this.bind(fn, driver);
        if (refusal && this._kernel.restored.waiting(fn)) this._tellRefused(fn, driver, refusal);
      }
  }

  private _tellRefused({ bdf }: PciFunction, driver: string, { errno, rule }: Refusal): void {
    this._kernel.emit(
      'hazard',
      `${driver}, which is built into this kernel, cannot have ${bdf}: its restored domain is attached`,
      { hazard: 'probe-refused', bdf, driver, errno },
      rule,
    );
  }
}
