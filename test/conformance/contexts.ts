/**
 * Which descriptors keep which iommufd: its own, those of its queues and those of accesses. A device of the traced mock
 * IOMMU does not, one on vfio-pci does: so the replayer has to know when the last descriptor is closed.
 */

export interface Context {
  id: number;
  /** Descriptors in all processes of the trace. */
  descriptors: number;
}

export class Contexts {
  #at = new Map<string, Context>();
  #made = 0;

  of(pid: number, fd: unknown): Context | undefined {
    return this.#at.get(`${pid}:${fd}`);
  }

  opened(pid: number, fd: number): void {
    this.#at.set(`${pid}:${fd}`, { id: this.#made++, descriptors: 1 });
  }

  /** By dup or by sending, or of something that keeps the iommufd. */
  copied(context: Context, pid: number, fd: number): void {
    context.descriptors++;
    this.#at.set(`${pid}:${fd}`, context);
  }

  /** The iommufd, if this was the last descriptor of one. */
  closed(pid: number, fd: unknown): Context | undefined {
    const context = this.of(pid, fd);
    if (context === undefined) return undefined;
    this.#at.delete(`${pid}:${fd}`);
    context.descriptors--;
    return context.descriptors === 0 ? context : undefined;
  }

  /** The iommufds whose last descriptors were this process's. */
  exited(pid: number): Context[] {
    const mine = [...this.#at.keys()].filter((key) => key.startsWith(`${pid}:`));
    return mine.flatMap((key) => this.closed(pid, key.slice(`${pid}:`.length)) ?? []);
  }

  clear(): void {
    this.#at.clear();
  }
}
