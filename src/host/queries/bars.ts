/** What is behind the BARs of a function, as the device itself sees it: whatever its command register says. */
import { type Refusal, refuse } from '../../kernel/errno.ts';
import { barOf, readBar } from '../../machine/pci/bar-memory.ts';
import type { PciFunction } from '../../machine/pci/function.ts';
import type { BarSpec } from '../../machine/spec.ts';
import { notFound, ok, refused } from '../answers.ts';
import type { Answer } from '../command.ts';

/** How many bytes of a BAR there are from one on; 0: it lies behind the end. */
export function bytesFrom({ size }: BarSpec, offset: bigint): number {
  const left = BigInt(size) - offset;
  return left > 0n ? Number(left) : 0;
}

export function behindEnd({ bdf }: PciFunction, { index, size }: BarSpec): Refusal {
  return refuse('EINVAL', 'bar', `BAR ${index} of ${bdf} has ${size} bytes`);
}

export function barBytes(fn: PciFunction, index: number, offset: bigint, length: number): Answer {
  const bar = barOf(fn, index);
  if (!bar) return notFound(`BAR ${index} of ${fn.bdf}`);
  const left = bytesFrom(bar, offset);
  if (left === 0) return refused(behindEnd(fn, bar));
  const bytes = new Uint8Array(Math.min(left, length));
  readBar(fn, bar, Number(offset), bytes);
  return ok({ data: bytes.toBase64(), count: bytes.length });
}
