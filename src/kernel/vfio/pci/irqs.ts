/**
 * The interrupts of an open device: which type is enabled, and whose eventfds are signalled (struct vfio_pci_irq_ctx and
 * its kin, drivers/vfio/pci/vfio_pci_intrs.c). One of INTx, MSI and MSI-X is enabled at a time.
 */
import { Refusal, refuse } from '../../errno.ts';
import { type Eventfd, eventfdOf } from '../../eventfd.ts';
import type { Process } from '../../process.ts';
import { Virqfd } from '../virqfd.ts';
import type { VfioDevice } from '../vfio.ts';

export type IrqType = 'intx' | 'msi' | 'msix';

/** Unmasks INTx as soon as its eventfd is signalled, and with every signal (vfio_pci_intx_unmask_handler). */
class IntxUnmask extends Virqfd {
  private readonly _irqs: VfioPciIrqs;

  constructor(irqs: VfioPciIrqs) {
    super();
    this._irqs = irqs;
  }

  protected run(): void {
    this._irqs.unmaskIntx();
  }
}

export class VfioPciIrqs {
  private readonly _device: VfioDevice;
  private _type: IrqType | null = null;
  private _allocated = 0;
  /** By vector; that of INTx is vector 0. */
  private readonly _triggers = new Map<number, Eventfd>();
  private _intxMasked = false;
  private _intxDisabled = false;
  private _intxPending = false;
  readonly intxUnmask = new IntxUnmask(this);
  /** Told of errors that the device reports, and that its driver wants it back. */
  error: Eventfd | null = null;
  request: Eventfd | null = null;

  constructor(device: VfioDevice) {
    this._device = device;
  }

  /** The type that is enabled. */
  get type(): IrqType | null {
    return this._type;
  }

  /** How many vectors of MSI were allocated when it was enabled: it cannot grow. 0: MSI is not enabled. */
  get allocated(): number {
    return this._allocated;
  }

  /** INTx is raised no further, until its user unmasks it. */
  get intxMasked(): boolean {
    return this._intxMasked;
  }

  /** The device has raised INTx while it was masked. */
  get intxPending(): boolean {
    return this._intxPending;
  }

  trigger(vector: number): Eventfd | undefined {
    return this._triggers.get(vector);
  }

  /**
   * The INTx disable bit of the command register, as the user has written it (vdev->virq_disabled): masks or unmasks INTx.
   */
  setIntxDisabled(disabled: boolean): void {
    if (disabled === this._intxDisabled) return;
    this._intxDisabled = disabled;
    if (disabled) this.maskIntx();
    else this.unmaskIntx();
  }

  /** vfio_intx_enable. `trigger` null: enabled, and nobody is told. */
  enableIntx(trigger: Eventfd | null): void {
    this._type = 'intx';
    this._intxMasked = this._intxDisabled;
    this.setIntxTrigger(trigger);
  }

  setIntxTrigger(trigger: Eventfd | null): void {
    if (trigger) this._triggers.set(0, trigger);
    else this._triggers.delete(0);
  }

  /** vfio_pci_intx_mask. */
  maskIntx(): void {
    if (this._type === 'intx') this._intxMasked = true;
  }

  /** vfio_pci_intx_unmask: what is pending is signalled instead, and INTx stays masked. */
  unmaskIntx(): void {
    if (this._type !== 'intx' || !this._intxMasked || this._intxDisabled) return;
    if (this._intxPending) this.sendIntx();
    else this._intxMasked = false;
  }

  /** vfio_send_intx_eventfd: masked or not, but not with the INTx disable bit. Returns whether somebody was told. */
  sendIntx(): boolean {
    const trigger = this._triggers.get(0);
    if (this._type !== 'intx' || this._intxDisabled || !trigger) return false;
    this._intxPending = false;
    trigger.signal();
    return true;
  }

  /** vfio_msi_enable, with vectors allocated and none of them signalling anything yet. */
  enableMsi(type: 'msi' | 'msix', vectors: number): void {
    this._type = type;
    if (type === 'msix') return;
    this._allocated = vectors;
    this._device.msiQmax = Math.ceil(Math.log2(vectors));
  }

  /**
   * vfio_msi_set_vector_signal: what the vector signals from now on; a negative descriptor: nothing. EINVAL: MSI was enabled
   * with fewer vectors, or not an eventfd; EBADF. The vector signals nothing after a refusal.
   */
  setVector(process: Process, vector: number, fd: number): Refusal | null {
    const had = this._triggers.delete(vector);
    if (fd < 0) return null;
    if (!had && this._type === 'msi' && vector >= this._allocated)
      return refuse(
        'EINVAL',
        'vfio_msi_set_vector_signal',
        `MSI was enabled with ${this._allocated} vectors and cannot grow: disable it first`,
      );
    const trigger = eventfdOf(process, fd);
    if (trigger instanceof Refusal) return trigger;
    this._triggers.set(vector, trigger);
    return null;
  }

  /** vfio_intx_disable, vfio_msi_disable. */
  disable(): void {
    this.intxUnmask.disable();
    this._triggers.clear();
    this._type = null;
    this._allocated = 0;
    this._intxMasked = false;
    this._intxPending = false;
  }
}
