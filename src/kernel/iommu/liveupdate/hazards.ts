/** Hazards of restored domains: what no errno tells of them. */
import { hex } from '../../../machine/address.ts';
import type { Extent } from '../../../machine/table-walk.ts';
import type { KernelServices } from '../../services.ts';
import type { PagingDomain } from '../domain.ts';
import type { WhyLost } from '../group.ts';

/** A restored domain is freed, as no device is left that could have adopted it (R1). */
export function tellDropped(kernel: KernelServices, id: number): void {
  kernel.emit(
    'hazard',
    `domain ${id} was handed over, and no device is there that could have adopted it: it is gone`,
    { hazard: 'domain-dropped', id },
    'R1',
  );
}

const WHY: Readonly<Record<WhyLost, string>> = {
  finished: 'was finished before it was adopted',
  'retrieve-failed': 'needs a file whose retrieve has failed, and stays so',
  'session-stuck': 'is of a session that was closed before it was adopted',
  'session-failed': 'is of a session that this kernel cannot read',
  'liveupdate-off': 'is of a session that nobody can reach without a Live Update Orchestrator',
};

/** A device in state L stays there for good (R3, R4, R17). */
export function tellNeverAdopted(kernel: KernelServices, bdf: string, why: WhyLost): void {
  kernel.emit(
    'hazard',
    `${bdf} ${WHY[why]}: nobody can adopt it any more in this kernel`,
    { hazard: 'never-adopted', bdf, why },
    'R3',
  );
}

/** A device has moved from a restored domain to another one: what it cannot reach any more, and what is other memory now (R12). */
export function tellSwap(kernel: KernelServices, bdf: string, from: PagingDomain, to: PagingDomain): void {
  const { missing, other } = difference(from, to);
  if (missing.bytes > 0n)
    kernel.emit(
      'hazard',
      `${bdf}: ${missing.bytes} bytes that the restored domain mapped, from ${hex(missing.iova)} on, fault from now on`,
      { hazard: 'incomplete-hot-swap', bdf, iova: hex(missing.iova), bytes: hex(missing.bytes) },
      'R12',
    );
  if (other.bytes > 0n)
    kernel.emit(
      'hazard',
      `${bdf}: ${other.bytes} bytes from ${hex(other.iova)} on are other memory from now on than in the restored domain`,
      { hazard: 'other-memory-hot-swap', bdf, iova: hex(other.iova), bytes: hex(other.bytes) },
      'R12',
    );
}

/** How many bytes, and the IOVA of the first of them. */
interface Part {
  bytes: bigint;
  iova: bigint;
}

/** What one domain maps and the other one does not, or to other memory: both tables are walked once, side by side. */
function difference(from: PagingDomain, to: PagingDomain): { missing: Part; other: Part } {
  const shift = Math.min(from.format.minShift, to.format.minShift);
  const bytes = 2 ** shift;
  const missing = { first: 0, count: 0 };
  const other = { first: 0, count: 0 };
  const theirs = scaled(to, shift);
  let there = theirs.next().value;
  for (const here of scaled(from, shift)) {
    const end = here.unit + here.units;
    for (let at = here.unit; at < end; ) {
      while (there !== undefined && there.unit + there.units <= at) there = theirs.next().value;
      const next = Math.min(end, there?.unit ?? end);
      if (next > at) {
        add(missing, at, next - at);
        at = next;
        continue;
      }
      const stop = Math.min(end, there!.unit + there!.units);
      // In units, as bytes of an IOVA may be more than a number holds.
      const same = here.physical / bytes - here.unit === there!.physical / bytes - there!.unit;
      if (!same) add(other, at, stop - at);
      at = stop;
    }
  }
  const part = ({ first, count }: Units): Part => ({
    bytes: BigInt(count) << BigInt(shift),
    iova: BigInt(first) << BigInt(shift),
  });
  return { missing: part(missing), other: part(other) };
}

/** What a domain maps, ascending, in units of 2^shift bytes. */
function* scaled({ table, format }: PagingDomain, shift: number): Generator<Extent, undefined> {
  const times = 2 ** (format.minShift - shift);
  for (const { unit, units, physical, access } of table.extents(0, Number.MAX_SAFE_INTEGER))
    yield { unit: unit * times, units: units * times, physical, access };
  return undefined;
}

interface Units {
  first: number;
  count: number;
}

function add(units: Units, first: number, count: number): void {
  if (units.count === 0) units.first = first;
  units.count += count;
}
