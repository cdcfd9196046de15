/** Eventfds that store into a BAR as soon as they are signalled (drivers/vfio/pci/vfio_pci_rdwr.c). */
import { barOf, barSize } from '../../../machine/pci/bar-memory.ts';
import { msixOf, tableIn } from '../../../machine/pci/msix.ts';
import { type Refusal, refuse } from '../../errno.ts';
import type { IoctlOk } from '../../file.ts';
import type { Process } from '../../process.ts';
import { IOEVENTFD_FLAGS } from '../../uapi/bits.ts';
import type { ArgOf } from '../../uapi/index.ts';
import { Virqfd } from '../virqfd.ts';
import type { VfioPciCore } from './core.ts';
import { storeInto } from './rdwr.ts';
import { positionOf, regionOf } from './regions.ts';

/** VFIO_PCI_IOEVENTFD_MAX: of a device. */
const MAX_IOEVENTFDS = 1000;
const LAST_BAR = 5;

/** Each flag is the number of bytes that are stored. */
const SIZES: readonly number[] = Object.values(IOEVENTFD_FLAGS);

/** struct vfio_pci_ioeventfd. It stays, and is in the way of another one, when its eventfd is closed. */
export class Ioeventfd extends Virqfd {
  private readonly _core: VfioPciCore;
  /** BAR, first byte in it, bytes, and what is stored, of 64 bits whatever the width. */
  readonly bar: number;
  readonly pos: number;
  readonly size: number;
  readonly data: bigint;

  constructor(core: VfioPciCore, bar: number, pos: number, size: number, data: bigint) {
    super();
    this._core = core;
    this.bar = bar;
    this.pos = pos;
    this.size = size;
    this.data = data;
  }

  /** vfio_pci_ioeventfd_handler: nothing is stored while the BAR does not answer. */
  protected run(): void {
    const { fn, memoryEnabled, ioEnabled } = this._core;
    const bar = barOf(fn, this.bar)!;
    if (!(bar.kind === 'io' ? ioEnabled : memoryEnabled)) return;
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, this.data, true);
    storeInto(this._core, bar, this.pos, bytes.subarray(0, this.size));
  }
}

/**
 * vfio_pci_ioctl_ioeventfd, vfio_pci_ioeventfd. EINVAL: not one width, a negative descriptor other than -1, no BAR, behind its
 * end, in the table of MSI-X, or not an eventfd; EEXIST; ENODEV: there is none to take away; ENOSPC; EBADF.
 */
export function ioeventfd(
  core: VfioPciCore,
  { flags, offset, data, fd }: ArgOf<'VFIO_DEVICE_IOEVENTFD'>,
  process: Process,
): IoctlOk | Refusal {
  const where = 'vfio_pci_ioeventfd';
  if (!SIZES.includes(flags))
    return refuse('EINVAL', 'vfio_pci_ioctl_ioeventfd', 'the flags have to name one width: 1, 2, 4 or 8 bytes');
  if (fd < -1) return refuse('EINVAL', 'vfio_pci_ioctl_ioeventfd', 'a negative descriptor other than -1');
  const index = regionOf(offset);
  const bar = index <= LAST_BAR ? barOf(core.fn, index) : undefined;
  if (!bar) return refuse('EINVAL', where, `${core.fn.bdf} has no BAR ${index}`);
  const start = Number(positionOf(offset));
  const end = start + flags;
  if (end > barSize(bar)) return refuse('EINVAL', where, `BAR ${index} has ${barSize(bar)} bytes`);
  const table = tableIn(msixOf(core.fn), index);
  if (start < table.end && end > table.start)
    return refuse('EINVAL', where, 'an eventfd cannot store into the table of MSI-X');
  const same = core.ioeventfds.find(
    (one) => one.bar === index && one.pos === start && one.size === flags && one.data === data,
  );
  if (same) {
    if (fd !== -1) return refuse('EEXIST', where, 'an eventfd stores this there already');
    same.disable();
    core.ioeventfds = core.ioeventfds.filter((one) => one !== same);
    return {};
  }
  if (fd < 0) return refuse('ENODEV', where, 'no eventfd stores this there');
  if (core.ioeventfds.length >= MAX_IOEVENTFDS) return refuse('ENOSPC', where, `at most ${MAX_IOEVENTFDS} of a device`);
  const made = new Ioeventfd(core, index, start, flags, data);
  const refusal = made.enable(process, fd);
  if (refusal) return refusal;
  core.ioeventfds = [...core.ioeventfds, made];
  return {};
}
