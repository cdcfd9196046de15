/** What the configuration space of a function holds where nobody says: what functions of its class have. */
import type { CapabilitySpec, ConfigSpec, ExtendedCapabilitySpec, FunctionSpec } from '../spec.ts';
import { placeBars, type UnplacedBar } from './bar-addresses.ts';
import { isBridge } from './config-image.ts';
import { CAP, CONVENTIONAL_BYTES, EXPRESS_BYTES, EXT } from './registers.ts';

interface Kind {
  progIf: number;
  bars: readonly UnplacedBar[];
  capabilities: readonly CapabilitySpec[];
}

const memory32 = (index: number, size: string): UnplacedBar => ({ index, kind: 'mem32', prefetchable: false, size });
const memory64 = (index: number, size: string, prefetchable = false): UnplacedBar => ({
  index,
  kind: 'mem64',
  prefetchable,
  size,
});
const ports = (index: number, size: string): UnplacedBar => ({ index, kind: 'io', prefetchable: false, size });
const rom = (size: string): UnplacedBar => ({ index: 6, kind: 'rom', prefetchable: false, size });

const pm = (offset: number): CapabilitySpec => ({ offset, id: CAP.PM });
const express = (offset: number): CapabilitySpec => ({ offset, id: CAP.EXPRESS });
const msi = (offset: number, msiVectors: number, maskable = false): CapabilitySpec => ({
  offset,
  id: CAP.MSI,
  msiVectors,
  address64: true,
  maskable,
});
const msix = (
  offset: number,
  msixVectors: number,
  bar: number,
  tableOffset: number,
  pbaOffset: number,
): CapabilitySpec => ({ offset, id: CAP.MSIX, msixVectors, tableBar: bar, tableOffset, pbaBar: bar, pbaOffset });

/** What virtio says of its BAR 4: where its registers of each type are, and a window to them. */
const virtio = (offset: number, type: number, start: number, length: number, more = 0): CapabilitySpec => {
  const bytes = new Uint8Array(14 + more);
  const view = new DataView(bytes.buffer);
  bytes.set([16 + more, type, length === 0 ? 0 : 4]);
  view.setUint32(6, start, true);
  view.setUint32(10, length, true);
  // A queue's notification is this much further on.
  if (type === 2) view.setUint32(14, 4, true);
  return { offset, id: CAP.VENDOR, data: bytes.toBase64() };
};

const OTHER: Kind = {
  progIf: 0,
  bars: [memory64(0, '0x4000')],
  capabilities: [pm(0x40), msi(0x50, 1), express(0x70), msix(0xb0, 8, 0, 0x2000, 0x3000)],
};
const NVME: Kind = {
  progIf: 2,
  bars: [memory64(0, '0x10000')],
  capabilities: [pm(0x40), msi(0x50, 32), express(0x70), msix(0xb0, 33, 0, 0x3000, 0x2000)],
};
const STORAGE: Kind = {
  progIf: 1,
  bars: [ports(4, '0x20'), memory32(5, '0x2000')],
  capabilities: [pm(0x80), msi(0x50, 1), express(0x90)],
};
const NETWORK: Kind = {
  progIf: 0,
  bars: [memory32(0, '0x20000'), ports(2, '0x20'), memory64(4, '0x4000', true)],
  capabilities: [pm(0x40), msi(0x50, 1, true), msix(0x70, 64, 4, 0, 0x2000), express(0xa0)],
};
const DISPLAY: Kind = {
  progIf: 0,
  bars: [
    memory32(0, '0x1000000'),
    memory64(1, '0x10000000', true),
    memory64(3, '0x2000000', true),
    ports(5, '0x80'),
    rom('0x80000'),
  ],
  capabilities: [pm(0x60), msi(0x68, 1), express(0x78)],
};
const AUDIO: Kind = {
  progIf: 0,
  bars: [memory32(0, '0x4000')],
  capabilities: [pm(0x60), msi(0x68, 1), express(0x78)],
};
const USB: Kind = {
  progIf: 0x30,
  bars: [memory64(0, '0x10000')],
  capabilities: [pm(0x50), msi(0x70, 8), express(0xa0)],
};
const VIRTIO: Kind = {
  progIf: 0,
  bars: [memory32(1, '0x1000'), memory64(4, '0x4000', true)],
  capabilities: [
    msix(0xdc, 4, 1, 0, 0x800),
    virtio(0xc8, 5, 0, 0, 4),
    virtio(0xb4, 2, 0x3000, 0x1000, 4),
    virtio(0xa4, 4, 0x2000, 0x1000),
    virtio(0x94, 3, 0x1000, 0x1000),
    virtio(0x84, 1, 0, 0x1000),
    pm(0x7c),
    express(0x40),
  ],
};
const PCI_BRIDGE: Kind = { progIf: 0, bars: [], capabilities: [pm(0x40), express(0x48)] };
const BRIDGE: Kind = { progIf: 0, bars: [], capabilities: [] };

/** By class and subclass, or class. */
const KINDS: ReadonlyMap<string, Kind> = new Map([
  ['0108', NVME],
  ['01', STORAGE],
  ['02', NETWORK],
  ['03', DISPLAY],
  ['0403', AUDIO],
  ['0c03', USB],
  ['06', BRIDGE],
]);

function kindOf({ vendor, class: code = null }: Partial<FunctionSpec>): Kind {
  if (isBridge(code)) return PCI_BRIDGE;
  if (vendor === '1af4') return VIRTIO;
  return (code !== null ? (KINDS.get(code) ?? KINDS.get(code.slice(0, 2))) : undefined) ?? OTHER;
}

const ERRORS: ExtendedCapabilitySpec = { offset: 0x100, id: EXT.AER, version: 2 };
const SERIAL: ExtendedCapabilitySpec = { offset: 0x150, id: EXT.SERIAL, version: 1 };
const ATS: ExtendedCapabilitySpec = { offset: 0x160, id: EXT.ATS, version: 1 };
const PASID: ExtendedCapabilitySpec = { offset: 0x168, id: EXT.PASID, version: 1 };

/** A virtual function has no INTx, and its BARs are said by the physical one. */
export function defaultConfig(spec: Partial<FunctionSpec>): ConfigSpec {
  const { bdf = '', vendor = null, device = null, sriov, ats, pasid } = spec;
  const kind = kindOf(spec);
  const isEndpoint = kind.bars.length > 0;
  // Function 0 has INTA, function 1 INTB, and so on.
  const pin = isEndpoint && sriov !== 'vf' ? (Number.parseInt(bdf.at(-1) ?? '0', 16) % 4) + 1 : 0;
  return {
    size: kind.capabilities.some(({ id }) => id === CAP.EXPRESS) ? EXPRESS_BYTES : CONVENTIONAL_BYTES,
    progIf: kind.progIf,
    revision: 0,
    subsystemVendor: vendor ?? '0000',
    subsystemDevice: device ?? '0000',
    interruptPin: pin,
    bars: placeBars(bdf, sriov === 'vf' ? kind.bars.filter(({ kind: one }) => one.startsWith('mem')) : kind.bars),
    capabilities: [...kind.capabilities],
    extendedCapabilities: isEndpoint ? [ERRORS, SERIAL, ...(ats ? [ATS] : []), ...(pasid ? [PASID] : [])] : [],
  };
}
