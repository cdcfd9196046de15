/** GET_IRQ_INFO and SET_IRQS (drivers/vfio/pci/vfio_pci_core.c, vfio_pci_intrs.c, drivers/vfio/vfio_main.c). */
import type { PciFunction } from '../../../machine/pci/function.ts';
import { Refusal, refuse } from '../../errno.ts';
import { type Eventfd, eventfdOf } from '../../eventfd.ts';
import type { IoctlOk } from '../../file.ts';
import type { Process } from '../../process.ts';
import { IRQ_INFO_FLAGS, IRQ_SET_FLAGS } from '../../uapi/bits.ts';
import type { ArgOf } from '../../uapi/index.ts';
import type { VfioPciCore } from './core.ts';
import type { VfioPciIrqs } from './irqs.ts';

export const INTX = 0;
export const MSI = 1;
export const MSIX = 2;
const ERR = 3;
const REQ = 4;
const NUM_IRQS = 5;

const MSI_CAPABILITY = 5;
const MSIX_CAPABILITY = 17;

const HEADER_BYTES = 20;
const U32_MAX = 2 ** 32 - 1;

const {
  VFIO_IRQ_SET_DATA_NONE: DATA_NONE,
  VFIO_IRQ_SET_DATA_BOOL: DATA_BOOL,
  VFIO_IRQ_SET_DATA_EVENTFD: DATA_EVENTFD,
  VFIO_IRQ_SET_ACTION_MASK: ACTION_MASK,
  VFIO_IRQ_SET_ACTION_UNMASK: ACTION_UNMASK,
  VFIO_IRQ_SET_ACTION_TRIGGER: ACTION_TRIGGER,
} = IRQ_SET_FLAGS;
const DATA_TYPES = DATA_NONE | DATA_BOOL | DATA_EVENTFD;
const ACTIONS = ACTION_MASK | ACTION_UNMASK | ACTION_TRIGGER;
/** Bytes that each vector takes behind the header. */
const DATA_SIZES: ReadonlyMap<number, number> = new Map([
  [DATA_NONE, 0],
  [DATA_BOOL, 1],
  [DATA_EVENTFD, 4],
]);

type Arg = ArgOf<'VFIO_DEVICE_SET_IRQS'>;

/** vfio_pci_get_irq_count: how many vectors of a type the hardware has. A virtual function has no INTx. */
export function irqCount({ spec, config }: PciFunction, index: number): number {
  const capability = (id: number) => config.spec.capabilities.find((one) => one.id === id);
  if (index === INTX) return spec.sriov !== 'vf' && config.spec.interruptPin > 0 ? 1 : 0;
  if (index === MSI) return capability(MSI_CAPABILITY)?.msiVectors ?? 0;
  if (index === MSIX) return capability(MSIX_CAPABILITY)?.msixVectors ?? 0;
  return index === ERR || index === REQ ? 1 : 0;
}

/** vfio_pci_ioctl_get_irq_info. EINVAL: there is no such type. */
export function getIrqInfo({ fn }: VfioPciCore, { index }: ArgOf<'VFIO_DEVICE_GET_IRQ_INFO'>): IoctlOk | Refusal {
  if (index >= NUM_IRQS)
    return refuse('EINVAL', 'vfio_pci_ioctl_get_irq_info', `there is no interrupt type ${index}: they are 0 to 4`);
  const count = irqCount(fn, index);
  const {
    VFIO_IRQ_INFO_EVENTFD: eventfd,
    VFIO_IRQ_INFO_MASKABLE: maskable,
    VFIO_IRQ_INFO_AUTOMASKED: automasked,
    VFIO_IRQ_INFO_NORESIZE: noResize,
  } = IRQ_INFO_FLAGS;
  if (index === INTX) return { arg: { flags: eventfd | maskable | automasked, count } };
  // MSI-X grows vector by vector (has_dyn_msix).
  return { arg: { flags: index === MSIX && count > 0 ? eventfd : eventfd | noResize, count } };
}

/** What a SET_IRQS that has passed vfio_set_irqs_validate_and_prepare asks for. */
interface Request {
  irqs: VfioPciIrqs;
  process: Process;
  start: number;
  count: number;
  /** DATA_NONE, DATA_BOOL or DATA_EVENTFD. */
  type: number;
  /** What stands behind the header; 0 behind its end. */
  data: DataView;
}

const boolAt = ({ data }: Request, at: number): boolean => at < data.byteLength && data.getUint8(at) !== 0;
const fdAt = ({ data }: Request, at: number): number =>
  4 * at + 4 <= data.byteLength ? data.getInt32(4 * at, true) : 0;

/** vfio_pci_ioctl_set_irqs. */
export function setIrqs(core: VfioPciCore, arg: Arg, process: Process): IoctlOk | Refusal {
  const { flags, index, start, count } = arg;
  const refusal = validate(core, arg);
  if (refusal) return refusal;
  const request: Request = { irqs: core.irqs, process, start, count, type: flags & DATA_TYPES, data: behind(arg) };
  const action = flags & ACTIONS;
  if (index === INTX && action === ACTION_MASK) return setIntxMask(request);
  if (index === INTX && action === ACTION_UNMASK) return setIntxUnmask(request);
  if (action !== ACTION_TRIGGER)
    return refuse(
      'ENOTTY',
      'vfio_pci_set_irqs_ioctl',
      'one action has to be given, and only INTx can be masked and unmasked',
    );
  if (index === INTX) return setIntxTrigger(request);
  if (index === MSI || index === MSIX) return setMsiTrigger(core, index, request);
  return setSingleTrigger(request, index === ERR ? 'error' : 'request');
}

/** vfio_set_irqs_validate_and_prepare. EINVAL. */
function validate({ fn }: VfioPciCore, { argsz, flags, index, start, count }: Arg): Refusal | null {
  const where = 'vfio_set_irqs_validate_and_prepare';
  if (index >= NUM_IRQS) return refuse('EINVAL', where, `there is no interrupt type ${index}: they are 0 to 4`);
  if (count >= U32_MAX - start || flags & ~(DATA_TYPES | ACTIONS))
    return refuse('EINVAL', where, 'unknown flag, or start + count has no 32 bits');
  const vectors = irqCount(fn, index);
  if (start >= vectors || start + count > vectors)
    return refuse('EINVAL', where, `${fn.bdf} has ${vectors} vectors of this type, the first of them 0`);
  const size = DATA_SIZES.get(flags & DATA_TYPES);
  if (size === undefined) return refuse('EINVAL', where, 'the flags have to name one type of data');
  if (argsz - HEADER_BYTES < count * size)
    return refuse('EINVAL', where, `argsz has to be ${HEADER_BYTES} + ${count * size} for ${count} vectors`);
  return null;
}

/** The bytes behind the header: `data`, or those of the descriptors. */
function behind({ data, eventfds }: Arg): DataView {
  if (data) return new DataView(data.buffer, data.byteOffset, data.byteLength);
  const words = new DataView(new ArrayBuffer(4 * (eventfds?.length ?? 0)));
  for (const [at, fd] of (eventfds ?? []).entries()) words.setInt32(4 * at, fd, true);
  return words;
}

/** EINVAL: INTx is not enabled, or it is not about its one vector. */
function checkIntx({ irqs, start, count }: Request, where: string): Refusal | null {
  if (irqs.type === 'intx' && start === 0 && count === 1) return null;
  return refuse('EINVAL', where, 'INTx is not enabled, or start is not 0 and count not 1');
}

/** vfio_pci_set_intx_mask. EINVAL, ENOTTY. */
function setIntxMask(request: Request): IoctlOk | Refusal {
  const where = 'vfio_pci_set_intx_mask';
  const refusal = checkIntx(request, where);
  if (refusal) return refusal;
  if (request.type === DATA_EVENTFD) return refuse('ENOTTY', where, 'no eventfd can mask INTx');
  if (request.type === DATA_NONE || boolAt(request, 0)) request.irqs.maskIntx();
  return {};
}

/** vfio_pci_set_intx_unmask. EINVAL; with an eventfd: EBADF, EINVAL, EBUSY. */
function setIntxUnmask(request: Request): IoctlOk | Refusal {
  const refusal = checkIntx(request, 'vfio_pci_set_intx_unmask');
  if (refusal) return refusal;
  const { irqs, process, type } = request;
  if (type === DATA_EVENTFD) {
    const fd = fdAt(request, 0);
    if (fd >= 0) return irqs.intxUnmask.enable(process, fd) ?? {};
    irqs.intxUnmask.disable();
  } else if (type === DATA_NONE || boolAt(request, 0)) irqs.unmaskIntx();
  return {};
}

/** vfio_pci_set_intx_trigger. EINVAL; with an eventfd: EBADF, EINVAL. */
function setIntxTrigger(request: Request): IoctlOk | Refusal {
  const where = 'vfio_pci_set_intx_trigger';
  const { irqs, process, start, count, type } = request;
  const enabled = irqs.type === 'intx';
  if (enabled && count === 0 && type === DATA_NONE) {
    irqs.disable();
    return {};
  }
  if (!(enabled || irqs.type === null) || start !== 0 || count !== 1)
    return refuse('EINVAL', where, 'another type is enabled, or start is not 0 and count not 1');
  if (type === DATA_EVENTFD) {
    const fd = fdAt(request, 0);
    const trigger = fd >= 0 ? eventfdOf(process, fd) : null;
    if (trigger instanceof Refusal) return trigger;
    if (enabled) irqs.setIntxTrigger(trigger);
    else irqs.enableIntx(trigger);
    return {};
  }
  if (!enabled) return refuse('EINVAL', where, 'INTx is not enabled');
  if (type === DATA_NONE || boolAt(request, 0)) irqs.sendIntx();
  return {};
}

/** vfio_pci_set_msi_trigger. EINVAL; with eventfds: ERANGE, EBADF, EINVAL. */
function setMsiTrigger(core: VfioPciCore, index: number, request: Request): IoctlOk | Refusal {
  const where = 'vfio_pci_set_msi_trigger';
  const type = index === MSIX ? 'msix' : 'msi';
  const { irqs, start, count } = request;
  const enabled = irqs.type === type;
  if (enabled && count === 0 && request.type === DATA_NONE) {
    irqs.disable();
    return {};
  }
  if (!(enabled || irqs.type === null))
    return refuse('EINVAL', where, `${irqs.type} is enabled: one type of interrupts at a time`);
  if (request.type === DATA_EVENTFD) {
    if (enabled) return setBlock(request) ?? {};
    const vectors = start + count;
    if (vectors === 0) return refuse('ERANGE', 'pci_alloc_irq_vectors', 'no vectors are asked for');
    // Where only one can be had Linux returns that number, which is no error.
    if (type === 'msi' && vectors > 1 && !hasMultiMsi(core)) return { ret: 1 };
    irqs.enableMsi(type, vectors);
    const refusal = setBlock(request);
    if (refusal) irqs.disable();
    return refusal ?? {};
  }
  if (!enabled) return refuse('EINVAL', where, `${type} is not enabled`);
  for (let at = 0; at < count; at++)
    if (request.type === DATA_NONE || boolAt(request, at)) irqs.trigger(start + at)?.signal();
  return {};
}

/** Without interrupt remapping x86 has no vectors in a row for MSI (MSI_FLAG_MULTI_PCI_MSI). */
function hasMultiMsi({ fn, kernel }: VfioPciCore): boolean {
  const { spec, kind } = kernel.machine.unitOf(fn);
  return spec.interruptRemapping || kind === 'arm-smmuv3';
}

/** vfio_msi_set_block. After a refusal no vector up to the refused one signals anything. */
function setBlock(request: Request): Refusal | null {
  const { irqs, process, start, count } = request;
  for (let at = 0; at < count; at++) {
    const refusal = irqs.setVector(process, start + at, fdAt(request, at));
    if (!refusal) continue;
    for (let before = 0; before <= at; before++) irqs.setVector(process, start + before, -1);
    return refusal;
  }
  return null;
}

/** vfio_pci_set_ctx_trigger_single: of errors and of the request. EINVAL; with an eventfd: EBADF, EINVAL. */
function setSingleTrigger(request: Request, name: 'error' | 'request'): IoctlOk | Refusal {
  const where = 'vfio_pci_set_ctx_trigger_single';
  const { irqs, process, count, type } = request;
  const current = irqs[name];
  if (type === DATA_NONE) {
    if (!current) return refuse('EINVAL', where, 'it has no eventfd');
    if (count > 0) current.signal();
    else irqs[name] = null;
    return {};
  }
  if (count === 0) return refuse('EINVAL', where, 'count is 0: with DATA_NONE that takes the eventfd away');
  if (type === DATA_BOOL) {
    if (boolAt(request, 0)) current?.signal();
    return {};
  }
  const fd = fdAt(request, 0);
  if (fd < -1) return refuse('EINVAL', where, 'a negative descriptor other than -1');
  const trigger: Eventfd | null | Refusal = fd === -1 ? null : eventfdOf(process, fd);
  if (trigger instanceof Refusal) return trigger;
  irqs[name] = trigger;
  return {};
}
