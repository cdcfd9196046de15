/**
 * The configuration space of a function as hardware has it: what it reads, and which bits of a write it keeps. Only what
 * differs from the time after boot takes room.
 */
import type { ConfigSpec, FunctionSpec } from '../spec.ts';
import type { Found } from './capabilities.ts';
import { type Layout, layoutOf } from './config-layout.ts';
import { defaultConfig } from './default-config.ts';
import {
  CAP,
  COMMAND,
  COMMAND_INTX_DISABLE,
  COMMAND_IO,
  COMMAND_MASTER,
  COMMAND_MEMORY,
  HEADER_BYTES,
  INTERRUPT_PIN,
  MSI_ENABLE,
  MSI_ENABLED_VECTORS,
  MSI_FLAGS,
  MSIX_ENABLE,
  MSIX_FLAGS,
  PM_CAPABILITIES,
  PM_CONTROL,
  PM_D1,
  PM_D2,
  PM_STATE,
  read32,
} from './registers.ts';

/** How many bytes of a word an access takes. It lies within an aligned word of four bytes. */
export type Width = 1 | 2 | 4;

export class ConfigSpace {
  static readonly caches = { _spec: () => null, _layout: () => null };

  private readonly _fn: FunctionSpec;
  /** Aligned words of four bytes that differ from what they are after boot, by their number; null: none does. */
  private _changed: Map<number, number> | null = null;
  private _spec: ConfigSpec | null = null;
  private _layout: Layout | null = null;

  constructor(fn: FunctionSpec) {
    this._fn = fn;
  }

  /** What it is made from. */
  get spec(): ConfigSpec {
    this._spec ??= this._fn.config ?? defaultConfig(this._fn);
    return this._spec;
  }

  /** Bytes: 256, or 4096. */
  get size(): number {
    return this.spec.size;
  }

  /** The capabilities of hardware in the order of their chain. */
  get capabilities(): readonly Found[] {
    return this._registers.capabilities;
  }

  /** Reads `width` bytes at `at`, little-endian; zeros where nothing is. */
  read(at: number, width: Width): number {
    return cut(this._word(at >>> 2) >>> (8 * (at & 3)), width);
  }

  /** Writes `width` bytes at `at`, little-endian: bits that no register implements are dropped. */
  write(at: number, width: Width, value: number): void {
    const { kept } = this._registers;
    const shift = 8 * (at & 3);
    // What lies behind the registers belongs to nobody, and keeps all.
    const implemented = (at & ~3) < kept.length ? read32(kept, at & ~3) : 0xffffffff;
    this._change(at >>> 2, implemented & (cut(0xffffffff, width) << shift), value << shift);
  }

  /** All of its bytes as they are now. */
  bytes(): Uint8Array {
    const bytes = new Uint8Array(this.size);
    bytes.set(this._registers.bytes.subarray(0, this.size));
    const view = new DataView(bytes.buffer);
    for (const [index, word] of this._changed ?? []) view.setUint32(4 * index, word, true);
    return bytes;
  }

  /** D0 to D3hot: 0 to 3. 0 without power management. */
  get powerState(): number {
    const pm = this._find(CAP.PM);
    return pm === null ? 0 : this.read(pm + PM_CONTROL, 2) & PM_STATE;
  }

  /**
   * pci_set_power_state: puts it to sleep or wakes it up. States that it has not got, and deeper ones than D0 from a deeper
   * one, are refused silently.
   */
  setPowerState(state: number): void {
    const pm = this._find(CAP.PM);
    if (pm === null) return;
    const has = this.read(pm + PM_CAPABILITIES, 2);
    if ((state === 1 && !(has & PM_D1)) || (state === 2 && !(has & PM_D2))) return;
    if (state !== 0 && this.powerState > state) return;
    this.write(pm + PM_CONTROL, 2, (this.read(pm + PM_CONTROL, 2) & ~PM_STATE) | state);
  }

  /** Whether it may do DMA and send messages. */
  get busMaster(): boolean {
    return (this.read(COMMAND, 2) & COMMAND_MASTER) !== 0;
  }

  /** Whether it answers at its I/O ports. */
  get ioEnabled(): boolean {
    return (this.read(COMMAND, 2) & COMMAND_IO) !== 0;
  }

  /**
   * The registers of interrupts as a kernel sets them that has enabled these vectors of MSI or MSI-X, or none:
   * INTx is off meanwhile.
   */
  setMessages(type: 'msi' | 'msix' | null, vectors: number): void {
    // After boot none are enabled.
    if (type === null && this._changed === null) return;
    const msi = this._find(CAP.MSI);
    const msix = this._find(CAP.MSIX);
    if (msi !== null)
      this._change(
        (msi + MSI_FLAGS) >>> 2,
        (MSI_ENABLE | MSI_ENABLED_VECTORS) << 16,
        type === 'msi' ? (MSI_ENABLE | (Math.ceil(Math.log2(vectors)) << 4)) << 16 : 0,
      );
    if (msix !== null)
      this._change((msix + MSIX_FLAGS) >>> 2, MSIX_ENABLE << 16, type === 'msix' ? MSIX_ENABLE << 16 : 0);
    if (this.read(INTERRUPT_PIN, 1) !== 0)
      this._change(COMMAND >>> 2, COMMAND_INTX_DISABLE, type === null ? 0 : COMMAND_INTX_DISABLE);
  }

  /**
   * As a driver finds it that enables it: awake, no bus master, INTx on, and answering where it has base address registers
   * (pci_enable_device).
   */
  enable(): void {
    this.setPowerState(0);
    const { bars } = this.spec;
    const io = bars.some(({ kind }) => kind === 'io') ? COMMAND_IO : 0;
    const memory = bars.some(({ kind, index }) => kind !== 'io' && index < 6) ? COMMAND_MEMORY : 0;
    const command = this.read(COMMAND, 2) & ~(COMMAND_MASTER | COMMAND_INTX_DISABLE);
    this.write(COMMAND, 2, command | io | memory);
  }

  /**
   * What a reset leaves. Linux saves the registers before it, and writes them back behind it (pci_save_state,
   * pci_restore_state), so that most are as they were. It is awake then, and messages that are not enabled are forgotten.
   */
  reset(): void {
    this.setPowerState(0);
    const msi = this._find(CAP.MSI);
    if (msi !== null && !(this.read(msi + MSI_FLAGS, 2) & MSI_ENABLE)) this._forget(msi, this._end(msi));
  }

  /**
   * As its driver found it: what is written back when a device is closed (pci_load_saved_state). What no register keeps
   * for a driver, and what is the vendor's own, stays as it is.
   */
  restore(): void {
    const own = [...this.capabilities.filter(({ id }) => id !== CAP.VENDOR), ...this._registers.extendedCapabilities];
    this._forget(0, HEADER_BYTES);
    for (const { offset, length } of own) this._forget(offset, offset + length);
    this.write(COMMAND, 2, this.read(COMMAND, 2) & ~COMMAND_MASTER);
    this.forget();
  }

  /** Lets go of what can be found again: nobody reads it for a while. */
  forget(): void {
    this._spec = null;
    this._layout = null;
  }

  /** What it is like after boot. */
  powerOn(): void {
    this._changed = null;
  }

  private get _registers(): Layout {
    this._layout ??= layoutOf(this._fn, this.spec);
    return this._layout;
  }

  private _find(id: number): number | null {
    return this.capabilities.find((capability) => capability.id === id)?.offset ?? null;
  }

  private _end(offset: number): number {
    return offset + this.capabilities.find((capability) => capability.offset === offset)!.length;
  }

  private _word(index: number): number {
    return this._changed?.get(index) ?? read32(this._registers.bytes, 4 * index);
  }

  /** Sets the bits of `mask` in a word. */
  private _change(index: number, mask: number, value: number): void {
    const word = ((this._word(index) & ~mask) | (value & mask)) >>> 0;
    if (word !== read32(this._registers.bytes, 4 * index)) {
      this._changed ??= new Map();
      this._changed.set(index, word);
    } else if (this._changed?.delete(index) && this._changed.size === 0) this._changed = null;
  }

  /** Bytes [start, end) are as after boot again. */
  private _forget(start: number, end: number): void {
    for (const index of [...(this._changed?.keys() ?? [])]) {
      const from = Math.max(start, 4 * index);
      const to = Math.min(end, 4 * index + 4);
      if (from >= to) continue;
      const mask = cut(0xffffffff, (to - from) as Width) << (8 * (from & 3));
      this._change(index, mask, read32(this._registers.bytes, 4 * index));
    }
  }
}

/** The low `width` bytes of a word. */
const cut = (word: number, width: number): number => (width === 4 ? word >>> 0 : word & (2 ** (8 * width) - 1));
