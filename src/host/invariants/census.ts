/**
 * Who is there: the files, memfds and iommufds that processes, sessions and devices of a kernel lead to, and who holds
 * each of them.
 */
import type { OpenFile } from '../../kernel/file.ts';
import { IommufdContext } from '../../kernel/iommufd/context.ts';
import { AccessFile } from '../../kernel/iommufd/device/access-file.ts';
import { IommufdDevice } from '../../kernel/iommufd/device/device.ts';
import { ObjectFile } from '../../kernel/iommufd/eventq/queue-file.ts';
import { Ioas } from '../../kernel/iommufd/ioas.ts';
import type { IommufdObject } from '../../kernel/iommufd/objects.ts';
import type { Viommu } from '../../kernel/iommufd/viommu/viommu.ts';
import { ViommuPage } from '../../kernel/iommufd/viommu/viommu-page.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { Mapping } from '../../kernel/mm/mapping.ts';
import { mayWriteFile } from '../../kernel/mm/mapping.ts';
import { MemfdFile } from '../../kernel/mm/memfd-file.ts';
import type { ShmemInode } from '../../kernel/mm/shmem.ts';
import { VfioDeviceFile } from '../../kernel/vfio/device-file.ts';
import { VfioGroupFile } from '../../kernel/vfio/group-file.ts';
import { BarMapping } from '../../kernel/vfio/pci/mmap.ts';
import { Tally } from './finding.ts';

export class Census {
  readonly kernel: Kernel;
  readonly files = new Tally<OpenFile>();
  /** Files by what they show. */
  readonly inodes = new Tally<ShmemInode>();
  /** Shared mappings that may be writable. */
  readonly writers = new Tally<ShmemInode>();
  readonly contexts: IommufdContext[] = [];
  /** Mappings of the pages of vIOMMUs. */
  readonly pages = new Tally<Viommu>();
  readonly viommuPages = new Set<ViommuPage>();

  constructor(kernel: Kernel) {
    this.kernel = kernel;
    for (const process of kernel.processes.values()) {
      for (const [fd, file] of process.descriptors) this._hold(file, `descriptor ${fd} of process ${process.pid}`);
      for (const mapping of process.mm.mappings) {
        const name = `the mapping at page 0x${mapping.first.toString(16)} of process ${process.pid}`;
        this._map(mapping, name);
        if (mapping.device instanceof BarMapping) this._hold(mapping.device.file, name);
      }
    }
    for (const { name, files } of kernel.luo?.outgoing ?? [])
      for (const { file, token } of files) this._hold(file, `token ${token} of session "${name}"`);
    for (const { name, files } of kernel.luo?.incoming ?? [])
      for (const { file, token } of files) if (file) this._hold(file, `token ${token} of incoming session "${name}"`);
    for (const context of kernel.restored.contexts) this._meet(context);
    for (const device of kernel.vfio.devices.values()) for (const file of device.files) this._meet(file);
    for (const file of kernel.vfio.groupFiles.values()) this._meet(file);
  }

  /** A name for what has none: by the first who holds it. */
  nameOf(file: OpenFile): string {
    const [holder = 'that nobody holds'] = this.files.of(file);
    return `the ${file.kind} (${holder})`;
  }

  nameOfObject(context: IommufdContext, { type, id }: IommufdObject): string {
    return `${type} ${id} of ${this.nameOf(context)}`;
  }

  inodeName({ name }: ShmemInode): string {
    return name === '' ? 'a memfd that came out of a session' : `"${name}"`;
  }

  private _hold(file: OpenFile, holder: string): void {
    const isNew = this.files.meet(file);
    this.files.add(file, holder);
    if (isNew) this._follow(file);
  }

  private _meet(file: OpenFile): void {
    if (this.files.meet(file)) this._follow(file);
  }

  /** What a file holds itself. */
  private _follow(file: OpenFile): void {
    if (file instanceof IommufdContext) this._followContext(file);
    else if (file instanceof MemfdFile) this.inodes.add(file.inode, 'a file');
    else if (file instanceof ObjectFile)
      this._hold(file.context, `the descriptor of ${file.object.type} ${file.object.id}`);
    else if (file instanceof AccessFile) this._hold(file.access.context, `the descriptor of access ${file.access.id}`);
    else if (file instanceof VfioGroupFile && file.container) this._hold(file.container, `legacy group ${file.group}`);
    else if (file instanceof VfioDeviceFile && file.device.bound) this._meet(file.device.bound.context);
  }

  private _followContext(context: IommufdContext): void {
    this.contexts.push(context);
    for (const object of context.objects.visible()) {
      if (object instanceof IommufdDevice) this._hold(context, `device ${object.id}`);
      if (object instanceof Ioas)
        for (const { origin } of object.iopt.sources)
          if (origin.kind === 'file') this._hold(origin.file, `IOAS ${object.id}`);
    }
    for (const page of context.mmaps.values()) this.viommuPages.add(page);
  }

  private _map(mapping: Readonly<Mapping>, by: string): void {
    const { file, device } = mapping;
    if (file) this._hold(file, by);
    if (file && mayWriteFile(mapping)) this.writers.add(file.inode, by);
    if (!(device instanceof ViommuPage)) return;
    this.pages.add(device.viommu, by);
    this._hold(device.viommu.context, by);
  }
}
