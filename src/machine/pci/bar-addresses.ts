/**
 * Where the host has put the BARs of a function that does not say it: each function has room of its own by its address,
 * so that a function is described by itself. Functions of large machines may share addresses below 4 GiB, which nobody sees.
 */
import { hex } from '../address.ts';
import type { BarSpec } from '../spec.ts';

/** A BAR whose address may be left to the host. */
export type UnplacedBar = Omit<BarSpec, 'address'> & Partial<Pick<BarSpec, 'address'>>;

/** Where addresses of a kind begin and end, and how many of them each function has for itself. */
interface Room {
  start: bigint;
  end: bigint;
  share: bigint;
}

const ROOMS = {
  /** Memory below 4 GiB, up to what belongs to the chipset. */
  low: { start: 0x80000000n, end: 0xfec00000n, share: 0x20000n },
  /** Memory above all of the machine's own. */
  high: { start: 1n << 47n, end: 1n << 52n, share: 1n << 32n },
  ports: { start: 0x1000n, end: 0x10000n, share: 0x80n },
} as const satisfies Record<string, Room>;

/** No bridge has a larger window for memory that is not prefetchable. */
const MOST_BELOW = 0x10000000n;

const roomOf = ({ kind, prefetchable, size }: UnplacedBar): keyof typeof ROOMS => {
  if (kind === 'io') return 'ports';
  return kind === 'mem64' && (prefetchable || BigInt(size) > MOST_BELOW) ? 'high' : 'low';
};

const firstOf = ({ start, end, share }: Room, id: bigint): bigint => start + ((id * share) % (end - start));

/** Gives each BAR without an address one, aligned by its size, in the order of the list. Sizes are powers of two. */
export function placeBars(bdf: string, bars: readonly UnplacedBar[]): BarSpec[] {
  const [, bus = 0, device = 0, fn = 0] = bdf.split(/[:.]/).map((part) => Number.parseInt(part, 16));
  const id = BigInt((bus << 8) | (device << 3) | fn);
  const free = { low: firstOf(ROOMS.low, id), high: firstOf(ROOMS.high, id), ports: firstOf(ROOMS.ports, id) };
  return bars.map((bar) => {
    if (bar.address !== undefined) return { ...bar, address: bar.address };
    const size = BigInt(bar.size);
    const room = roomOf(bar);
    const next = ((free[room] + size - 1n) / size) * size;
    const address = next + size > ROOMS[room].end ? ROOMS[room].start : next;
    free[room] = address + size;
    return { ...bar, address: hex(address) };
  });
}
