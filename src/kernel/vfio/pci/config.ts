/**
 * The configuration space as a program sees it: region 7 of a device (drivers/vfio/pci/vfio_pci_config.c). An access is
 * taken apart into words that lie within one capability; tables say which of their bits are hardware's and which a copy.
 */
import type { Width } from '../../../machine/pci/config-space.ts';
import type { PciFunction } from '../../../machine/pci/function.ts';
import {
  BAR_64,
  BAR_IO,
  BAR_PREFETCHABLE,
  BARS,
  CAP,
  COMMAND,
  COMMAND_INTX_DISABLE,
  COMMAND_IO,
  COMMAND_MEMORY,
  CONVENTIONAL_BYTES,
  EXPRESS_CONTROL,
  EXPRESS_DEVICE,
  EXPRESS_FLR,
  EXT,
  MSI_ENABLE,
  MSI_ENABLED_VECTORS,
  MSI_FLAGS,
  PM_CONTROL,
  PM_STATE,
  ROM,
  ROM_ENABLE,
  read16,
  read32,
  write16,
  write32,
} from '../../../machine/pci/registers.ts';
import { type Refusal, refuse } from '../../errno.ts';
import type { ReadOk } from '../../file.ts';
import { type ConfigArea, HEADER, mapConfig } from './config-map.ts';
import {
  AER_PERMS,
  AF_CAPABILITIES,
  AF_CONTROL,
  AF_CONTROL_FLR,
  AF_FLR,
  AF_PERMS,
  EXPRESS_CONTROL_FLR,
  EXPRESS_PERMS,
  HEADER_PERMS,
  msiPerms,
  PCIX_PERMS,
  type Perms,
  PM_PERMS,
  POWER_PERMS,
  VPD_PERMS,
} from './config-perms.ts';
import type { VfioPciCore } from './core.ts';

/** A word of an access. */
interface Word {
  pos: number;
  width: Width;
  area: ConfigArea;
  /** Bytes from the beginning of its area. */
  offset: number;
}

const NEXT = 1;
const PERMS: ReadonlyMap<number, Perms> = new Map([
  [HEADER, HEADER_PERMS],
  [CAP.PM, PM_PERMS],
  [CAP.VPD, VPD_PERMS],
  [CAP.PCIX, PCIX_PERMS],
  [CAP.EXPRESS, EXPRESS_PERMS],
  [CAP.AF, AF_PERMS],
]);
const EXTENDED_PERMS: ReadonlyMap<number, Perms> = new Map([
  [EXT.AER, AER_PERMS],
  [EXT.POWER, POWER_PERMS],
]);
/** Capabilities of vendors are written as they are. */
const RAW: readonly number[] = [CAP.VENDOR];
const EXTENDED_RAW: readonly number[] = [EXT.VENDOR, EXT.DVSEC];

const isExtended = ({ start }: ConfigArea): boolean => start >= CONVENTIONAL_BYTES;
const isBar = (pos: number): boolean => (pos >= BARS && pos < BARS + 24) || (pos >= ROM && pos < ROM + 4);

/** `width` bytes at `at`, little-endian, 0 behind the end. */
const get = (bytes: Uint8Array, at: number, width: Width): number =>
  width === 4 ? read32(bytes, at) : width === 2 ? read16(bytes, at) : (bytes[at] ?? 0);

export class VfioPciConfig {
  private readonly _core: VfioPciCore;
  /** What of the registers is not hardware's (vconfig). */
  private readonly _copy: Uint8Array;
  private readonly _areas: readonly ConfigArea[];

  /** vfio_config_init. `handedOver`: the copy that a kernel before this one kept for the program. */
  constructor(core: VfioPciCore, handedOver: Uint8Array | null) {
    this._core = core;
    const { areas, copy } = mapConfig(core.fn);
    this._areas = areas;
    this._copy = copy;
    if (!handedOver) return;
    copy.set(handedOver.subarray(0, copy.length));
    core.irqs.setIntxDisabled(this._intxDisabled);
  }

  /** The program's copy of registers, for the next kernel. */
  get copy(): Uint8Array {
    return this._copy;
  }

  /** Whether the program has memory on. The BARs of a virtual function are switched by the physical one. */
  get memoryEnabled(): boolean {
    return this._core.fn.spec.sriov === 'vf' || (read16(this._copy, COMMAND) & COMMAND_MEMORY) !== 0;
  }

  private get _intxDisabled(): boolean {
    return (read16(this._copy, COMMAND) & COMMAND_INTX_DISABLE) !== 0;
  }

  /** Reads the bytes from `pos` on, all of which are there. */
  read(pos: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const at = pos + done;
      const area = this._areaAt(at);
      const width = this._widthAt(at, bytes.length - done);
      const value = area
        ? this._read({ pos: at, width, area, offset: at - area.start })
        : this._fn.config.read(at, width);
      for (let byte = 0; byte < width; byte++) bytes[done + byte] = value >>> (8 * byte);
      done += width;
    }
  }

  /** Writes bytes from `pos` on, all of which are there. */
  write(pos: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const at = pos + done;
      const area = this._areaAt(at);
      const width = this._widthAt(at, bytes.length - done);
      const value = get(bytes, done, width);
      if (area) this._write({ pos: at, width, area, offset: at - area.start }, value);
      else this._fn.config.write(at, width, value);
      done += width;
    }
  }

  private get _fn(): PciFunction {
    return this._core.fn;
  }

  private _areaAt(pos: number): ConfigArea | undefined {
    return this._areas.find(({ start, end }) => pos >= start && pos < end);
  }

  /** How many of `count` bytes are one access: no more than lie in an aligned word of four and in one capability. */
  private _widthAt(pos: number, count: number): Width {
    const area = this._areaAt(pos);
    let left = 1;
    while ((pos + left) % 4 !== 0 && this._areaAt(pos + left) === area) left++;
    const most = Math.min(count, left);
    if (most >= 4 && pos % 4 === 0) return 4;
    return most >= 2 && pos % 2 === 0 ? 2 : 1;
  }

  /** Null: what is there can be read and not written. */
  private _permsOf(area: ConfigArea): Perms | null {
    if (isExtended(area)) return EXTENDED_PERMS.get(area.id) ?? null;
    if (area.id === CAP.MSI) return msiPerms(this._fn.config.read(area.start + MSI_FLAGS, 2));
    return PERMS.get(area.id) ?? null;
  }

  private _read(word: Word): number {
    const { pos, width, area, offset } = word;
    const perms = this._permsOf(area);
    if (!perms) return this._readDirect(word);
    if (area.id === HEADER && isBar(pos) && !isExtended(area)) this._fixBars();
    const virt = get(perms.virt, offset, width);
    const value = ((this._fn.config.read(pos, width) & ~virt) | (get(this._copy, pos, width) & virt)) >>> 0;
    const isCommand = area.id === HEADER && pos === COMMAND && !isExtended(area);
    if (!isCommand || this._fn.spec.sriov !== 'vf') return value;
    return value | (read16(this._copy, COMMAND) & COMMAND_MEMORY);
  }

  /** vfio_direct_config_read: hardware, but for the pointer to the next capability. */
  private _readDirect({ pos, width, area, offset }: Word): number {
    const value = this._fn.config.read(pos, width);
    if (isExtended(area)) return offset < 4 ? get(this._copy, pos, width) : value;
    if (offset === 0 && width > 1) return ((value & ~0xffff) | read16(this._copy, pos)) >>> 0;
    return offset === NEXT ? this._copy[pos]! : value;
  }

  private _write(word: Word, value: number): void {
    const { area } = word;
    if ((isExtended(area) ? EXTENDED_RAW : RAW).includes(area.id))
      return void this._fn.config.write(word.pos, word.width, value);
    const perms = this._permsOf(area);
    if (!perms) return;
    if (isExtended(area)) this._writeDefault(word, perms, value);
    else if (area.id === HEADER) this._writeHeader(word, perms, value);
    else {
      this._writeDefault(word, perms, value);
      if (area.id === CAP.PM) this._afterPm(word, value);
      else if (area.id === CAP.MSI) this._afterMsi(word);
      else if (area.id === CAP.EXPRESS) this._afterExpress(word);
      else if (area.id === CAP.AF) this._afterAf(word);
    }
  }

  /** vfio_default_config_write. */
  private _writeDefault({ pos, width, offset }: Word, perms: Perms, value: number): void {
    const write = get(perms.write, offset, width);
    const virt = get(perms.virt, offset, width);
    const copied = write & virt;
    for (let byte = 0; byte < width; byte++) {
      const mask = (copied >>> (8 * byte)) & 0xff;
      this._copy[pos + byte] = (this._copy[pos + byte]! & ~mask) | ((value >>> (8 * byte)) & mask);
    }
    const real = write & ~virt;
    if (real === 0) return;
    const { config } = this._fn;
    config.write(pos, width, (config.read(pos, width) & ~real) | (value & real));
  }

  /** vfio_basic_config_write: memory and ports are noted in the copy, and INTx is masked by its bit. */
  private _writeHeader(word: Word, perms: Perms, value: number): void {
    const { pos } = word;
    this._writeDefault(word, perms, value);
    if (pos === COMMAND) {
      const noted = COMMAND_MEMORY | COMMAND_IO;
      write16(this._copy, COMMAND, (read16(this._copy, COMMAND) & ~noted) | (value & noted));
    }
    if (pos === COMMAND || pos === COMMAND + 1) this._core.irqs.setIntxDisabled(this._intxDisabled);
  }

  /** vfio_bar_fixup: registers show the bits of an address that their size leaves, and what kind they are. */
  private _fixBars(): void {
    const copy = this._copy;
    const bars = this._fn.config.spec.bars.filter(({ address }) => BigInt(address) !== 0n);
    const isHigh = (index: number): boolean => bars.some((bar) => bar.kind === 'mem64' && bar.index + 1 === index);
    for (let index = 0; index < 7; index++) {
      const at = index < 6 ? BARS + 4 * index : ROM;
      const bar = bars.find((one) => one.index === index);
      if (!bar) {
        if (!isHigh(index)) write32(copy, at, 0);
        continue;
      }
      const mask = ~(BigInt(bar.size) - 1n);
      const low = Number(mask & 0xffffffffn);
      if (bar.kind === 'rom') {
        write32(copy, at, read32(copy, at) & (low | ROM_ENABLE));
        continue;
      }
      const memory = (bar.prefetchable ? BAR_PREFETCHABLE : 0) | (bar.kind === 'mem64' ? BAR_64 : 0);
      write32(copy, at, (read32(copy, at) & low) | (bar.kind === 'io' ? BAR_IO : memory));
      if (bar.kind === 'mem64') write32(copy, at + 4, read32(copy, at + 4) & Number((mask >> 32n) & 0xffffffffn));
    }
  }

  /** vfio_pm_config_write. */
  private _afterPm({ offset }: Word, value: number): void {
    if (offset === PM_CONTROL) this._fn.config.setPowerState(value & PM_STATE);
  }

  /** vfio_msi_config_write: MSI is enabled by SET_IRQS, with so many vectors at the most. */
  private _afterMsi({ area, offset, width }: Word): void {
    if (offset > MSI_FLAGS || offset + width < MSI_FLAGS) return;
    const at = area.start + MSI_FLAGS;
    let flags = read16(this._copy, at);
    if (this._core.irqs.type !== 'msi') flags &= ~MSI_ENABLE;
    const { msiQmax } = this._core.device;
    if ((flags & MSI_ENABLED_VECTORS) >> 4 > msiQmax) flags = (flags & ~MSI_ENABLED_VECTORS) | (msiQmax << 4);
    write16(this._copy, at, flags);
    this._fn.config.write(at, 2, flags);
  }

  /** vfio_exp_config_write: the bit of a function level reset is never seen set. */
  private _afterExpress({ area }: Word): void {
    const at = area.start + EXPRESS_CONTROL;
    const control = read16(this._copy, at);
    if ((control & EXPRESS_CONTROL_FLR) === 0) return;
    write16(this._copy, at, control & ~EXPRESS_CONTROL_FLR);
    if (this._fn.config.read(area.start + EXPRESS_DEVICE, 4) & EXPRESS_FLR) this._reset();
  }

  /** vfio_af_config_write. */
  private _afterAf({ area }: Word): void {
    const at = area.start + AF_CONTROL;
    if ((this._copy[at]! & AF_CONTROL_FLR) === 0) return;
    this._copy[at]! &= ~AF_CONTROL_FLR;
    if ((this._fn.config.read(area.start + AF_CAPABILITIES, 1) & AF_FLR) === AF_FLR) this._reset();
  }

  /** pci_try_reset_function. */
  private _reset(): void {
    if (this._fn.spec.reset) this._core.kernel.resetFunction(this._fn, 'FLR');
  }
}

/** vfio_pci_config_rw: reads from byte `pos` of the configuration space on. EFAULT: some of it is beyond the end. */
export function readConfig(core: VfioPciCore, pos: bigint, length: number): ReadOk | Refusal {
  const refusal = checkRange(core, pos, length);
  if (refusal) return refusal;
  const data = new Uint8Array(length);
  core.config.read(Number(pos), data);
  return { ret: length, data };
}

/** vfio_pci_config_rw: writes from byte `pos` on; returns how many bytes, which are all. EFAULT as above. */
export function writeConfig(core: VfioPciCore, pos: bigint, data: Uint8Array): number | Refusal {
  const refusal = checkRange(core, pos, data.length);
  if (refusal) return refusal;
  core.config.write(Number(pos), data);
  return data.length;
}

function checkRange({ fn }: VfioPciCore, pos: bigint, length: number): Refusal | null {
  const { size } = fn.config;
  if (pos + BigInt(length) <= BigInt(size)) return null;
  return refuse('EFAULT', 'vfio_config_do_rw', `the configuration space of ${fn.bdf} has ${size} bytes`);
}
