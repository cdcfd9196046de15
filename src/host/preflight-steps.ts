/**
 * What is missing before a live update, so that no device that is in use is left behind: for each of them the steps of the path
 * into a session (C1 to C3) that were not taken yet, in the order in which the kernel wants them.
 */
import { FACES, type Face } from '../kernel/faces.ts';
import type { OpenFile } from '../kernel/file.ts';
import { memfdOf, sourcesOf } from '../kernel/iommu/liveupdate/iommufd.ts';
import { HwptPaging } from '../kernel/iommufd/hw-pagetable/hwpt.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { leftBehind } from '../kernel/liveupdate/departure.ts';
import { MemfdFile } from '../kernel/mm/memfd-file.ts';
import type { VfioDeviceFile } from '../kernel/vfio/device-file.ts';
import { hex } from '../machine/address.ts';
import type { PciFunction } from '../machine/pci/function.ts';
import type { PreflightStep } from './views.ts';

/** In the order of the path; the same step for several devices once. */
export function stepsFor(kernel: Kernel): PreflightStep[] {
  const { luo } = kernel;
  if (luo === null) return [step('boot a kernel with kho and liveupdate: this one cannot hand anything over', null)];
  const found = new Steps(kernel);
  for (const { fn } of leftBehind(kernel, kernel.preservedFunctions(), false)) found.device(fn);
  for (const session of luo.unfinished) found.unfinished(session);
  for (const { files } of luo.outgoing) for (const { file } of files) found.interrupts(file);
  return found.inOrder;
}

/** `face`: what does it; null: there is no operation for it. `bdf`: the device that it is for; null: for all. */
const step = (what: string, face: Face | null, bdf: string | null = null): PreflightStep => ({
  what,
  rest: face?.rest ?? null,
  call: face?.call ?? null,
  bdf,
});

class Steps {
  readonly #kernel: Kernel;
  /** By their places in the path. */
  readonly #before: PreflightStep[] = [];
  readonly #memory: PreflightStep[] = [];
  readonly #hwpts: PreflightStep[] = [];
  readonly #iommufds: PreflightStep[] = [];
  readonly #cdevs: PreflightStep[] = [];
  readonly #known = new Set<string>();
  #holders: Map<object, string> | null = null;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  get inOrder(): PreflightStep[] {
    return [...this.#before, ...this.#memory, ...this.#hwpts, ...this.#iommufds, ...this.#cdevs];
  }

  /** A session of the kernel before goes no further. */
  unfinished(session: string): void {
    this.#add(
      this.#before,
      step(
        `finish session "${session}" of the kernel before, and preserve what the next one needs in a new session`,
        FACES.finish,
      ),
    );
  }

  /** A freeze refuses a device whose interrupts are enabled (R22). */
  interrupts(file: OpenFile): void {
    const device = this.#kernel.vfio.devices.values().find(({ files }) => files.has(file as VfioDeviceFile));
    if (!device?.interruptsEnabled) return;
    const { bdf } = device.fn;
    this.#add(
      this.#cdevs,
      step(
        `disable the interrupts of ${bdf}`,
        device.fn.interruptsEnabled ? FACES.switchInterrupts : FACES.disableInterrupts,
        bdf,
      ),
    );
  }

  /** A device whose DMA a program depends on, and that is in no session. */
  device(fn: PciFunction): void {
    const { bdf } = fn;
    const device = this.#kernel.vfio.devices.get(bdf);
    const [file] = device?.boundFiles ?? [];
    if (!device?.bound || !file) {
      this.#add(
        this.#before,
        step(
          `adopt ${bdf}: bind vfio-pci, retrieve its session, its iommufd and its cdev, and bind the cdev to the iommufd`,
          FACES.bindIommufd,
          bdf,
        ),
      );
      return;
    }
    const { hwpt } = device.bound;
    if (hwpt instanceof HwptPaging) this.#hwpt(hwpt, bdf);
    this.#add(this.#cdevs, step(`preserve the cdev of ${bdf}${this.#of(file)}`, FACES.preserve, bdf));
    this.interrupts(file);
  }

  #hwpt(hwpt: HwptPaging, bdf: string): void {
    const { context, id } = hwpt;
    const iommufd = `the iommufd${this.#of(context)}`;
    if (hwpt.restored || hwpt.auto) {
      const why = hwpt.restored ? 'is restored' : 'was made by attaching to an IOAS';
      this.#add(
        this.#hwpts,
        step(
          `attach ${bdf} to a HWPT that you have made, as HWPT ${id} ${why} and cannot be marked; then ask again`,
          FACES.attach,
          bdf,
        ),
      );
      return;
    }
    this.#sources(hwpt, bdf);
    if (hwpt.mark === null) this.#add(this.#hwpts, step(`mark HWPT ${id} of ${iommufd}`, FACES.markHwpt, bdf));
    if (context.preservedIn === null) this.#add(this.#iommufds, step(`preserve ${iommufd}`, FACES.preserve));
  }

  #sources(hwpt: HwptPaging, bdf: string): void {
    for (const { iova, source } of sourcesOf(hwpt)) {
      const memfd = memfdOf(source);
      if (source.kind !== 'file' || memfd === null) {
        const what = `map a sealed memfd at ${hex(iova)} in place of memory of a process: HWPT ${hwpt.id} cannot be preserved with that`;
        this.#add(this.#memory, step(what, FACES.mapFile, bdf));
        continue;
      }
      const name = `${memfd.name || 'a memfd'}${this.#of(memfd)}`;
      if (!source.sealedAtMap) {
        const what = `unmap ${name} at ${hex(iova)}, seal it (F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW), and map it again`;
        this.#add(this.#memory, step(what, FACES.addSeals, bdf));
      }
      if (this.#kernel.luo!.sessionOf(memfd) === null)
        this.#add(this.#memory, step(`preserve ${name}`, FACES.preserve));
    }
  }

  #add(place: PreflightStep[], step: PreflightStep): void {
    if (this.#known.has(step.what)) return;
    this.#known.add(step.what);
    place.push(step);
  }

  /** Who has it open: of several the process with the least number. */
  #of(identity: object): string {
    if (this.#holders === null) {
      this.#holders = new Map();
      for (const { pid, descriptors } of [...this.#kernel.processes.values()].sort((a, b) => a.pid - b.pid))
        for (const [fd, file] of descriptors) {
          const object = file instanceof MemfdFile ? file.inode : file;
          if (!this.#holders.has(object)) this.#holders.set(object, ` (process ${pid}, descriptor ${fd})`);
        }
    }
    return this.#holders.get(identity) ?? '';
  }
}
