/**
 * An interrupt that a device raises, up to the eventfd that SET_IRQS has given it (vfio_intx_handler, vfio_msihandler). What
 * decides on the way is hardware's: bus mastering, masks of vectors, and who listens.
 */

import type { PciFunction } from '../../../machine/pci/function.ts';
import { isVectorMasked, setVectorPending } from '../../../machine/pci/msix-vectors.ts';
import { CAP, MSI_ENABLE, MSI_ENABLED_VECTORS, MSI_FLAGS } from '../../../machine/pci/registers.ts';
import type { EventSink } from '../../events.ts';
import type { VfioPciCore } from './core.ts';
import { INTX, irqCount, MSI, MSIX } from './intrs.ts';
import type { IrqType, VfioPciIrqs } from './irqs.ts';

/**
 * Why nobody was told: the function has no such vector; no program has enabled it by SET_IRQS; it is in D3hot, or its
 * program has put it into low power; a message is a write, and the function
 * may not master the bus; the vector, or INTx, is masked; it is enabled without an eventfd.
 */
export const UNHEARD = ['no-such-vector', 'not-enabled', 'asleep', 'bus-master-off', 'masked', 'no-eventfd'] as const;

export interface Interrupt {
  /** An eventfd was signalled. */
  delivered: boolean;
  /** It is kept, and signalled as soon as it is unmasked. */
  pending: boolean;
  /** Why it was not delivered. */
  reason: (typeof UNHEARD)[number] | null;
}

const TOLD: Interrupt = { delivered: true, pending: false, reason: null };
const unheard = (reason: (typeof UNHEARD)[number], pending = false): Interrupt => ({
  delivered: false,
  pending,
  reason,
});

const INDEXES: Readonly<Record<IrqType, number>> = { intx: INTX, msi: MSI, msix: MSIX };

/** The function raises an interrupt, and the log of the host is told. `core` null: no program has the device open. */
export function raise(
  sink: EventSink,
  fn: PciFunction,
  core: VfioPciCore | null,
  type: IrqType,
  vector: number,
): Interrupt {
  const interrupt = outcomeOf(fn, core, type, vector);
  tell(sink, fn, type, vector, interrupt);
  return interrupt;
}

function outcomeOf(fn: PciFunction, core: VfioPciCore | null, type: IrqType, vector: number): Interrupt {
  if (vector >= irqCount(fn, INDEXES[type])) return unheard('no-such-vector');
  if (core?.irqs.type !== type) return unheard('not-enabled');
  if (core.isAsleep) return unheard('asleep');
  const { irqs } = core;
  if (type === 'intx') {
    const reason = irqs.intxMasked ? 'masked' : 'no-eventfd';
    return irqs.raiseIntx() ? TOLD : unheard(reason, true);
  }
  if (type === 'msix' && isVectorMasked(fn, vector)) {
    setVectorPending(fn, vector, true);
    return unheard('masked', true);
  }
  if (type === 'msi' && !(irqs.isAllocated(vector) && vector < enabledMsi(fn))) return unheard('not-enabled');
  return core.busMaster ? deliver(irqs, vector) : unheard('bus-master-off');
}

function tell(sink: EventSink, { bdf }: PciFunction, type: IrqType, vector: number, interrupt: Interrupt): void {
  const { delivered, pending, reason } = interrupt;
  const outcome = delivered ? 'an eventfd is signalled' : `nobody is told (${reason})`;
  sink.emit('vfio.interrupt', `${bdf} raises ${type} ${vector}: ${outcome}`, { bdf, type, vector, delivered, pending });
}

/** The function raises its one interrupt, as a message if MSI is enabled. */
export function raiseOwn(core: VfioPciCore): void {
  raise(core.kernel, core.fn, core, core.irqs.type === 'msi' ? 'msi' : 'intx', 0);
}

/** How many vectors of MSI its capability has enabled: programs write its flags, too. */
function enabledMsi({ config }: PciFunction): number {
  const { offset } = config.capabilities.find(({ id }) => id === CAP.MSI)!;
  const flags = config.read(offset + MSI_FLAGS, 2);
  return flags & MSI_ENABLE ? 1 << ((flags & MSI_ENABLED_VECTORS) >> 4) : 0;
}

function deliver(irqs: VfioPciIrqs, vector: number): Interrupt {
  const trigger = irqs.trigger(vector);
  trigger?.signal();
  return trigger ? TOLD : unheard('no-eventfd');
}

/** The function has written `data` to MESSAGE_ADDRESS: raises the interrupt whose message the kernel has made it, if it is one. */
export function messageWritten({ kernel, fn, irqs }: VfioPciCore, data: number): void {
  const { type } = irqs;
  if (type !== null && irqs.isAllocated(data)) tell(kernel, fn, type, data, deliver(irqs, data));
}
