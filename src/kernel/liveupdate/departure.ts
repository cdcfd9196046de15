/**
 * What a kexec takes away without a word: devices of programs that are not handed over, and sessions of the kernel before that
 * nobody has finished.
 */
import type { PciFunction } from '../../machine/pci/function.ts';
import type { Kernel } from '../kernel.ts';

type WhyLeft = 'no-session' | 'not-adopted' | 'plain-kexec' | 'no-liveupdate';

export interface LeftBehind {
  readonly fn: PciFunction;
  readonly why: WhyLeft;
}

/** For people, behind the name of a device. */
export const WHY_LEFT: Readonly<Record<WhyLeft, string>> = {
  'no-session': 'its cdev is in no session',
  'not-adopted': 'it came from the kernel before, nobody has adopted it, and that does not travel on',
  'plain-kexec': 'a plain kexec hands nothing over',
  'no-liveupdate': 'this kernel has no Live Update Orchestrator',
};

/** The functions whose DMA a program, or what was restored, depends on, and that are not among those that are handed over. */
export function leftBehind(kernel: Kernel, kept: ReadonlySet<PciFunction>, isPlain: boolean): LeftBehind[] {
  const left: LeftBehind[] = [];
  for (const fn of kernel.machine.functions.values()) {
    const group = kept.has(fn) ? null : kernel.iommu.groupOf(fn);
    if (!group) continue;
    const { owner, domain } = group;
    const isRestored = owner.kind === 'restored';
    if (!isRestored && !(owner.kind === 'user' && (domain.kind === 'paging' || domain.kind === 'nested'))) continue;
    const why = isPlain
      ? 'plain-kexec'
      : kernel.luo === null
        ? 'no-liveupdate'
        : isRestored
          ? 'not-adopted'
          : 'no-session';
    left.push({ fn, why });
  }
  return left;
}

/** Raises the hazards of a kernel that ends. */
export function tellDeparture(kernel: Kernel, left: readonly LeftBehind[]): void {
  const users = left.length > 0 ? usersOf(kernel) : new Map<string, { pid: number; name: string }>();
  for (const { fn, why } of left) {
    const { bdf } = fn;
    const user = users.get(bdf);
    const whose = user ? `, which process ${user.pid} (${user.name}) has open,` : '';
    kernel.emit(
      'hazard',
      `${bdf}${whose} is left behind: ${WHY_LEFT[why]}; its DMA ends here`,
      { hazard: 'device-left-behind', bdf, pid: user?.pid ?? null, why },
      why === 'not-adopted' ? 'R24' : undefined,
    );
  }
  for (const session of kernel.luo?.unfinished ?? [])
    kernel.emit(
      'hazard',
      `session "${session}" of the kernel before is not finished: it ends here, with what is in it`,
      { hazard: 'session-lost', session },
      'R24',
    );
}

/** Who has each VFIO device open: the process with the least number. */
function usersOf({ processes, vfio }: Kernel): Map<string, { pid: number; name: string }> {
  const files = new Map([...vfio.devices].flatMap(([bdf, device]) => [...device.files].map((file) => [file, bdf])));
  const users = new Map<string, { pid: number; name: string }>();
  for (const { pid, name, descriptors } of processes.values())
    for (const file of descriptors.values()) {
      const bdf = files.get(file as never);
      if (bdf !== undefined && pid < (users.get(bdf)?.pid ?? Number.POSITIVE_INFINITY)) users.set(bdf, { pid, name });
    }
  return users;
}
