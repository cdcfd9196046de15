/** The structs of an iommufd's requests (include/uapi/linux/iommufd.h). */

/** Sizes of the structs: the least that must be there, and all of it. */
export const SIZES: Readonly<Record<string, readonly [number, number]>> = {
  IOMMU_DESTROY: [8, 8],
  IOMMU_IOAS_ALLOC: [12, 12],
  IOMMU_IOAS_ALLOW_IOVAS: [24, 24],
  IOMMU_IOAS_COPY: [40, 40],
  IOMMU_IOAS_IOVA_RANGES: [32, 32],
  IOMMU_IOAS_MAP: [40, 40],
  IOMMU_IOAS_UNMAP: [24, 24],
  IOMMU_OPTION: [24, 24],
  IOMMU_VFIO_IOAS: [12, 12],
  IOMMU_HWPT_ALLOC: [24, 48],
  IOMMU_GET_HW_INFO: [32, 40],
  IOMMU_HWPT_SET_DIRTY_TRACKING: [16, 16],
  IOMMU_HWPT_GET_DIRTY_BITMAP: [48, 48],
  IOMMU_IOAS_MAP_FILE: [40, 40],
  IOMMU_IOAS_CHANGE_PROCESS: [8, 8],
};

export const IOMMU_REQUESTS = Object.keys(SIZES);

/** Where fields end that an old, shorter struct does not have: they read as 0, and are not written. */
export const ENDS: Readonly<Record<string, Record<string, number>>> = {
  IOMMU_HWPT_ALLOC: { data_type: 28, data_len: 32, data: 40, fault_id: 44, __reserved2: 48 },
  IOMMU_GET_HW_INFO: { out_capabilities: 40 },
};
