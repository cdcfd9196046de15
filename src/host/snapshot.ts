/**
 * Snapshots: a host as plain data that can be stored, and a host made of it again. The classes and constants that a host
 * may hold are listed here; a new one that is missing is found by the first snapshot that meets it.
 */

import * as drivers from '../kernel/drivers.ts';
import * as faults from '../kernel/faults.ts';
import * as file from '../kernel/file.ts';
import * as domain from '../kernel/iommu/domain.ts';
import { BLOCKED, DEFAULT, IDENTITY } from '../kernel/iommu/domain.ts';
import * as group from '../kernel/iommu/group.ts';
import * as iommu from '../kernel/iommu/iommu.ts';
import { IOMMUFD_HANDLER } from '../kernel/iommu/liveupdate/iommufd.ts';
import * as restored from '../kernel/iommu/liveupdate/restored.ts';
import * as areaBlocks from '../kernel/iommufd/areas/area-blocks.ts';
import * as areaCursor from '../kernel/iommufd/areas/area-cursor.ts';
import * as areaGaps from '../kernel/iommufd/areas/area-gaps.ts';
import * as areaGroup from '../kernel/iommufd/areas/area-group.ts';
import * as areaIndex from '../kernel/iommufd/areas/area-index.ts';
import * as areaPages from '../kernel/iommufd/areas/area-pages.ts';
import * as areaTable from '../kernel/iommufd/areas/area-table.ts';
import * as context from '../kernel/iommufd/context.ts';
import * as access from '../kernel/iommufd/device/access.ts';
import * as accessFile from '../kernel/iommufd/device/access-file.ts';
import * as device from '../kernel/iommufd/device/device.ts';
import * as pasid from '../kernel/iommufd/device/pasid.ts';
import * as faultQueue from '../kernel/iommufd/eventq/fault-queue.ts';
import * as queueFile from '../kernel/iommufd/eventq/queue-file.ts';
import * as veventq from '../kernel/iommufd/eventq/veventq.ts';
import * as hwpt from '../kernel/iommufd/hw-pagetable/hwpt.ts';
import * as nested from '../kernel/iommufd/hw-pagetable/nested.ts';
import * as domainSpace from '../kernel/iommufd/io-pagetable/domain-space.ts';
import * as ioPagetable from '../kernel/iommufd/io-pagetable/io-pagetable.ts';
import * as iovaSpace from '../kernel/iommufd/io-pagetable/iova-space.ts';
import * as pages from '../kernel/iommufd/io-pagetable/pages.ts';
import * as sourceList from '../kernel/iommufd/io-pagetable/source-list.ts';
import * as ioas from '../kernel/iommufd/ioas.ts';
import * as objects from '../kernel/iommufd/objects.ts';
import * as hwQueue from '../kernel/iommufd/viommu/hw-queue.ts';
import * as vdevice from '../kernel/iommufd/viommu/vdevice.ts';
import * as viommu from '../kernel/iommufd/viommu/viommu.ts';
import * as viommuPage from '../kernel/iommufd/viommu/viommu-page.ts';
import * as kernel from '../kernel/kernel.ts';
import * as kho from '../kernel/kho/handover.ts';
import * as liveUpdateFiles from '../kernel/liveupdate/files.ts';
import * as handler from '../kernel/liveupdate/handler.ts';
import * as luo from '../kernel/liveupdate/luo.ts';
import * as addressSpace from '../kernel/mm/address-space.ts';
import * as frameMap from '../kernel/mm/frame-map.ts';
import { MEMFD_HANDLER } from '../kernel/mm/memfd-luo.ts';
import * as shmem from '../kernel/mm/shmem.ts';
import * as process from '../kernel/process.ts';
import * as deviceFile from '../kernel/vfio/device-file.ts';
import * as groupFile from '../kernel/vfio/group-file.ts';
import * as vfio from '../kernel/vfio/vfio.ts';
import { VFIO_HANDLER } from '../kernel/vfio/vfio-luo.ts';
import * as frameContents from '../machine/frame-contents.ts';
import * as frameOwners from '../machine/frame-owners.ts';
import * as framePins from '../machine/frame-pins.ts';
import * as iommuUnit from '../machine/iommu-unit.ts';
import * as machine from '../machine/machine.ts';
import * as memory from '../machine/memory.ts';
import * as pageTable from '../machine/page-table.ts';
import * as pci from '../machine/pci.ts';
import * as tableWalk from '../machine/table-walk.ts';
import { Host } from './host.ts';
import { type Graph, GraphCodec } from './object-graph.ts';

const MODULES: readonly Record<string, unknown>[] = [
  accessFile,
  access,
  faultQueue,
  hwQueue,
  nested,
  pasid,
  queueFile,
  vdevice,
  veventq,
  viommuPage,
  viommu,
  addressSpace,
  areaBlocks,
  areaCursor,
  areaGaps,
  areaGroup,
  areaPages,
  iovaSpace,
  areaIndex,
  areaTable,
  context,
  device,
  deviceFile,
  domain,
  domainSpace,
  drivers,
  faults,
  file,
  frameContents,
  frameMap,
  frameOwners,
  framePins,
  group,
  groupFile,
  handler,
  hwpt,
  ioPagetable,
  ioas,
  iommu,
  iommuUnit,
  kernel,
  kho,
  liveUpdateFiles,
  luo,
  machine,
  memory,
  objects,
  pageTable,
  pages,
  pci,
  process,
  restored,
  shmem,
  sourceList,
  tableWalk,
  vfio,
];

type Constructor = new (...args: never[]) => object;

/** Classes are the exported functions with a prototype of their own that begin with a capital. */
const classes = new Set<Constructor>([Host]);
for (const exported of MODULES)
  for (const [name, value] of Object.entries(exported))
    if (typeof value === 'function' && /^[A-Z]/.test(name)) classes.add(value as Constructor);

/** Names of the classes that snapshots know. */
export const SNAPSHOT_CLASSES: ReadonlySet<string> = new Set([...classes].map(({ name }) => name));

const codec = new GraphCodec([...classes], {
  BLOCKED,
  DEFAULT,
  IDENTITY,
  IOMMUFD_HANDLER,
  MEMFD_HANDLER,
  VFIO_HANDLER,
});

export const takeSnapshot = (host: Host): Graph => codec.encode(host);

export const fromSnapshot = (graph: Graph): Host => codec.decode(graph) as Host;
