/** Every class of a host’s object graph. Written by `npm run shapes`. */
import { Drivers } from '../../kernel/drivers.ts';
import { Eventfd, EventfdFile } from '../../kernel/eventfd.ts';
import { Faults } from '../../kernel/faults.ts';
import { Heap } from '../../kernel/heap.ts';
import { BytesStruct } from '../../kernel/ioctl-bytes.ts';
import { NamedStruct } from '../../kernel/ioctl-names.ts';
import { PagingDomain } from '../../kernel/iommu/domain.ts';
import { IommuGroup, RestoredOwner } from '../../kernel/iommu/group.ts';
import { IommuCore } from '../../kernel/iommu/iommu.ts';
import { RestoredDomains } from '../../kernel/iommu/liveupdate/restored.ts';
import { SortedRuns } from '../../kernel/iommu/sorted-runs.ts';
import { AreaBlocks } from '../../kernel/iommufd/areas/area-blocks.ts';
import { AreaCursor } from '../../kernel/iommufd/areas/area-cursor.ts';
import { AreaGaps } from '../../kernel/iommufd/areas/area-gaps.ts';
import { AreaGroup } from '../../kernel/iommufd/areas/area-group.ts';
import { AreaIndex } from '../../kernel/iommufd/areas/area-index.ts';
import { AreaPages } from '../../kernel/iommufd/areas/area-pages.ts';
import { AreaTable } from '../../kernel/iommufd/areas/area-table.ts';
import { IommufdContext } from '../../kernel/iommufd/context.ts';
import { AccessFile } from '../../kernel/iommufd/device/access-file.ts';
import { Access } from '../../kernel/iommufd/device/access.ts';
import { IommufdDevice } from '../../kernel/iommufd/device/device.ts';
import { PasidTable } from '../../kernel/iommufd/device/pasid.ts';
import { FaultQueue, FaultQueueFile } from '../../kernel/iommufd/eventq/fault-queue.ts';
import { Veventq, VeventqFile } from '../../kernel/iommufd/eventq/veventq.ts';
import { HwptPaging } from '../../kernel/iommufd/hw-pagetable/hwpt.ts';
import { HwptNested } from '../../kernel/iommufd/hw-pagetable/nested.ts';
import { Coverage } from '../../kernel/iommufd/io-pagetable/coverage.ts';
import { DomainSpace } from '../../kernel/iommufd/io-pagetable/domain-space.ts';
import { IoPagetable } from '../../kernel/iommufd/io-pagetable/io-pagetable.ts';
import { IovaSpace } from '../../kernel/iommufd/io-pagetable/iova-space.ts';
import { SharedPages, Source } from '../../kernel/iommufd/io-pagetable/pages.ts';
import { SourceList } from '../../kernel/iommufd/io-pagetable/source-list.ts';
import { Ioas } from '../../kernel/iommufd/ioas.ts';
import { ObjectTable } from '../../kernel/iommufd/objects.ts';
import { HwQueue } from '../../kernel/iommufd/viommu/hw-queue.ts';
import { Vdevice } from '../../kernel/iommufd/viommu/vdevice.ts';
import { ViommuPage } from '../../kernel/iommufd/viommu/viommu-page.ts';
import { Viommu } from '../../kernel/iommufd/viommu/viommu.ts';
import { Kernel } from '../../kernel/kernel.ts';
import { Kho } from '../../kernel/kho/handover.ts';
import { LazyMap } from '../../kernel/lazy-map.ts';
import { LazySet } from '../../kernel/lazy-set.ts';
import { LiveUpdateFile, SessionFile } from '../../kernel/liveupdate/files.ts';
import { HandedOver, Preserved } from '../../kernel/liveupdate/handler.ts';
import { LiveUpdate } from '../../kernel/liveupdate/luo.ts';
import { AddressSpace } from '../../kernel/mm/address-space.ts';
import { FrameMap } from '../../kernel/mm/frame-map.ts';
import { MemfdFile } from '../../kernel/mm/memfd-file.ts';
import { ShmemInode } from '../../kernel/mm/shmem.ts';
import { NullFile } from '../../kernel/null-file.ts';
import { NumberTable } from '../../kernel/number-table.ts';
import { Process } from '../../kernel/process.ts';
import { TakenNumbers } from '../../kernel/taken-numbers.ts';
import { AddressArgument, BytesArgument, UserMemory } from '../../kernel/user-memory.ts';
import { VfioDeviceFile } from '../../kernel/vfio/device-file.ts';
import { VfioGroupFile } from '../../kernel/vfio/group-file.ts';
import { VfioPciConfig } from '../../kernel/vfio/pci/config.ts';
import { VfioPciCore } from '../../kernel/vfio/pci/core.ts';
import { Ioeventfd } from '../../kernel/vfio/pci/ioeventfd.ts';
import { IntxUnmask, VfioPciIrqs } from '../../kernel/vfio/pci/irqs.ts';
import { BarMapping } from '../../kernel/vfio/pci/mmap.ts';
import { Vfio, VfioDevice } from '../../kernel/vfio/vfio.ts';
import { ByteChunks } from '../../machine/byte-chunks.ts';
import { DmaEngine } from '../../machine/engines/engine.ts';
import { DmaEngines } from '../../machine/engines/engines.ts';
import { FrameIndex } from '../../machine/engines/frame-index.ts';
import { PageGaps } from '../../machine/engines/page-gaps.ts';
import { Rounds } from '../../machine/engines/rounds.ts';
import { SettledPages } from '../../machine/engines/settled-pages.ts';
import { WorkingSet } from '../../machine/engines/working-set.ts';
import { WrittenBytes } from '../../machine/engines/written-bytes.ts';
import { FrameContents } from '../../machine/frame-contents.ts';
import { FrameOwners } from '../../machine/frame-owners.ts';
import { FramePins } from '../../machine/frame-pins.ts';
import { IommuUnit } from '../../machine/iommu-unit.ts';
import { Machine } from '../../machine/machine.ts';
import { PhysicalMemory } from '../../machine/memory.ts';
import { PageTable } from '../../machine/page-table.ts';
import { ConfigSpace } from '../../machine/pci/config-space.ts';
import { PciFunction } from '../../machine/pci/function.ts';
import { SortedBlock, SortedList } from '../../machine/sorted-list.ts';
import { TableWalk } from '../../machine/table-walk.ts';
import { Host } from '../host.ts';

export const CLASSES = {
  Access,
  AccessFile,
  AddressArgument,
  AddressSpace,
  AreaBlocks,
  AreaCursor,
  AreaGaps,
  AreaGroup,
  AreaIndex,
  AreaPages,
  AreaTable,
  BarMapping,
  ByteChunks,
  BytesArgument,
  BytesStruct,
  ConfigSpace,
  Coverage,
  DmaEngine,
  DmaEngines,
  DomainSpace,
  Drivers,
  Eventfd,
  EventfdFile,
  FaultQueue,
  FaultQueueFile,
  Faults,
  FrameContents,
  FrameIndex,
  FrameMap,
  FrameOwners,
  FramePins,
  HandedOver,
  Heap,
  Host,
  HwQueue,
  HwptNested,
  HwptPaging,
  IntxUnmask,
  IoPagetable,
  Ioas,
  Ioeventfd,
  IommuCore,
  IommuGroup,
  IommuUnit,
  IommufdContext,
  IommufdDevice,
  IovaSpace,
  Kernel,
  Kho,
  LazyMap,
  LazySet,
  LiveUpdate,
  LiveUpdateFile,
  Machine,
  MemfdFile,
  NamedStruct,
  NullFile,
  NumberTable,
  ObjectTable,
  PageGaps,
  PageTable,
  PagingDomain,
  PasidTable,
  PciFunction,
  PhysicalMemory,
  Preserved,
  Process,
  RestoredDomains,
  RestoredOwner,
  Rounds,
  SessionFile,
  SettledPages,
  SharedPages,
  ShmemInode,
  SortedBlock,
  SortedList,
  SortedRuns,
  Source,
  SourceList,
  TableWalk,
  TakenNumbers,
  UserMemory,
  Vdevice,
  Veventq,
  VeventqFile,
  Vfio,
  VfioDevice,
  VfioDeviceFile,
  VfioGroupFile,
  VfioPciConfig,
  VfioPciCore,
  VfioPciIrqs,
  Viommu,
  ViommuPage,
  WorkingSet,
  WrittenBytes,
};
