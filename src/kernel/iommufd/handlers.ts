/** The handler of each request of an iommufd. */
import { type Refusal, refuse } from '../errno.ts';
import type { Handlers, IoctlOk } from '../file.ts';
import { hwptRestore, hwptSetPreserve } from '../iommu/liveupdate/requests.ts';
import type { ArgOf } from '../uapi/index.ts';
import type { IommufdContext } from './context.ts';
import { getHwInfo } from './device/device.ts';
import { faultQueueAlloc } from './eventq/fault-queue.ts';
import { veventqAlloc } from './eventq/veventq.ts';
import { hwptGetDirtyBitmap, hwptSetDirtyTracking } from './hw-pagetable/dirty.ts';
import { HwptPaging } from './hw-pagetable/hwpt.ts';
import { hwptAlloc } from './hw-pagetable/hwpt-alloc.ts';
import { hwptInvalidate } from './hw-pagetable/invalidate.ts';
import {
  ioasAlloc,
  ioasAllowIovas,
  ioasChangeProcess,
  ioasCopy,
  ioasIovaRanges,
  ioasMap,
  ioasMapFile,
  ioasNoiommuGetPa,
  ioasUnmap,
  option,
} from './ioas.ts';
import { checkExtension, iommuGetInfo, mapDma, setIommu, unmapDma, vfioIoas } from './vfio-compat.ts';
import { hwQueueAlloc } from './viommu/hw-queue.ts';
import { vdeviceAlloc } from './viommu/vdevice.ts';
import { viommuAlloc } from './viommu/viommu.ts';

function destroy(context: IommufdContext, arg: ArgOf<'IOMMU_DESTROY'>): IoctlOk | Refusal {
  const where = 'iommufd_destroy';
  const { id } = arg;
  const object = context.objects.get(id);
  if (!object) return refuse('ENOENT', where, `object ${id} of this iommufd is not there`);
  if (object.users > 0)
    return refuse(
      'EBUSY',
      where,
      `${object.type} ${id} is in use: ${object.users} user${object.users > 1 ? 's' : ''} left`,
    );
  if (object instanceof HwptPaging && context.kernel.restored.hasWaiting(object.domain))
    return refuse('EBUSY', where, `devices that nobody has adopted yet are on the domain of HWPT ${id}`, 'R13');
  if ('preserved' in object && object.preserved)
    return refuse('EBUSY', where, `HWPT ${id} is preserved: close the session to destroy it`, 'C2');
  context.destroy(object);
  return {};
}

export const IOMMUFD_HANDLERS: Handlers<'iommufd', IommufdContext> = {
  IOMMU_DESTROY: destroy,
  IOMMU_IOAS_ALLOC: ioasAlloc,
  IOMMU_IOAS_ALLOW_IOVAS: ioasAllowIovas,
  IOMMU_IOAS_COPY: ioasCopy,
  IOMMU_IOAS_IOVA_RANGES: ioasIovaRanges,
  IOMMU_IOAS_MAP: ioasMap,
  IOMMU_IOAS_UNMAP: ioasUnmap,
  IOMMU_OPTION: option,
  IOMMU_VFIO_IOAS: vfioIoas,
  IOMMU_HWPT_ALLOC: hwptAlloc,
  IOMMU_GET_HW_INFO: getHwInfo,
  IOMMU_HWPT_SET_DIRTY_TRACKING: hwptSetDirtyTracking,
  IOMMU_HWPT_GET_DIRTY_BITMAP: hwptGetDirtyBitmap,
  IOMMU_HWPT_INVALIDATE: hwptInvalidate,
  IOMMU_FAULT_QUEUE_ALLOC: faultQueueAlloc,
  IOMMU_IOAS_MAP_FILE: ioasMapFile,
  IOMMU_VIOMMU_ALLOC: viommuAlloc,
  IOMMU_VDEVICE_ALLOC: vdeviceAlloc,
  IOMMU_IOAS_CHANGE_PROCESS: ioasChangeProcess,
  IOMMU_VEVENTQ_ALLOC: veventqAlloc,
  IOMMU_HW_QUEUE_ALLOC: hwQueueAlloc,
  IOMMU_IOAS_NOIOMMU_GET_PA: ioasNoiommuGetPa,
  IOMMU_HWPT_LU_SET_PRESERVE: hwptSetPreserve,
  IOMMU_HWPT_LU_RESTORE: hwptRestore,
  VFIO_GET_API_VERSION: () => ({ ret: 0 }),
  VFIO_CHECK_EXTENSION: checkExtension,
  VFIO_SET_IOMMU: setIommu,
  VFIO_IOMMU_GET_INFO: iommuGetInfo,
  VFIO_IOMMU_MAP_DMA: mapDma,
  VFIO_IOMMU_UNMAP_DMA: unmapDma,
};
