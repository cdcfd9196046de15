/**
 * Reads what `lspci` prints below a function with -v, -vv and -xxx of its configuration space: BARs, capabilities, and its
 * bytes. What it does not say is left to others, and so is whether all of it can be so.
 */
import { barsOfImage } from '../pci/image-spec.ts';
import { CAP, CONVENTIONAL_BYTES, EXPRESS_BYTES, EXT } from '../pci/registers.ts';
import type { BarSpec, CapabilitySpec, ConfigSpec, ExtendedCapabilitySpec } from '../spec.ts';

/** What a text says of a configuration space. */
export type SaidConfig = Partial<ConfigSpec>;

const BAR =
  /^(?:Region (\d): )?(?:\[virtual\] )?(Memory|I\/O ports) at (?:([0-9a-f]{1,16})|<[a-z]+>)(?: \(([^()]{1,40})\))?[^(]*\[size=(\d{1,4})([KMGT]?)\]$/;
const ROM = /^(?:\[virtual\] )?Expansion ROM at (?:([0-9a-f]{1,16})|<[a-z]+>)[^(]*\[size=(\d{1,4})([KMGT]?)\]$/;
const CAPABILITY = /^Capabilities: \[([0-9a-f]{2,3})(?: v(\d{1,2}))?\] (.*)$/;
const TABLE = /^(Vector table|PBA): BAR=(\d) offset=([0-9a-f]{1,8})$/;
const PIN = /^Interrupt: pin ([A-D]) /;
const SUBSYSTEM = /^Subsystem: .*\[([0-9a-f]{4}):([0-9a-f]{4})\]$/;
/** A line of a dump: 16 bytes at a multiple of 16. */
const DUMP = /^([0-9a-f]{1,2}0): ((?:[0-9a-f]{2} ){15}[0-9a-f]{2})$/;

const UNITS: Readonly<Record<string, bigint>> = { '': 1n, K: 1n << 10n, M: 1n << 20n, G: 1n << 30n, T: 1n << 40n };

/** What lspci calls capabilities (ls-caps.c, ls-ecaps.c of pciutils), by the beginning of their lines. */
const NAMES: readonly (readonly [string, number])[] = [
  ['Power Management', CAP.PM],
  ['AGP', CAP.AGP],
  ['Vital Product Data', CAP.VPD],
  ['MSI:', CAP.MSI],
  ['MSI-X:', CAP.MSIX],
  ['PCI-X', CAP.PCIX],
  ['HyperTransport', CAP.HT],
  ['Vendor Specific', CAP.VENDOR],
  ['Debug port', 0x0a],
  ['Subsystem:', 0x0d],
  ['Express', CAP.EXPRESS],
  ['SATA', CAP.SATA],
  ['PCI Advanced Features', CAP.AF],
  ['Enhanced Allocation', 0x14],
];
const EXTENDED_NAMES: readonly (readonly [string, number])[] = [
  ['Advanced Error Reporting', EXT.AER],
  ['Virtual Channel', EXT.VC],
  ['Device Serial Number', EXT.SERIAL],
  ['Power Budgeting', EXT.POWER],
  ['Vendor Specific', EXT.VENDOR],
  ['Access Control Services', EXT.ACS],
  ['Alternative Routing-ID', EXT.ARI],
  ['Address Translation Service', EXT.ATS],
  ['Single Root I/O Virtualization', EXT.SRIOV],
  ['Multicast', EXT.MULTICAST],
  ['Page Request Interface', EXT.PRI],
  ['Physical Resizable BAR', EXT.RESIZABLE_BAR],
  ['Resizable BAR', EXT.RESIZABLE_BAR],
  ['Dynamic Power Allocation', EXT.DPA],
  ['Transaction Processing Hints', EXT.TPH],
  ['Latency Tolerance Reporting', EXT.LTR],
  ['Secondary PCI Express', 0x19],
  ['Process Address Space ID', EXT.PASID],
  ['Downstream Port Containment', 0x1d],
  ['L1 PM Substates', 0x1e],
  ['Precision Time Measurement', 0x1f],
  ['Designated Vendor-Specific', EXT.DVSEC],
  ['Data Link Feature', 0x25],
  ['Physical Layer 16.0 GT/s', 0x26],
  ['Lane Margining', 0x27],
];

const idOf = (names: typeof NAMES, text: string): number | undefined =>
  names.find(([name]) => text.startsWith(name))?.[1];

/** A BAR as a line has it; `index` null: `lspci -v` does not say it. */
type SaidBar = Omit<BarSpec, 'index'> & { index: number | null };

/** The lines below one function. */
export class LspciConfig {
  private readonly _of: SaidConfig = {};
  private readonly _bars: SaidBar[] = [];
  private readonly _capabilities: CapabilitySpec[] = [];
  private readonly _extended: ExtendedCapabilitySpec[] = [];
  private readonly _dump: number[] = [];

  /** `header`: what stands behind the address of the function. */
  constructor(header: string) {
    const revision = /\(rev ([0-9a-f]{2})\)/.exec(header)?.[1];
    const progIf = /\(prog-if ([0-9a-f]{2})[ )]/.exec(header)?.[1];
    if (revision) this._of.revision = Number.parseInt(revision, 16);
    if (progIf) this._of.progIf = Number.parseInt(progIf, 16);
  }

  /** Whether the line is one of those that say something of the configuration space. */
  read(text: string): boolean {
    const subsystem = SUBSYSTEM.exec(text);
    if (subsystem) {
      [, this._of.subsystemVendor, this._of.subsystemDevice] = subsystem;
      // Its names are for others.
      return false;
    }
    return (
      this._readBar(text) ||
      this._readRom(text) ||
      this._readCapability(text) ||
      this._readPin(text) ||
      this._readDump(text)
    );
  }

  /** All that was said; undefined: nothing of BARs and capabilities. */
  get said(): SaidConfig | undefined {
    if (this._bars.length + this._capabilities.length === 0 && this._dump.length === 0) return undefined;
    return this._ofDump() ?? this._ofLines();
  }

  private _readBar(text: string): boolean {
    const [found, index, what, address, flags = '', size, unit] = BAR.exec(text) ?? [];
    if (found === undefined) return false;
    const kind = what !== 'Memory' ? 'io' : flags.startsWith('64-bit') ? 'mem64' : 'mem32';
    const prefetchable = kind !== 'io' && flags.endsWith(' prefetchable');
    const at = { address: `0x${BigInt(`0x${address ?? 0}`).toString(16)}`, size: sizeOf(size!, unit!) };
    this._bars.push({ index: index === undefined ? null : Number(index), kind, prefetchable, ...at });
    return true;
  }

  private _readRom(text: string): boolean {
    const [found, address, size, unit] = ROM.exec(text) ?? [];
    if (found === undefined) return false;
    const at = { address: `0x${BigInt(`0x${address ?? 0}`).toString(16)}`, size: sizeOf(size!, unit!) };
    // The video BIOS that firmware has copied into memory is no BAR.
    if (BigInt(at.address) >= 0x100000n || address === undefined)
      this._bars.push({ index: 6, kind: 'rom', prefetchable: false, ...at });
    return true;
  }

  private _readCapability(text: string): boolean {
    const table = TABLE.exec(text);
    const msix = this._capabilities.findLast(({ id }) => id === CAP.MSIX);
    if (table && msix) {
      const [, what, bar, offset] = table;
      const [inBar, at] = [Number(bar), Number.parseInt(offset!, 16)];
      Object.assign(msix, what === 'PBA' ? { pbaBar: inBar, pbaOffset: at } : { tableBar: inBar, tableOffset: at });
      return true;
    }
    const [found, digits, version, name] = CAPABILITY.exec(text) ?? [];
    if (found === undefined) return false;
    const offset = Number.parseInt(digits!, 16);
    if (offset < CONVENTIONAL_BYTES) {
      const id = idOf(NAMES, name!);
      if (id !== undefined) this._capabilities.push({ offset, id, ...countsOf(id, name!) });
    } else {
      const id = idOf(EXTENDED_NAMES, name!);
      if (id !== undefined) this._extended.push({ offset, id, version: Number(version ?? 1) & 0xf });
    }
    return true;
  }

  private _readPin(text: string): boolean {
    const pin = PIN.exec(text)?.[1];
    if (pin) this._of.interruptPin = 'ABCD'.indexOf(pin) + 1;
    return pin !== undefined;
  }

  /** Bytes count as far as they follow one another. */
  private _readDump(text: string): boolean {
    const [found, offset, bytes] = DUMP.exec(text) ?? [];
    if (found === undefined) return false;
    if (Number.parseInt(offset!, 16) === this._dump.length)
      this._dump.push(...bytes!.split(' ').map((byte) => Number.parseInt(byte, 16)));
    return true;
  }

  /** Null: there are not all of the first 256 bytes, which have the capabilities. */
  private _ofDump(): SaidConfig | null {
    if (this._dump.length < CONVENTIONAL_BYTES) return null;
    const image = Uint8Array.from(this._dump);
    const size = this._dump.length > CONVENTIONAL_BYTES || this._isExpress ? EXPRESS_BYTES : CONVENTIONAL_BYTES;
    const bars = barsOfImage(image).flatMap((bar): BarSpec[] => {
      const line = this._bars.find(({ kind, address }) => kind === bar.kind && address === bar.address);
      return line ? [{ ...bar, size: line.size }] : [];
    });
    const rom = this._bars.find(({ index }) => index === 6);
    if (rom && !bars.some(({ index }) => index === 6)) bars.push({ ...rom, index: 6 });
    return { size, bars, image: image.toBase64() };
  }

  private get _isExpress(): boolean {
    return this._capabilities.some(({ id }) => id === CAP.EXPRESS);
  }

  private _ofLines(): SaidConfig {
    const said: SaidConfig = { ...this._of };
    if (this._bars.length > 0) said.bars = indexed(this._bars);
    if (this._capabilities.length === 0) return said;
    said.capabilities = this._capabilities.flatMap((capability) => withTable(capability, said.bars ?? []));
    said.size = this._isExpress ? EXPRESS_BYTES : CONVENTIONAL_BYTES;
    said.extendedCapabilities =
      this._isExpress && this._extended[0]?.offset === CONVENTIONAL_BYTES ? this._extended : [];
    return said;
  }
}

const sizeOf = (digits: string, unit: string): string => `0x${(BigInt(digits) * UNITS[unit]!).toString(16)}`;

/** `Enable- Count=1/32 Maskable- 64bit+`, and `Enable+ Count=33 Masked-`. */
function countsOf(id: number, text: string): Partial<CapabilitySpec> {
  const count = Number(/\bCount=(?:\d{1,4}\/)?(\d{1,4})/.exec(text)?.[1] ?? 1);
  if (id === CAP.MSIX) return { msixVectors: count };
  if (id !== CAP.MSI) return {};
  return { msiVectors: count, address64: /64bit\+/.test(text), maskable: /Maskable\+/.test(text) };
}

/** Gives BARs that have no index the next one in the order of their lines. */
function indexed(bars: readonly SaidBar[]): BarSpec[] {
  let next = 0;
  return bars.map((bar) => {
    const index = bar.index ?? next;
    next = index + (bar.kind === 'mem64' ? 2 : 1);
    return { ...bar, index };
  });
}

/** Of MSI-X, `lspci -v` does not say where the table is: in the last BAR that has room for it. Left out if none has. */
function withTable(capability: CapabilitySpec, bars: readonly BarSpec[]): CapabilitySpec[] {
  const { id, msixVectors = 1, tableBar } = capability;
  if (id !== CAP.MSIX || tableBar !== undefined) return [capability];
  const table = Math.ceil((16 * msixVectors) / 0x800) * 0x800;
  const bar = bars.findLast(({ kind, size }) => kind.startsWith('mem') && BigInt(size) >= BigInt(2 * table));
  if (!bar) return [];
  return [{ ...capability, tableBar: bar.index, tableOffset: 0, pbaBar: bar.index, pbaOffset: table }];
}
