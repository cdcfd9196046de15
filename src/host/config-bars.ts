/** Reads the base address registers of a function from its description. */
import { hex } from '../machine/address.ts';
import { placeBars, type UnplacedBar } from '../machine/pci/bar-addresses.ts';
import type { BarSpec } from '../machine/spec.ts';
import { type Problem, readU64, type U64 } from './request-values.ts';

export interface BarRequest {
  index: number;
  kind: BarSpec['kind'];
  prefetchable?: boolean;
  address?: U64;
  size: U64;
}

/** The smallest and the largest BAR of a kind, and where its addresses end. */
const RANGES: Readonly<Record<BarSpec['kind'], { least: bigint; most: bigint; end: bigint }>> = {
  io: { least: 4n, most: 1n << 15n, end: 1n << 16n },
  mem32: { least: 16n, most: 1n << 31n, end: 1n << 32n },
  mem64: { least: 16n, most: 1n << 40n, end: 1n << 52n },
  rom: { least: 1n << 11n, most: 1n << 24n, end: 1n << 32n },
};

/** BARs without an address are given one. */
export function readBars(requests: readonly BarRequest[], bdf: string, pointer: string, errors: Problem[]): BarSpec[] {
  const before = errors.length;
  const bars = requests.map((bar, at) => readBar(bar, `${pointer}/${at}`, errors));
  if (errors.length > before) return [];
  const taken = new Map<number, number>();
  for (const [at, { index, kind }] of bars.entries())
    for (const slot of kind === 'mem64' ? [index, index + 1] : [index]) {
      const other = taken.get(slot);
      if (other !== undefined)
        errors.push({
          pointer: `${pointer}/${at}/index`,
          reason: `BAR ${slot} is in ${pointer}/${other} already; one of 64 bits takes the next index, too`,
        });
      taken.set(slot, at);
    }
  return errors.length > before ? [] : placeBars(bdf, bars);
}

function readBar(request: BarRequest, pointer: string, errors: Problem[]): UnplacedBar {
  const { index, kind, prefetchable = false } = request;
  const { least, most, end } = RANGES[kind];
  const refuse = (field: keyof BarRequest, reason: string) => errors.push({ pointer: `${pointer}/${field}`, reason });
  if ((index === 6) !== (kind === 'rom')) refuse('index', 'the expansion ROM has index 6, and nothing else has');
  if (kind === 'mem64' && index > 4) refuse('index', 'one of 64 bits takes its index and the next, at most 4 and 5');
  const size = readU64(request.size, `${pointer}/size`, errors);
  if (size !== null && ((size & (size - 1n)) !== 0n || size < least || size > most))
    refuse('size', `must be a power of two, for kind ${kind} from ${hex(least)} to ${hex(most)}`);
  const bar = { index, kind, prefetchable, size: hex(size ?? least) };
  if (request.address === undefined) return bar;
  const address = readU64(request.address, `${pointer}/address`, errors) ?? 0n;
  if (size !== null && size > 0n && (address % size !== 0n || address + size > end))
    refuse('address', `must be a multiple of the size, and the BAR end at ${hex(end)} at most`);
  return { ...bar, address: hex(address) };
}
