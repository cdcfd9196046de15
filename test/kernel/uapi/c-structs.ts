/**
 * The structs of Linux as C declares them, laid out here by the rules of C for x86-64 and by nothing of the program: each
 * member is aligned to its own size. Where a request of the calls face has another name for a member it stands here.
 *
 *   u64 *data[data_len]          a pointer to data_len bytes
 *   range *ranges[n]             a pointer to n elements {start, last}
 *   u32 in_data_type|out_...     a union
 *   u8 data[]                    what stands behind the header, up to the size of the struct
 */
import assert from 'node:assert/strict';

const HEADER = `
iommu_destroy IOMMU_DESTROY { u32 size; u32 id; }
iommu_ioas_alloc IOMMU_IOAS_ALLOC { u32 size; u32 flags; u32 out_ioas_id; }
iommu_ioas_allow_iovas IOMMU_IOAS_ALLOW_IOVAS { u32 size; u32 ioas_id; u32 num_iovas; u32 __reserved; range *allowed_iovas[num_iovas]; }
iommu_ioas_copy IOMMU_IOAS_COPY { u32 size; u32 flags; u32 dst_ioas_id; u32 src_ioas_id; u64 length; u64 dst_iova; u64 src_iova; }
iommu_ioas_iova_ranges IOMMU_IOAS_IOVA_RANGES { u32 size; u32 ioas_id; u32 num_iovas; u32 __reserved; range *allowed_iovas[num_iovas]; u64 out_iova_alignment; }
iommu_ioas_map IOMMU_IOAS_MAP { u32 size; u32 flags; u32 ioas_id; u32 __reserved; u64 user_va; u64 length; u64 iova; }
iommu_ioas_unmap IOMMU_IOAS_UNMAP { u32 size; u32 ioas_id; u64 iova; u64 length; }
iommu_option IOMMU_OPTION { u32 size; u32 option_id; u16 op; u16 __reserved; u32 object_id; u64 val64; }
iommu_vfio_ioas IOMMU_VFIO_IOAS { u32 size; u32 ioas_id; u16 op; u16 __reserved; }
iommu_hwpt_alloc IOMMU_HWPT_ALLOC { u32 size; u32 flags; u32 dev_id; u32 pt_id; u32 out_hwpt_id; u32 __reserved; u32 data_type; u32 data_len; u8 *data[data_len]; u32 fault_id; u32 __reserved2; }
iommu_hw_info IOMMU_GET_HW_INFO { u32 size; u32 flags; u32 dev_id; u32 data_len; u8 *data[data_len]; u32 in_data_type|out_data_type; u8 out_max_pasid_log2; u8 __reserved[3]; u64 out_capabilities; }
iommu_hwpt_set_dirty_tracking IOMMU_HWPT_SET_DIRTY_TRACKING { u32 size; u32 flags; u32 hwpt_id; u32 __reserved; }
iommu_hwpt_get_dirty_bitmap IOMMU_HWPT_GET_DIRTY_BITMAP { u32 size; u32 hwpt_id; u32 flags; u32 __reserved; u64 iova; u64 length; u64 page_size; u8 *data[BITMAP]; }
iommu_hwpt_invalidate IOMMU_HWPT_INVALIDATE { u32 size; u32 hwpt_id; u8 *data[entry_num*entry_len]; u32 data_type; u32 entry_len; u32 entry_num; u32 __reserved; }
iommu_fault_alloc IOMMU_FAULT_QUEUE_ALLOC { u32 size; u32 flags; u32 out_fault_id; u32 out_fault_fd; }
iommu_ioas_map_file IOMMU_IOAS_MAP_FILE { u32 size; u32 flags; u32 ioas_id; s32 fd; u64 start; u64 length; u64 iova; }
iommu_viommu_alloc IOMMU_VIOMMU_ALLOC { u32 size; u32 flags; u32 type; u32 dev_id; u32 hwpt_id; u32 out_viommu_id; u32 data_len; u32 __reserved; u8 *data[data_len]; }
iommu_vdevice_alloc IOMMU_VDEVICE_ALLOC { u32 size; u32 viommu_id; u32 dev_id; u32 out_vdevice_id; u64 virt_id; }
iommu_ioas_change_process IOMMU_IOAS_CHANGE_PROCESS { u32 size; u32 __reserved; }
iommu_veventq_alloc IOMMU_VEVENTQ_ALLOC { u32 size; u32 flags; u32 viommu_id; u32 type; u32 veventq_depth; u32 out_veventq_id; u32 out_veventq_fd; u32 __reserved; }
iommu_hw_queue_alloc IOMMU_HW_QUEUE_ALLOC { u32 size; u32 flags; u32 viommu_id; u32 type; u32 index; u32 out_hw_queue_id; u64 nesting_parent_iova; u64 length; }
iommu_ioas_noiommu_get_pa IOMMU_IOAS_NOIOMMU_GET_PA { u32 size; u32 flags; u32 ioas_id; u32 __reserved; u64 iova; u64 length; u64 out_phys; }
iommu_hwpt_lu_set_preserve IOMMU_HWPT_LU_SET_PRESERVE { u32 size; u32 flags; u32 hwpt_id; u64 token; }
iommu_hwpt_lu_restore IOMMU_HWPT_LU_RESTORE { u32 size; u32 flags; u32 hwpt_id; u64 token; }
vfio_iommu_type1_info VFIO_IOMMU_GET_INFO { u32 argsz; u32 flags; u64 iova_pgsizes; u32 cap_offset; u32 pad; u8 data[]; }
vfio_iommu_type1_dma_map VFIO_IOMMU_MAP_DMA { u32 argsz; u32 flags; u64 vaddr; u64 iova; u64 size; }
vfio_iommu_type1_dma_unmap VFIO_IOMMU_UNMAP_DMA { u32 argsz; u32 flags; u64 iova; u64 size; }
vfio_device_info VFIO_DEVICE_GET_INFO { u32 argsz; u32 flags; u32 num_regions; u32 num_irqs; u32 cap_offset; u32 pad; }
vfio_region_info VFIO_DEVICE_GET_REGION_INFO { u32 argsz; u32 flags; u32 index; u32 cap_offset; u64 size; u64 offset; u8 data[]; }
vfio_irq_info VFIO_DEVICE_GET_IRQ_INFO { u32 argsz; u32 flags; u32 index; u32 count; }
vfio_irq_set VFIO_DEVICE_SET_IRQS { u32 argsz; u32 flags; u32 index; u32 start; u32 count; u8 data[]; s32 eventfds[]; }
vfio_pci_hot_reset_info VFIO_DEVICE_GET_PCI_HOT_RESET_INFO { u32 argsz; u32 flags; u32 count; function devices[]; }
vfio_pci_hot_reset VFIO_DEVICE_PCI_HOT_RESET { u32 argsz; u32 flags; u32 count; s32 group_fds[]; }
vfio_device_ioeventfd VFIO_DEVICE_IOEVENTFD { u32 argsz; u32 flags; u64 offset; u64 data; s32 fd; u32 reserved; }
vfio_device_feature VFIO_DEVICE_FEATURE { u32 argsz; u32 flags; u8 data[]; }
vfio_device_bind_iommufd VFIO_DEVICE_BIND_IOMMUFD { u32 argsz; u32 flags; s32 iommufd; u32 out_devid; u64 token_uuid_ptr; }
vfio_device_attach_iommufd_pt VFIO_DEVICE_ATTACH_IOMMUFD_PT { u32 argsz; u32 flags; u32 pt_id; u32 pasid; }
vfio_device_detach_iommufd_pt VFIO_DEVICE_DETACH_IOMMUFD_PT { u32 argsz; u32 flags; u32 pasid; }
vfio_group_status VFIO_GROUP_GET_STATUS { u32 argsz; u32 flags; }
- VFIO_GROUP_SET_CONTAINER { s32 container; }
liveupdate_ioctl_create_session LIVEUPDATE_IOCTL_CREATE_SESSION { u32 size; s32 fd; u8 name[64]; }
liveupdate_ioctl_retrieve_session LIVEUPDATE_IOCTL_RETRIEVE_SESSION { u32 size; s32 fd; u8 name[64]; }
liveupdate_session_preserve_fd LIVEUPDATE_SESSION_PRESERVE_FD { u32 size; s32 fd; u64 token; }
liveupdate_session_retrieve_fd LIVEUPDATE_SESSION_RETRIEVE_FD { u32 size; s32 fd; u64 token; }
liveupdate_session_finish LIVEUPDATE_SESSION_FINISH { u32 size; u32 reserved; }
liveupdate_session_get_name LIVEUPDATE_SESSION_GET_NAME { u32 size; u32 reserved; u8 name[64]; }
`;

export interface Member {
  readonly names: readonly string[];
  readonly at: number;
  readonly bytes: number;
  readonly signed: boolean;
  /** A pointer to so many elements of so many bytes: names of fields, multiplied. */
  readonly pointsTo?: { readonly element: number; readonly count: readonly string[] };
  /** It stands behind the header, in elements of so many bytes. */
  readonly behind?: number;
}

export interface CStruct {
  /** Null: it has no name in the headers. */
  readonly name: string | null;
  readonly members: readonly Member[];
  readonly size: number;
}

const SIZES: Readonly<Record<string, number>> = { u8: 1, u16: 2, u32: 4, s32: 4, u64: 8, range: 16, function: 8 };

function layOut(declaration: string): Pick<CStruct, 'members' | 'size'> {
  const members: Member[] = [];
  let at = 0;
  let widest = 1;
  for (const text of declaration.split(';').map((part) => part.trim())) {
    if (text === '') continue;
    const [, type, star, names, , count] = /^(\w+) (\*?)([\w|]+)(\[(.*)\])?$/.exec(text) ?? [];
    assert.ok(type !== undefined && names !== undefined, text);
    const element = SIZES[type]!;
    const named = { names: names.split('|'), signed: type === 's32' };
    if (star) {
      at = Math.ceil(at / 8) * 8;
      members.push({ ...named, at, bytes: 8, pointsTo: { element, count: count!.split('*') } });
      at += 8;
      widest = 8;
    } else if (count === '') {
      members.push({ ...named, at, bytes: 0, behind: element });
    } else {
      at = Math.ceil(at / element) * element;
      const bytes = element * Number(count ?? 1);
      members.push({ ...named, at, bytes });
      at += bytes;
      widest = Math.max(widest, element);
    }
  }
  return { members, size: members.some(({ behind }) => behind !== undefined) ? at : Math.ceil(at / widest) * widest };
}

/** By the names of requests. */
export const C_STRUCTS: ReadonlyMap<string, CStruct> = new Map(
  [...HEADER.matchAll(/^(\S+) (\w+) \{(.*)\}$/gm)].map(([, name, request, declaration]) => [
    request!,
    { name: name === '-' ? null : name!, ...layOut(declaration!) },
  ]),
);
