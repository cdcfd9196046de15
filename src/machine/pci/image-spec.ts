/** What the bytes of a configuration space say of a function: all of its description but how large its BARs are. */
import { hex } from '../address.ts';
import type { BarSpec, CapabilitySpec, ConfigSpec } from '../spec.ts';
import { capabilitiesOf, extendedCapabilitiesOf, type Found } from './capabilities.ts';
import {
  BAR_64,
  BAR_IO,
  BAR_IO_FLAGS,
  BAR_MEMORY_FLAGS,
  BAR_PREFETCHABLE,
  BARS,
  CAP,
  INTERRUPT_PIN,
  MSI_64,
  MSI_FLAGS,
  MSI_MASKABLE,
  MSI_VECTORS,
  MSIX_FLAGS,
  MSIX_VECTORS,
  REVISION,
  ROM,
  ROM_FLAGS,
  read8,
  read16,
  read32,
  SUBSYSTEM_DEVICE,
  SUBSYSTEM_VENDOR,
} from './registers.ts';

export const hex16 = (value: number): string => value.toString(16).padStart(4, '0');

/** The description, without BARs. The image is that of an endpoint; `size` its bytes with those that were left out. */
export function describeImage(image: Uint8Array, size: number): Omit<ConfigSpec, 'bars' | 'image'> {
  return {
    size,
    progIf: read8(image, REVISION + 1),
    revision: read8(image, REVISION),
    subsystemVendor: hex16(read16(image, SUBSYSTEM_VENDOR)),
    subsystemDevice: hex16(read16(image, SUBSYSTEM_DEVICE)),
    interruptPin: read8(image, INTERRUPT_PIN),
    capabilities: capabilitiesOf(image).map((found) => describe(image, found)),
    extendedCapabilities: extendedCapabilitiesOf(image, size).map(({ offset, id, version }) => ({
      offset,
      id,
      version,
    })),
  };
}

function describe(image: Uint8Array, { offset, id }: Found): CapabilitySpec {
  if (id === CAP.MSI) {
    const flags = read16(image, offset + MSI_FLAGS);
    return {
      offset,
      id,
      msiVectors: 1 << ((flags & MSI_VECTORS) >> 1),
      address64: (flags & MSI_64) !== 0,
      maskable: (flags & MSI_MASKABLE) !== 0,
    };
  }
  if (id !== CAP.MSIX) return { offset, id };
  const table = read32(image, offset + 4);
  const pending = read32(image, offset + 8);
  return {
    offset,
    id,
    msixVectors: (read16(image, offset + MSIX_FLAGS) & MSIX_VECTORS) + 1,
    tableBar: table & 7,
    tableOffset: (table & ~7) >>> 0,
    pbaBar: pending & 7,
    pbaOffset: (pending & ~7) >>> 0,
  };
}

/** The base address registers that are set, without their sizes. */
export function barsOfImage(image: Uint8Array): Omit<BarSpec, 'size'>[] {
  const bars: Omit<BarSpec, 'size'>[] = [];
  for (let index = 0; index < 6; index++) {
    const low = read32(image, BARS + 4 * index);
    if (low === 0) continue;
    const isPorts = (low & BAR_IO) !== 0;
    const is64 = !isPorts && (low & BAR_64) !== 0;
    const prefetchable = !isPorts && (low & BAR_PREFETCHABLE) !== 0;
    const high = is64 ? read32(image, BARS + 4 * index + 4) : 0;
    const address = (BigInt(high) << 32n) | BigInt((low & ~(isPorts ? BAR_IO_FLAGS : BAR_MEMORY_FLAGS)) >>> 0);
    bars.push({ index, kind: isPorts ? 'io' : is64 ? 'mem64' : 'mem32', prefetchable, address: hex(address) });
    if (is64) index++;
  }
  const rom = (read32(image, ROM) & ~ROM_FLAGS) >>> 0;
  if (rom !== 0) bars.push({ index: 6, kind: 'rom', prefetchable: false, address: hex(rom) });
  return bars;
}
