/** What a text does not say of functions but can be concluded: virtual functions and what they belong to, and VMDs. */
import { FIRST_VMD_DOMAIN, segmentOf } from './functions.ts';
import type { Notes, TopologyFunction } from './text.ts';

const VIRTUAL = /\bVirtual Function\b|\bVF\b/i;
/** Adapters whose virtual functions belong to their ports in turns: the port is the number modulo that of the ports. */
const TAKE_TURNS = /82576|82580|I350|82599|X540|X550/;
/** As in kernel/drivers.ts: VFIO's drivers do not take a physical function whose virtual ones are there. */
const VFIO_DRIVER = /(^|[-_])vfio[-_]pci$/;
/** How many buses virtual functions may be behind their physical one. */
const MAX_BUSES = 4;

/** Bus, device and function in one number. */
function routingId(bdf: string): number {
  const [, bus, device, fn] = bdf.split(/[:.]/).map((part) => Number.parseInt(part, 16));
  return (bus! << 8) | (device! << 3) | fn!;
}

/**
 * Functions whose name says so are virtual ones. They belong to a function before them of the same vendor and class, on
 * the nearest bus that has any; of several, to one after the other with every gap in their addresses, or in turns.
 */
export function findVirtualFunctions(functions: readonly TopologyFunction[], notes: Notes): void {
  const kindOf = ({ bdf, vendor, class: code }: TopologyFunction) => `${segmentOf(bdf)} ${vendor} ${code}`;
  const isOnVfio = ({ driver }: TopologyFunction) => driver != null && VFIO_DRIVER.test(driver);
  const physical = new Map<string, Buses>();
  const onVfio: typeof physical = new Map();
  const isVirtual = ({ name }: TopologyFunction) => name !== null && VIRTUAL.test(name);
  for (const fn of functions) {
    if (isVirtual(fn)) continue;
    const buses = (isOnVfio(fn) ? onVfio : physical).getOrInsertComputed(kindOf(fn), () => new Map());
    const id = routingId(fn.bdf);
    buses.getOrInsertComputed(id >> 8, () => []).push({ id, fn });
  }
  /** The last virtual function of this first owner: its successor, and how many gaps there were. */
  let run: { first: TopologyFunction | undefined; next: number; index: number } | null = null;
  for (const fn of functions) {
    if (!isVirtual(fn)) continue;
    fn.sriov = 'vf';
    const id = routingId(fn.bdf);
    const owners = candidates(physical.get(kindOf(fn)), id);
    const index: number = run && run.first === owners[0] ? run.index + (id === run.next ? 0 : 1) : 0;
    run = { first: owners[0], next: id + 1, index };
    const turns = TAKE_TURNS.test(fn.name!);
    const owner = owners[turns ? (id & 7) % owners.length : Math.min(index, owners.length - 1)];
    const [taken] = owner ? [] : candidates(onVfio.get(kindOf(fn)), id);
    if (taken)
      notes.add(
        `virtual functions by their names, of no physical one: ${taken.bdf} is on ${taken.driver}, whose probe refuses one that has any`,
        fn.line,
      );
    else if (!owner) notes.add('a virtual function by its name, whose physical one is not in the text', fn.line);
    else {
      fn.physicalFunction = owner.bdf;
      const doubt = owners.length === 1 ? '' : `, the likeliest of ${owners.length}`;
      notes.add(`virtual functions by their names, taken for those of ${owner.bdf}${doubt}`, fn.line);
    }
  }
}

/** Functions by their bus, with their routing ids. */
type Buses = Map<number, { id: number; fn: TopologyFunction }[]>;

function candidates(buses: Buses | undefined, id: number): TopologyFunction[] {
  for (let bus = id >> 8; bus >= 0 && bus > (id >> 8) - MAX_BUSES; bus--) {
    const found = buses?.get(bus)?.filter((before) => before.id < id) ?? [];
    if (found.length > 0) return found.map(({ fn }) => fn);
  }
  return [];
}

/** Functions behind an Intel VMD are in a PCI domain of its own; their DMA carries the VMD's requester id. */
export function findVmds(functions: readonly TopologyFunction[], notes: Notes): void {
  const behind = functions.filter(({ bdf }) => segmentOf(bdf) >= FIRST_VMD_DOMAIN);
  if (behind.length === 0) return;
  const before = functions.filter(({ bdf }) => segmentOf(bdf) < FIRST_VMD_DOMAIN);
  const vmds = new Map([...Map.groupBy(before, ({ group }) => group)].map(([group, others]) => [group, vmdOf(others)]));
  for (const fn of behind) {
    const vmd = vmds.get(fn.group);
    if (!vmd) continue;
    fn.realDmaDevice = vmd.bdf;
    notes.add(`functions behind the VMD ${vmd.bdf}: their DMA carries its requester id`, fn.line);
  }
}

/** The likeliest VMD of the functions of a group that are not behind one. */
function vmdOf(functions: readonly TopologyFunction[]): TopologyFunction | undefined {
  return (
    functions.find(
      ({ name, class: code, vendor }) => name?.includes('Volume Management') || (code === '0104' && vendor === '8086'),
    ) ??
    functions.find(({ bdf }) => bdf.endsWith(':0e.0')) ??
    functions[0]
  );
}
