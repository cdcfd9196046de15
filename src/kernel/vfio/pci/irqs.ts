/**
 * The interrupts of an open device: which type is enabled, and whose eventfds are signalled (struct vfio_pci_irq_ctx and
 * its kin, drivers/vfio/pci/vfio_pci_intrs.c). One of INTx, MSI and MSI-X is enabled at a time.
 */
import { holdsIntx } from '../../../machine/pci/bar-memory.ts';
import { msixOf, tableIn, VECTOR_BYTES } from '../../../machine/pci/msix.ts';
import {
  isVectorMasked,
  isVectorPending,
  maskVector,
  setVectorPending,
  writeMessage,
} from '../../../machine/pci/msix-vectors.ts';
import { Refusal, refuse } from '../../errno.ts';
import { type Eventfd, eventfdOf } from '../../eventfd.ts';
import type { Process } from '../../process.ts';
import type { VfioDevice } from '../vfio.ts';
import { Virqfd } from '../virqfd.ts';

export const IRQ_TYPES = ['intx', 'msi', 'msix'] as const;
export type IrqType = (typeof IRQ_TYPES)[number];

/**
 * Where messages of MSI and MSI-X are written: the beginning of the window that x86 takes for interrupts. The data are the number
 * of the vector, as in a table of interrupt remapping that each function has for itself.
 */
export const MESSAGE_ADDRESS = 0xfee00000n;

/** Unmasks INTx as soon as its eventfd is signalled, and with every signal (vfio_pci_intx_unmask_handler). */
export class IntxUnmask extends Virqfd {
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
  /** Vectors of MSI or MSI-X that have a message. */
  private readonly _allocated = new Set<number>();
  /** By vector; that of INTx is vector 0. */
  private readonly _triggers = new Map<number, Eventfd>();
  private _intxMasked = false;
  private _intxDisabled = false;
  /** The device has raised INTx and nobody was told. */
  private _intxPending = false;
  readonly intxUnmask = new IntxUnmask(this);
  /** Told of errors that the device reports, and that its driver is to let it go. */
  error: Eventfd | null = null;
  request: Eventfd | null = null;

  constructor(device: VfioDevice) {
    this._device = device;
  }

  /** The type that is enabled. */
  get type(): IrqType | null {
    return this._type;
  }

  get intxMasked(): boolean {
    return this._intxMasked;
  }

  trigger(vector: number): Eventfd | undefined {
    return this._triggers.get(vector);
  }

  /** Whether a vector of MSI or MSI-X has a message: MSI, all those that it was enabled with. */
  isAllocated(vector: number): boolean {
    return this._allocated.has(vector);
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
    if (this._isIntxPending && !this._intxMasked) this._deliverIntx();
  }

  /** Raised while nobody could be told, or held by the device itself. */
  private get _isIntxPending(): boolean {
    return this._intxPending || holdsIntx(this._device.fn);
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
    if (!this._isIntxPending) this._intxMasked = false;
    else if (this.sendIntx()) this._tellOfPending(0);
  }

  /** vfio_send_intx_eventfd: masked or not, but not with the INTx disable bit. Returns whether somebody was told. */
  sendIntx(): boolean {
    const trigger = this._triggers.get(0);
    if (this._type !== 'intx' || this._intxDisabled || !trigger) return false;
    this._intxPending = false;
    trigger.signal();
    return true;
  }

  /**
   * The device raises INTx, which is enabled, and masked with every interrupt until its user unmasks it (vfio_intx_handler).
   * Returns whether somebody was told; if not, it is pending.
   */
  raiseIntx(): boolean {
    if (!holdsIntx(this._device.fn)) this._intxPending = true;
    return !this._intxMasked && this._deliverIntx();
  }

  private _deliverIntx(): boolean {
    this._intxMasked = true;
    return this.sendIntx();
  }

  /** vfio_msi_enable: `vectors` from 0 on get messages, and signal nothing yet. */
  enableMsi(type: 'msi' | 'msix', vectors: number): void {
    this._type = type;
    if (type === 'msi') this._device.msiQmax = Math.ceil(Math.log2(vectors));
    this._device.fn.config.setMessages(type, vectors);
    for (let vector = 0; vector < vectors; vector++) this._allocate(vector);
  }

  private _allocate(vector: number): void {
    this._allocated.add(vector);
    this._writeMessage(vector);
  }

  /** Those of MSI are all made of one, which its capability holds. */
  private _writeMessage(vector: number): void {
    if (this._type === 'msix') writeMessage(this._device.fn, vector, MESSAGE_ADDRESS, vector);
  }

  /**
   * vfio_msi_set_vector_signal: what the vector signals from now on; a negative descriptor: nothing. EINVAL: MSI was enabled
   * with fewer vectors, or not an eventfd; EBADF. The vector signals nothing after a refusal.
   */
  setVector(process: Process, vector: number, fd: number): Refusal | null {
    this._mask(vector, true);
    this._triggers.delete(vector);
    if (fd < 0) return null;
    if (!this._allocated.has(vector)) {
      if (this._type === 'msi')
        return refuse(
          'EINVAL',
          'vfio_msi_set_vector_signal',
          `MSI was enabled with ${this._allocated.size} vectors and cannot grow: disable it first`,
        );
      this._allocate(vector);
    }
    const trigger = eventfdOf(process, fd);
    if (trigger instanceof Refusal) return trigger;
    // Linux writes the message anew: something may have changed it behind its back.
    this._writeMessage(vector);
    this._triggers.set(vector, trigger);
    this._mask(vector, false);
    return null;
  }

  /** A vector of MSI-X is masked by the kernel while it has no eventfd. */
  private _mask(vector: number, masked: boolean): void {
    if (this._type !== 'msix') return;
    maskVector(this._device.fn, vector, masked);
    this._signalPending(vector);
  }

  /** Bytes of a BAR were stored: what is pending of vectors that are no longer masked by them is signalled. */
  barWritten(bar: number, start: number, length: number): void {
    const table = tableIn(msixOf(this._device.fn), bar);
    const [first, end] = [Math.max(start, table.start), Math.min(start + length, table.end)];
    for (let at = first; at < end; at += VECTOR_BYTES)
      this._signalPending(Math.floor((at - table.start) / VECTOR_BYTES));
    if (first < end) this._signalPending(Math.floor((end - 1 - table.start) / VECTOR_BYTES));
  }

  /** Signals what is pending of a vector of MSI-X that is not masked. */
  private _signalPending(vector: number): void {
    const { fn } = this._device;
    const trigger = this._type === 'msix' ? this._triggers.get(vector) : undefined;
    if (!trigger || isVectorMasked(fn, vector) || !isVectorPending(fn, vector)) return;
    setVectorPending(fn, vector, false);
    trigger.signal();
    this._tellOfPending(vector);
  }

  private _tellOfPending(vector: number): void {
    const { fn, kernel } = this._device;
    const type = this._type!;
    const data = { bdf: fn.bdf, type, vector, delivered: true, pending: false };
    kernel.emit('vfio.interrupt', `${fn.bdf}: ${type} ${vector} is unmasked, and what was pending is delivered`, data);
  }

  /** The function was reset: interrupts stay enabled, and its table of MSI-X is written again (pci_restore_msi_state). */
  deviceReset(): void {
    this._intxPending = false;
    if (this._type !== 'msix') return;
    for (const vector of this._allocated) {
      this._writeMessage(vector);
      maskVector(this._device.fn, vector, !this._triggers.has(vector));
    }
  }

  /** vfio_intx_disable, vfio_msi_disable. */
  disable(): void {
    const { fn } = this._device;
    this.intxUnmask.disable();
    if (this._type === 'msix')
      for (const vector of this._allocated) {
        maskVector(fn, vector, true);
        writeMessage(fn, vector, 0n, 0);
      }
    if (this._type === 'msi' || this._type === 'msix') fn.config.setMessages(null, 0);
    this._triggers.clear();
    this._allocated.clear();
    this._type = null;
    this._intxMasked = false;
    this._intxPending = false;
  }
}
