/**
 * An iommufd: the file behind one open of /dev/iommu or /dev/vfio/vfio, which is the context that owns its objects
 * (drivers/iommu/iommufd/main.c). Bound devices hold a reference, so the context outlives its descriptors with them.
 */
import { assert, Refusal, refuse } from '../errno.ts';
import { type Handlers, type MapRequest, type MapTarget, OpenFile } from '../file.ts';
import type { PagingDomain } from '../iommu/domain.ts';
import type { IommuGroup } from '../iommu/group.ts';
import type { IommuKernel, IommuLiveUpdate } from '../iommu/iommu.ts';
import type { RestoredIommufd } from '../iommu/liveupdate/restored-hwpt.ts';
import type { LockedCounter } from '../process.ts';
import type { RequestDescriptor, RequestName } from '../uapi/index.ts';
import type { GroupAttachment } from './device/device.ts';
import { PasidTable } from './device/pasid.ts';
import { IOMMUFD_HANDLERS } from './handlers.ts';
import { HwptPaging } from './hw-pagetable/hwpt.ts';
import type { Ioas } from './ioas.ts';
import { type IommufdObject, ObjectTable } from './objects.ts';
import { pageToMap, type ViommuPage } from './viommu/viommu-page.ts';

/** What live update has to know of iommufds. */
export interface IommufdLiveUpdate extends IommuLiveUpdate {
  /** Whether devices in luo mode are on the domain. */
  hasWaiting(domain: PagingDomain): boolean;
  iommufdClosed(context: IommufdContext): void;
  /** A device has moved from a restored HWPT to another. */
  swapped(old: HwptPaging, next: HwptPaging, bdf: string): void;
  isOutOfReach(domain: PagingDomain): boolean;
}

/** What iommufds need of the kernel. */
export interface IommufdKernel extends IommuKernel {
  readonly restored: IommufdLiveUpdate;
  /** Locked pages of a user. */
  userLocked(uid: number): LockedCounter;
}

/** Device nodes that give an iommufd. */
export type IommufdNode = '/dev/iommu' | '/dev/vfio/vfio';

/** Requests of the design, and the rule that has each. */
const DESIGNED: { readonly [Name in RequestName]?: string } = {
  IOMMU_HWPT_LU_SET_PRESERVE: 'C1',
  IOMMU_HWPT_LU_RESTORE: 'R9',
};

export class IommufdContext extends OpenFile {
  /** What can be found again; see `src/host/state`. */
  static readonly caches = { _marked: () => null };

  readonly kind = 'iommufd';
  readonly kernel: IommufdKernel;
  /** The node that was opened: the container's, which programs of VFIO know, counts locked memory another way. */
  readonly node: IommufdNode;
  readonly objects = new ObjectTable();
  /** What the devices of each group are attached to. */
  readonly attachments = new Map<IommuGroup, GroupAttachment>();
  readonly pasids = new PasidTable();
  /** Pages of vIOMMUs that an mmap of the iommufd shows, by offset in bytes. */
  readonly mmaps = new Map<bigint, ViommuPage>();
  /** The IOAS that the container requests of VFIO act on. */
  vfioIoas: Ioas | null = null;
  /** IOMMU_OPTION_RLIMIT_MODE is 1: locked memory is counted for each address space, not for each user. */
  perProcessLimit: boolean;
  /** Set where the file came out of a session: the tokens it may restore. */
  restored: RestoredIommufd | null = null;
  /** The name of the outgoing session that it is in; null: in none. */
  preservedIn: string | null = null;

  /** HWPTs by the token of their mark; null: not asked for yet. Some of them are gone, or have another token by now. */
  private _marked: Map<bigint, HwptPaging> | null = null;

  /** iommufd_fops_open. */
  constructor(kernel: IommufdKernel, node: IommufdNode = '/dev/iommu') {
    super();
    this.kernel = kernel;
    this.node = node;
    this.perProcessLimit = node === '/dev/vfio/vfio';
  }

  /** An iommufd that came out of a session was never opened through the node. */
  link(): string {
    return this.restored ? 'anon_inode:iommufd' : this.node;
  }

  /** What only the design has is unknown to a kernel as it is merged. */
  override beforeIoctl(request: RequestDescriptor | null): Refusal | null {
    const rule = request && DESIGNED[request.name];
    if (!rule || this.kernel.profile === 'persisted-domains') return null;
    return refuse('ENOTTY', 'iommufd_fops_ioctl', 'this kernel (profile linux-7.3) has no such request', rule);
  }

  override get handlers(): Handlers<'iommufd', IommufdContext> {
    return IOMMUFD_HANDLERS;
  }

  /** The page of a vIOMMU. */
  override map(request: MapRequest): MapTarget | Refusal {
    const page = pageToMap(this, request);
    return page instanceof Refusal ? page : { device: page, offset: 0n };
  }

  /** The HWPT that is marked with a token. */
  markedWith(token: bigint): HwptPaging | undefined {
    if (this._marked === null) {
      this._marked = new Map();
      for (const object of this.objects.visible())
        if (object instanceof HwptPaging && object.mark !== null) this._marked.set(object.mark, object);
    }
    const hwpt = this._marked.get(token);
    return hwpt?.mark === token && this.objects.get(hwpt.id) === hwpt ? hwpt : undefined;
  }

  /** Marks a HWPT for the next live update, with a token that no other one has. */
  mark(hwpt: HwptPaging, token: bigint): void {
    hwpt.mark = token;
    this._marked?.set(token, hwpt);
  }

  /** iommufd_fops_release: destroys what nothing uses, leaves first, until nothing is left. */
  release(): void {
    for (;;) {
      const leaves = [...this.objects.visible()].filter((object) => object.users === 0);
      if (leaves.length === 0) break;
      for (const leaf of leaves) if (leaf.users === 0) this.destroy(leaf);
    }
    assert([...this.objects.visible()].length === 0, 'a released iommufd has no objects left');
    this.kernel.restored.iommufdClosed(this);
  }

  /** Destroys an object that nothing uses. */
  destroy(object: IommufdObject): void {
    assert(object.users === 0, 'only an unused object is destroyed');
    object.destroy();
    this.objects.remove(object.id);
  }
}
