/** The structs of all requests, as the headers of Linux lay them out: include/uapi/linux/{iommufd,vfio,liveupdate}.h. */
import type { FieldsOf, RequestName } from './index.ts';
import type { Layout, Scalar } from './layout.ts';

const at = (byte: number): Scalar => ({ at: byte });

/** A struct of words of 32 bits behind its size, in the order of their names. */
function words<const Names extends string>(struct: string, ...names: Names[]) {
  const places = Object.fromEntries(names.map((name, index) => [name, at(4 + 4 * index)]));
  return { struct, places: places as { readonly [Name in Names]: Scalar } };
}

/** A request without an argument. */
const NONE = { struct: null, places: {} };
/** IOMMU_HWPT_LU_SET_PRESERVE and IOMMU_HWPT_LU_RESTORE, which no header has: as iommufd would lay them out. */
const liveUpdate = (struct: string) => ({ struct, places: { flags: at(4), hwpt_id: at(8), token: at(16) } });
/** CREATE_SESSION and RETRIEVE_SESSION. */
const session = (struct: string) => ({ struct, places: { fd: at(4), name: at(8) } });
/** PRESERVE_FD and RETRIEVE_FD. */
const sessionFd = (struct: string) => ({ struct, places: { fd: at(4), token: at(8) } });

export const STRUCTS: { readonly [Name in RequestName]: Layout<FieldsOf<Name>> } = {
  IOMMU_DESTROY: words('iommu_destroy', 'id'),
  IOMMU_IOAS_ALLOC: words('iommu_ioas_alloc', 'flags', 'out_ioas_id'),
  IOMMU_IOAS_ALLOW_IOVAS: {
    struct: 'iommu_ioas_allow_iovas',
    places: {
      ioas_id: at(4),
      num_iovas: at(8),
      __reserved: at(12),
      allowed_iovas: { at: 16, length: ['num_iovas'] },
    },
  },
  IOMMU_IOAS_COPY: {
    struct: 'iommu_ioas_copy',
    places: {
      flags: at(4),
      dst_ioas_id: at(8),
      src_ioas_id: at(12),
      length: at(16),
      dst_iova: at(24),
      src_iova: at(32),
    },
  },
  IOMMU_IOAS_IOVA_RANGES: {
    struct: 'iommu_ioas_iova_ranges',
    places: {
      ioas_id: at(4),
      num_iovas: at(8),
      __reserved: at(12),
      allowed_iovas: at(16),
      out_iova_alignment: at(24),
    },
  },
  IOMMU_IOAS_MAP: {
    struct: 'iommu_ioas_map',
    places: { flags: at(4), ioas_id: at(8), __reserved: at(12), user_va: at(16), length: at(24), iova: at(32) },
  },
  IOMMU_IOAS_UNMAP: { struct: 'iommu_ioas_unmap', places: { ioas_id: at(4), iova: at(8), length: at(16) } },
  IOMMU_OPTION: {
    struct: 'iommu_option',
    places: { option_id: at(4), op: at(8), __reserved: at(10), object_id: at(12), val64: at(16) },
  },
  IOMMU_VFIO_IOAS: { struct: 'iommu_vfio_ioas', places: { ioas_id: at(4), op: at(8), __reserved: at(10) } },
  IOMMU_HWPT_ALLOC: {
    struct: 'iommu_hwpt_alloc',
    places: {
      flags: at(4),
      dev_id: at(8),
      pt_id: at(12),
      out_hwpt_id: at(16),
      __reserved: at(20),
      data_type: at(24),
      data_len: at(28),
      data: { at: 32, length: ['data_len'] },
      fault_id: at(40),
      __reserved2: at(44),
    },
  },
  IOMMU_GET_HW_INFO: {
    struct: 'iommu_hw_info',
    places: {
      flags: at(4),
      dev_id: at(8),
      data_len: at(12),
      data: at(16),
      in_data_type: at(24),
      out_data_type: at(24),
      out_max_pasid_log2: at(28),
      __reserved: { at: 29, bytes: 3 },
      out_capabilities: at(32),
    },
  },
  IOMMU_HWPT_SET_DIRTY_TRACKING: words('iommu_hwpt_set_dirty_tracking', 'flags', 'hwpt_id', '__reserved'),
  IOMMU_HWPT_GET_DIRTY_BITMAP: {
    struct: 'iommu_hwpt_get_dirty_bitmap',
    places: {
      hwpt_id: at(4),
      flags: at(8),
      __reserved: at(12),
      iova: at(16),
      length: at(24),
      page_size: at(32),
      data: { at: 40, merges: true },
    },
  },
  IOMMU_HWPT_INVALIDATE: {
    struct: 'iommu_hwpt_invalidate',
    places: {
      hwpt_id: at(4),
      data: { at: 8, length: ['entry_num', 'entry_len'] },
      data_type: at(16),
      entry_len: at(20),
      entry_num: at(24),
      __reserved: at(28),
    },
  },
  IOMMU_FAULT_QUEUE_ALLOC: words('iommu_fault_alloc', 'flags', 'out_fault_id', 'out_fault_fd'),
  IOMMU_IOAS_MAP_FILE: {
    struct: 'iommu_ioas_map_file',
    places: { flags: at(4), ioas_id: at(8), fd: at(12), start: at(16), length: at(24), iova: at(32) },
  },
  IOMMU_VIOMMU_ALLOC: {
    struct: 'iommu_viommu_alloc',
    places: {
      flags: at(4),
      type: at(8),
      dev_id: at(12),
      hwpt_id: at(16),
      out_viommu_id: at(20),
      data_len: at(24),
      __reserved: at(28),
      data: { at: 32, length: ['data_len'] },
    },
  },
  IOMMU_VDEVICE_ALLOC: {
    struct: 'iommu_vdevice_alloc',
    places: { viommu_id: at(4), dev_id: at(8), out_vdevice_id: at(12), virt_id: at(16) },
  },
  IOMMU_IOAS_CHANGE_PROCESS: words('iommu_ioas_change_process', '__reserved'),
  IOMMU_VEVENTQ_ALLOC: words(
    'iommu_veventq_alloc',
    'flags',
    'viommu_id',
    'type',
    'veventq_depth',
    'out_veventq_id',
    'out_veventq_fd',
    '__reserved',
  ),
  IOMMU_HW_QUEUE_ALLOC: {
    struct: 'iommu_hw_queue_alloc',
    places: {
      flags: at(4),
      viommu_id: at(8),
      type: at(12),
      index: at(16),
      out_hw_queue_id: at(20),
      nesting_parent_iova: at(24),
      length: at(32),
    },
  },
  IOMMU_IOAS_NOIOMMU_GET_PA: {
    struct: 'iommu_ioas_noiommu_get_pa',
    places: { flags: at(4), ioas_id: at(8), __reserved: at(12), iova: at(16), length: at(24), out_phys: at(32) },
  },
  IOMMU_HWPT_LU_SET_PRESERVE: liveUpdate('iommu_hwpt_lu_set_preserve'),
  IOMMU_HWPT_LU_RESTORE: liveUpdate('iommu_hwpt_lu_restore'),

  VFIO_GET_API_VERSION: NONE,
  VFIO_CHECK_EXTENSION: { struct: null, places: { extension: 'argument' } },
  VFIO_SET_IOMMU: { struct: null, places: { type: 'argument' } },
  VFIO_IOMMU_GET_INFO: {
    struct: 'vfio_iommu_type1_info',
    places: { argsz: at(0), flags: at(4), iova_pgsizes: at(8), cap_offset: at(16), data: { behind: 24 } },
    zeroes: [20, 24],
  },
  VFIO_IOMMU_MAP_DMA: {
    struct: 'vfio_iommu_type1_dma_map',
    places: { flags: at(4), vaddr: at(8), iova: at(16), size: at(24) },
  },
  VFIO_IOMMU_UNMAP_DMA: {
    struct: 'vfio_iommu_type1_dma_unmap',
    places: { flags: at(4), iova: at(8), size: at(16) },
  },

  VFIO_DEVICE_GET_INFO: {
    ...words('vfio_device_info', 'flags', 'num_regions', 'num_irqs', 'cap_offset'),
    zeroes: [20, 24],
  },
  VFIO_DEVICE_GET_REGION_INFO: {
    struct: 'vfio_region_info',
    places: {
      argsz: at(0),
      flags: at(4),
      index: at(8),
      cap_offset: at(12),
      size: at(16),
      offset: at(24),
      data: { behind: 32 },
    },
  },
  VFIO_DEVICE_GET_IRQ_INFO: words('vfio_irq_info', 'flags', 'index', 'count'),
  VFIO_DEVICE_SET_IRQS: {
    struct: 'vfio_irq_set',
    places: {
      argsz: at(0),
      flags: at(4),
      index: at(8),
      start: at(12),
      count: at(16),
      data: { behind: 20 },
      eventfds: { behind: 20 },
    },
  },
  VFIO_DEVICE_RESET: NONE,
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO: {
    struct: 'vfio_pci_hot_reset_info',
    places: { argsz: at(0), flags: at(4), count: at(8), devices: { behind: 12 } },
  },
  VFIO_DEVICE_PCI_HOT_RESET: {
    struct: 'vfio_pci_hot_reset',
    places: { flags: at(4), count: at(8), group_fds: { behind: 12 } },
  },
  VFIO_DEVICE_IOEVENTFD: {
    struct: 'vfio_device_ioeventfd',
    places: { flags: at(4), offset: at(8), data: at(16), fd: at(24) },
  },
  VFIO_DEVICE_FEATURE: { struct: 'vfio_device_feature', places: { argsz: at(0), flags: at(4), data: { behind: 8 } } },
  VFIO_DEVICE_BIND_IOMMUFD: {
    struct: 'vfio_device_bind_iommufd',
    places: { flags: at(4), iommufd: at(8), out_devid: at(12), token_uuid_ptr: at(16) },
  },
  VFIO_DEVICE_ATTACH_IOMMUFD_PT: {
    struct: 'vfio_device_attach_iommufd_pt',
    places: { flags: at(4), pt_id: at(8), pasid: { at: 12, flag: 1 } },
  },
  VFIO_DEVICE_DETACH_IOMMUFD_PT: {
    struct: 'vfio_device_detach_iommufd_pt',
    places: { flags: at(4), pasid: { at: 8, flag: 1 } },
  },

  VFIO_GROUP_GET_STATUS: words('vfio_group_status', 'flags'),
  VFIO_GROUP_SET_CONTAINER: { struct: null, places: { container: at(0) } },
  VFIO_GROUP_UNSET_CONTAINER: NONE,
  VFIO_GROUP_GET_DEVICE_FD: { struct: null, places: { name: 'text' } },

  LIVEUPDATE_IOCTL_CREATE_SESSION: session('liveupdate_ioctl_create_session'),
  LIVEUPDATE_IOCTL_RETRIEVE_SESSION: session('liveupdate_ioctl_retrieve_session'),
  LIVEUPDATE_SESSION_PRESERVE_FD: sessionFd('liveupdate_session_preserve_fd'),
  LIVEUPDATE_SESSION_RETRIEVE_FD: sessionFd('liveupdate_session_retrieve_fd'),
  LIVEUPDATE_SESSION_FINISH: words('liveupdate_session_finish', 'reserved'),
  LIVEUPDATE_SESSION_GET_NAME: { struct: 'liveupdate_session_get_name', places: { reserved: at(4), name: at(8) } },
};
