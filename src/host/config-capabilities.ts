/** Checks the capabilities that the description of a function gives. */
import { leastBytes, leastExtendedBytes } from '../machine/pci/capabilities.ts';
import { CAP, CONVENTIONAL_BYTES } from '../machine/pci/registers.ts';
import type { BarSpec, CapabilitySpec, ConfigSpec } from '../machine/spec.ts';
import type { Problem } from './request-values.ts';

const MSI_FIELDS = ['msiVectors', 'address64', 'maskable'] as const;
const MSIX_FIELDS = ['msixVectors', 'tableBar', 'tableOffset', 'pbaBar', 'pbaOffset'] as const;
/** Ids that a function has once. */
const ONCE: readonly number[] = [CAP.PM, CAP.MSI, CAP.EXPRESS, CAP.MSIX];
const VECTOR_BYTES = 16n;

/** Capabilities that the request names, at `pointer`. */
export function checkCapabilities(
  capabilities: readonly CapabilitySpec[],
  bars: readonly BarSpec[],
  pointer: string,
  errors: Problem[],
): void {
  checkPlaces(
    capabilities.map((capability) => ({ ...capability, least: leastBytes(capability) })),
    CONVENTIONAL_BYTES,
    pointer,
    errors,
  );
  for (const [at, capability] of capabilities.entries()) {
    const { id } = capability;
    const refuse = (field: keyof CapabilitySpec, reason: string) =>
      errors.push({ pointer: `${pointer}/${at}/${field}`, reason });
    if (ONCE.includes(id) && capabilities.findIndex((other) => other.id === id) < at)
      refuse('id', `a function has one capability ${id}`);
    for (const field of id === CAP.MSI ? [] : MSI_FIELDS)
      if (capability[field] !== undefined) refuse(field, `only of MSI, capability ${CAP.MSI}`);
    for (const field of id === CAP.MSIX ? [] : MSIX_FIELDS)
      if (capability[field] !== undefined) refuse(field, `only of MSI-X, capability ${CAP.MSIX}`);
    if (capability.data !== undefined && (id === CAP.MSI || id === CAP.MSIX))
      refuse('data', 'what MSI and MSI-X are made from are their own fields');
    const { msiVectors = 1 } = capability;
    if (Math.log2(msiVectors) % 1 !== 0) refuse('msiVectors', 'must be a power of two, 1 to 32');
    if (id === CAP.MSIX) checkMsix(capability, bars, refuse);
  }
}

/** The table and the pending bits lie in memory BARs that there are, and not in each other. */
function checkMsix(
  capability: CapabilitySpec,
  bars: readonly BarSpec[],
  refuse: (field: keyof CapabilitySpec, reason: string) => void,
): void {
  const missing = MSIX_FIELDS.filter((field) => capability[field] === undefined);
  for (const field of missing) refuse(field, 'required of MSI-X');
  if (missing.length > 0) return;
  const vectors = BigInt(capability.msixVectors!);
  const parts = [
    { bar: 'tableBar', offset: 'tableOffset', bytes: vectors * VECTOR_BYTES },
    { bar: 'pbaBar', offset: 'pbaOffset', bytes: ((vectors + 63n) / 64n) * 8n },
  ] as const;
  for (const { bar, offset, bytes } of parts) {
    const found = bars.find(({ index, kind }) => index === capability[bar] && kind !== 'io' && kind !== 'rom');
    const start = BigInt(capability[offset]!);
    if (!found) refuse(bar, `there is no memory BAR ${capability[bar]}`);
    else if (start % 8n !== 0n || start + bytes > BigInt(found.size))
      refuse(
        offset,
        `must be a multiple of 8, and ${bytes} bytes lie within BAR ${found.index} of ${found.size} bytes`,
      );
  }
  const [table, pending] = parts.map(({ offset, bytes }) => ({ start: BigInt(capability[offset]!), bytes }));
  if (capability.tableBar !== capability.pbaBar) return;
  if (table!.start < pending!.start + pending!.bytes && pending!.start < table!.start + table!.bytes)
    refuse('pbaOffset', 'the pending bits lie in the table');
}

/** Extended capabilities that the request names, at `pointer`. */
export function checkExtended({ size, extendedCapabilities }: ConfigSpec, pointer: string, errors: Problem[]): void {
  const [first] = extendedCapabilities;
  if (!first) return;
  if (size <= CONVENTIONAL_BYTES) {
    errors.push({ pointer, reason: 'a configuration space of 256 bytes has no extended capabilities' });
    return;
  }
  if (first.offset !== CONVENTIONAL_BYTES)
    errors.push({ pointer: `${pointer}/0/offset`, reason: 'the first one is at 256 (0x100), where its chain begins' });
  const placed = extendedCapabilities.map((capability) => ({ ...capability, least: leastExtendedBytes(capability) }));
  checkPlaces(placed, size, pointer, errors);
}

/** A capability with its bytes: `least` have to be there, the others are so far as there is room. */
interface Placed {
  offset: number;
  id: number;
  least: number;
}

/** They begin at multiples of four, before `end`, and their bytes are their own. */
function checkPlaces(placed: readonly Placed[], end: number, pointer: string, errors: Problem[]): void {
  for (const [at, { offset, id, least }] of placed.entries()) {
    const refuse = (reason: string) => errors.push({ pointer: `${pointer}/${at}/offset`, reason });
    if (offset % 4 !== 0) refuse('must be a multiple of 4');
    else if (offset + least > end) refuse(`capability ${id} has ${least} bytes, and the room ends at ${end}`);
    const inside = placed.findIndex(
      (other, index) => index !== at && offset >= other.offset && offset < other.offset + other.least,
    );
    if (inside >= 0 && (placed[inside]!.offset !== offset || inside < at))
      refuse(`lies in the ${placed[inside]!.least} bytes of capability ${placed[inside]!.id} at ${pointer}/${inside}`);
  }
}
