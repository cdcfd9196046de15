/** Requests of /dev/iommu: include/uapi/linux/iommufd.h, and the type1 requests of include/uapi/linux/vfio.h. */
import { MAX_DIRTY_BITS, MAX_HW_INFO, MAX_INFO } from '../../limits.ts';
import {
  DMA_MAP_FLAGS,
  DMA_UNMAP_FLAGS,
  GET_DIRTY_BITMAP_FLAGS,
  HW_INFO_FLAGS,
  HWPT_ALLOC_FLAGS,
  MAP_FLAGS,
  SET_DIRTY_TRACKING_FLAGS,
} from './bits.ts';
import { bits, type Fields, FULL, inout, input, output, part, type RequestRow, type Support } from './types.ts';

const flags = input('u32', 'Must be 0.');
const reserved = input('u32', 'Must be 0.');
const ioasId = input('u32', 'Id of the IOAS.');

interface More<Ends> {
  ends?: Ends;
  keeps?: string;
  support?: Support;
}

/** A request whose struct is copied by copy_struct_from_user. */
function request<
  const Given extends Fields,
  const Ends extends Readonly<Record<string, number>> = Record<never, number>,
>(
  number: number,
  minSize: number,
  size: number,
  about: string,
  fields: Given,
  { support = FULL, ...more }: More<Ends> = {},
): RequestRow<Given, Ends> {
  return { number, minSize, size, sizeField: 'size', tail: 'zero', fields, about, ...support, ...more };
}

/** A request of VFIO: what lies behind its struct is ignored. */
function container<const Given extends Fields>(
  number: number,
  minSize: number,
  size: number,
  about: string,
  fields: Given,
  { support = FULL, ...more }: More<Record<never, number>> = {},
): RequestRow<Given, Record<never, number>> {
  return { number, minSize, size, sizeField: 'argsz', tail: 'ignored', fields, about, ...support, ...more };
}

export const {
  IOMMU_IOAS_MAP_FIXED_IOVA: MAP_FIXED_IOVA,
  IOMMU_IOAS_MAP_WRITEABLE: MAP_WRITEABLE,
  IOMMU_IOAS_MAP_READABLE: MAP_READABLE,
} = MAP_FLAGS;
export const {
  IOMMU_HWPT_ALLOC_NEST_PARENT: HWPT_ALLOC_NEST_PARENT,
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING: HWPT_ALLOC_DIRTY_TRACKING,
  IOMMU_HWPT_FAULT_ID_VALID: HWPT_FAULT_ID_VALID,
  IOMMU_HWPT_ALLOC_PASID: HWPT_ALLOC_PASID,
} = HWPT_ALLOC_FLAGS;

export const IOMMUFD_REQUESTS = {
  IOMMU_DESTROY: request(0x3b80, 8, 8, 'Destroys an object that nothing uses.', {
    id: input('u32', 'Id of the object.'),
  }),
  IOMMU_IOAS_ALLOC: request(0x3b81, 12, 12, 'Makes an empty IO address space.', {
    flags,
    out_ioas_id: output('u32', 'Id of the new IOAS.'),
  }),
  IOMMU_IOAS_ALLOW_IOVAS: request(0x3b82, 24, 24, 'Bounds the IOVAs that the kernel may choose.', {
    ioas_id: ioasId,
    num_iovas: input('u32', 'Number of ranges.'),
    __reserved: reserved,
    allowed_iovas: input('ranges', 'The ranges; an empty list lifts the bound.'),
  }),
  IOMMU_IOAS_COPY: request(0x3b83, 40, 40, 'Maps again what another IOAS has mapped.', {
    flags: bits(MAP_FLAGS),
    dst_ioas_id: input('u32', 'Id of the IOAS to map into.'),
    src_ioas_id: input('u32', 'Id of the IOAS to copy from.'),
    length: input('u64', 'Bytes.'),
    dst_iova: inout('u64', 'IOVA in the destination, chosen by the kernel without FIXED_IOVA.'),
    src_iova: input('u64', 'IOVA in the source.'),
  }),
  IOMMU_IOAS_IOVA_RANGES: request(0x3b84, 32, 32, 'The IOVAs that may be mapped, and their alignment.', {
    ioas_id: ioasId,
    num_iovas: inout('u32', 'Room in the array; then the number of ranges there are.'),
    __reserved: reserved,
    allowed_iovas: output('ranges', 'The ranges, as far as they fit.'),
    out_iova_alignment: output('u64', 'IOVA and length must be multiples of this.'),
  }),
  IOMMU_IOAS_MAP: request(0x3b85, 40, 40, 'Maps memory of the calling process.', {
    flags: bits(MAP_FLAGS),
    ioas_id: ioasId,
    __reserved: reserved,
    user_va: input('u64', 'Address in the process.'),
    length: input('u64', 'Bytes.'),
    iova: inout('u64', 'IOVA, chosen by the kernel without FIXED_IOVA.'),
  }),
  IOMMU_IOAS_UNMAP: request(0x3b86, 24, 24, 'Unmaps whole areas.', {
    ioas_id: ioasId,
    iova: input('u64', 'First IOVA.'),
    length: inout('u64', 'Bytes; then the bytes unmapped.'),
  }),
  IOMMU_OPTION: request(0x3b87, 24, 24, 'Reads or sets an option of the context or of an IOAS.', {
    option_id: input('u32', '0: RLIMIT_MODE, 1: HUGE_PAGES.'),
    op: input('u16', '0: set, 1: get.'),
    __reserved: input('u16', 'Must be 0.'),
    object_id: input('u32', 'Id of the IOAS; 0 for the context.'),
    val64: inout('u64', 'The value.'),
  }),
  IOMMU_VFIO_IOAS: request(0x3b88, 12, 12, 'The IOAS that the container requests of VFIO act on.', {
    ioas_id: inout('u32', 'Id of the IOAS.'),
    op: input('u16', '0: get, 1: set, 2: clear.'),
    __reserved: input('u16', 'Must be 0.'),
  }),
  IOMMU_HWPT_ALLOC: request(
    0x3b89,
    24,
    48,
    'Makes a hardware page table of an IOAS, or nested on another.',
    {
      flags: bits(HWPT_ALLOC_FLAGS),
      dev_id: input('u32', 'Id of the device it is made for.'),
      pt_id: input('u32', 'Id of the IOAS, parent HWPT or vIOMMU.'),
      out_hwpt_id: output('u32', 'Id of the new HWPT.'),
      __reserved: reserved,
      data_type: input('u32', 'Kind of driver data; 0: none.'),
      data_len: input('u32', 'Bytes of driver data.'),
      data: input('bytes', 'Driver data, base64.'),
      fault_id: input('u32', 'Id of the fault queue, with FAULT_ID_VALID.'),
      __reserved2: reserved,
    },
    {
      ends: { data_type: 28, data_len: 32, data: 40, fault_id: 44, __reserved2: 48 },
      support: part(
        "Driver data and nested HWPTs are those of the kernel's mock driver, on units of kind `generic`: on VT-d, AMD-Vi and SMMUv3 nothing nests on a parent (EOPNOTSUPP).",
      ),
    },
  ),
  IOMMU_GET_HW_INFO: request(
    0x3b8a,
    32,
    40,
    'What the IOMMU of a device can do.',
    {
      flags: bits(HW_INFO_FLAGS),
      dev_id: input('u32', 'Id of the device.'),
      data_len: inout('u32', 'Room for the data; then its real length.'),
      data: output('bytes', 'The buffer after the call, base64.'),
      in_data_type: input('u32', 'Kind of data asked for, with the flag INPUT_TYPE.'),
      out_data_type: output('u32', '0: none, 1: Intel VT-d, 2: Arm SMMUv3, 4: AMD.'),
      out_max_pasid_log2: output('u8', 'Width of PASIDs.'),
      __reserved: reserved,
      out_capabilities: output('u64', 'Bit 0: dirty tracking, bit 3: no ATS.'),
    },
    {
      ends: { out_capabilities: 40 },
      support: part(
        `A buffer has at most ${MAX_HW_INFO} bytes (EFAULT above). Bits 1 and 2 of the capabilities (PASIDs that execute, or are privileged) are never set.`,
      ),
    },
  ),
  IOMMU_HWPT_SET_DIRTY_TRACKING: request(0x3b8b, 16, 16, 'Switches dirty tracking.', {
    flags: bits(SET_DIRTY_TRACKING_FLAGS, '0: off.'),
    hwpt_id: input('u32', 'Id of the HWPT.'),
    __reserved: input('u32', 'Not looked at.'),
  }),
  IOMMU_HWPT_GET_DIRTY_BITMAP: request(
    0x3b8c,
    48,
    48,
    'Reads, and clears, what devices have written.',
    {
      hwpt_id: input('u32', 'Id of the HWPT.'),
      flags: bits(GET_DIRTY_BITMAP_FLAGS),
      __reserved: reserved,
      iova: input('u64', 'First IOVA.'),
      length: input('u64', 'Bytes.'),
      page_size: input('u64', 'Bytes that one bit stands for.'),
      data: output('bytes', 'The bitmap, base64, rounded up to 64 bits.'),
    },
    {
      support: part(
        `At most ${MAX_DIRTY_BITS} bits in one call (64 GiB of pages of 4 KiB), ENOMEM above. The bitmap begins with zeroes.`,
      ),
    },
  ),
  IOMMU_HWPT_INVALIDATE: request(
    0x3b8d,
    32,
    32,
    'Invalidates caches of a nested HWPT or a vIOMMU.',
    {
      hwpt_id: input('u32', 'Id of the HWPT or vIOMMU.'),
      data: input('bytes', 'The entries, base64.'),
      data_type: input('u32', 'Kind of entries.'),
      entry_len: input('u32', 'Bytes of an entry.'),
      entry_num: inout('u32', 'Number of entries; then of entries done.'),
      __reserved: reserved,
    },
    {
      support: part(
        "The caches, and the entries that drop something of them, are those of the kernel's mock driver, on units of kind `generic`.",
      ),
    },
  ),
  IOMMU_FAULT_QUEUE_ALLOC: request(0x3b8e, 16, 16, 'Makes a queue of page faults.', {
    flags,
    out_fault_id: output('u32', 'Id of the queue.'),
    out_fault_fd: output('u32', 'Its descriptor.'),
  }),
  IOMMU_IOAS_MAP_FILE: request(
    0x3b8f,
    40,
    40,
    'Maps a memfd.',
    {
      flags: bits(MAP_FLAGS),
      ioas_id: ioasId,
      fd: input('s32', 'Descriptor of the memfd.'),
      start: input('u64', 'First byte of the file.'),
      length: input('u64', 'Bytes.'),
      iova: inout('u64', 'IOVA, chosen by the kernel without FIXED_IOVA.'),
    },
    { support: part('Memfds: there are no dma-bufs.') },
  ),
  IOMMU_VIOMMU_ALLOC: request(
    0x3b90,
    24,
    40,
    'Makes a virtual IOMMU on a nesting parent.',
    {
      flags,
      type: input('u32', 'Kind of vIOMMU.'),
      dev_id: input('u32', 'Id of a device behind the IOMMU.'),
      hwpt_id: input('u32', 'Id of the nesting parent.'),
      out_viommu_id: output('u32', 'Id of the new vIOMMU.'),
      data_len: input('u32', 'Bytes of driver data.'),
      __reserved: input('u32', 'Not looked at.'),
      data: inout('bytes', 'Driver data, base64.'),
    },
    {
      ends: { data_len: 28, __reserved: 32, data: 40 },
      support: part(
        "That of the kernel's mock driver, on units of kind `generic`, and that of AMD-Vi, which can do nothing. SMMUv3 has none (EOPNOTSUPP).",
      ),
    },
  ),
  IOMMU_VDEVICE_ALLOC: request(0x3b91, 24, 24, 'Gives a device a number on a vIOMMU.', {
    viommu_id: input('u32', 'Id of the vIOMMU.'),
    dev_id: input('u32', 'Id of the device.'),
    out_vdevice_id: output('u32', 'Id of the new vDEVICE.'),
    virt_id: input('u64', 'The number.'),
  }),
  IOMMU_IOAS_CHANGE_PROCESS: request(0x3b92, 8, 8, 'Moves the accounting of file mappings to the caller.', {
    __reserved: reserved,
  }),
  IOMMU_VEVENTQ_ALLOC: request(
    0x3b93,
    28,
    32,
    'Makes a queue of events of a vIOMMU.',
    {
      flags,
      viommu_id: input('u32', 'Id of the vIOMMU.'),
      type: input('u32', 'Kind of events.'),
      veventq_depth: input('u32', 'Events it holds.'),
      out_veventq_id: output('u32', 'Id of the queue.'),
      out_veventq_fd: output('u32', 'Its descriptor.'),
      __reserved: reserved,
    },
    { ends: { __reserved: 32 }, support: part("The events are those of the kernel's mock driver.") },
  ),
  IOMMU_HW_QUEUE_ALLOC: request(
    0x3b94,
    40,
    40,
    'Gives a vIOMMU a hardware queue in guest memory.',
    {
      flags,
      viommu_id: input('u32', 'Id of the vIOMMU.'),
      type: input('u32', 'Kind of queue.'),
      index: input('u32', 'Number of the queue.'),
      out_hw_queue_id: output('u32', 'Id of the queue.'),
      nesting_parent_iova: input('u64', 'Where its memory is.'),
      length: input('u64', 'Bytes.'),
    },
    { support: part("Those of the kernel's mock driver, on units of kind `generic` (EOPNOTSUPP elsewhere).") },
  ),
  IOMMU_IOAS_NOIOMMU_GET_PA: request(
    0x3b95,
    40,
    40,
    'The physical address behind an IOVA of an IOAS that devices without an IOMMU use.',
    {
      flags,
      ioas_id: ioasId,
      __reserved: reserved,
      iova: input('u64', 'IOVA.'),
      length: inout('u64', 'The most bytes; then how many are contiguous there.'),
      out_phys: output('u64', 'Physical address.'),
    },
    { support: part('Never a success: no device is used without an IOMMU, and with one it is EOPNOTSUPP.') },
  ),
  IOMMU_HWPT_LU_SET_PRESERVE: request(
    0x3bc0,
    24,
    24,
    'Marks a HWPT for the next live update (profile persisted-domains).',
    { flags, hwpt_id: input('u32', 'Id of the HWPT.'), token: input('u64', 'Its name in the next kernel.') },
  ),
  IOMMU_HWPT_LU_RESTORE: request(
    0x3bc1,
    24,
    24,
    'Tells the id of the HWPT that wraps a restored domain (profile persisted-domains).',
    { flags, hwpt_id: output('u32', 'Id of the HWPT.'), token: input('u64', 'The token it was marked with.') },
  ),
  VFIO_GET_API_VERSION: request(0x3b64, 0, 0, 'The version of the VFIO interface.', {}),
  VFIO_CHECK_EXTENSION: request(
    0x3b65,
    0,
    0,
    'Whether an extension of VFIO is there.',
    {
      extension: input('u32', 'Number of the extension; the argument itself.'),
    },
    {
      support: part(
        'DMA_CC (4) is 0 as soon as the IOAS has a HWPT, as on the machines of the traces, whatever the IOMMU.',
      ),
    },
  ),
  VFIO_SET_IOMMU: request(0x3b66, 0, 0, 'Chooses the kind of container.', {
    type: input('u32', '1: TYPE1, 3: TYPE1v2; the argument itself.'),
  }),
  VFIO_IOMMU_GET_INFO: container(
    0x3b70,
    16,
    24,
    'Page sizes and IOVA ranges of the container.',
    {
      argsz: inout('u32', 'Room; then the room needed.'),
      flags: output('u32', 'Bit 0: page sizes, bit 1: capabilities.'),
      iova_pgsizes: output('u64', 'Page sizes.'),
      cap_offset: output('u32', 'Where the capabilities begin.'),
      data: { ...output('bytes', 'What lies behind the struct, base64.'), most: MAX_INFO },
    },
    { support: part(`By names, at most ${MAX_INFO} bytes of what lies behind the struct.`) },
  ),
  VFIO_IOMMU_MAP_DMA: container(0x3b71, 32, 32, 'Maps memory of the calling process.', {
    flags: bits(DMA_MAP_FLAGS),
    vaddr: input('u64', 'Address in the process.'),
    iova: input('u64', 'IOVA.'),
    size: input('u64', 'Bytes.'),
  }),
  VFIO_IOMMU_UNMAP_DMA: container(
    0x3b72,
    24,
    24,
    'Unmaps.',
    {
      flags: bits(DMA_UNMAP_FLAGS),
      iova: input('u64', 'First IOVA.'),
      size: inout('u64', 'Bytes; then the bytes unmapped.'),
    },
    { keeps: 'size' },
  ),
};
