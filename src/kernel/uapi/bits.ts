/** Words of flags: the names of their bits in the headers of Linux. */
export type Bits = Readonly<Record<string, number>>;

/** include/uapi/linux/memfd.h */
export const MEMFD_FLAGS = {
  MFD_CLOEXEC: 1,
  MFD_ALLOW_SEALING: 2,
  MFD_HUGETLB: 4,
  MFD_NOEXEC_SEAL: 8,
  MFD_EXEC: 16,
} as const satisfies Bits;

/** include/uapi/linux/eventfd.h */
export const EVENTFD_FLAGS = { EFD_SEMAPHORE: 1, EFD_NONBLOCK: 0x800, EFD_CLOEXEC: 0x80000 } as const satisfies Bits;

/** include/uapi/linux/fcntl.h */
export const SEALS = {
  F_SEAL_SEAL: 1,
  F_SEAL_SHRINK: 2,
  F_SEAL_GROW: 4,
  F_SEAL_WRITE: 8,
  F_SEAL_FUTURE_WRITE: 16,
  F_SEAL_EXEC: 32,
} as const satisfies Bits;

/** include/uapi/asm-generic/fcntl.h: what a file is opened with. O_DSYNC and O_TMPFILE have bits of others in them. */
export const OPEN_FLAGS = {
  O_RDONLY: 0,
  O_WRONLY: 1,
  O_RDWR: 2,
  O_CREAT: 0x40,
  O_EXCL: 0x80,
  O_NOCTTY: 0x100,
  O_TRUNC: 0x200,
  O_APPEND: 0x400,
  O_NONBLOCK: 0x800,
  O_DSYNC: 0x1000,
  FASYNC: 0x2000,
  O_DIRECT: 0x4000,
  O_LARGEFILE: 0x8000,
  O_DIRECTORY: 0x10000,
  O_NOFOLLOW: 0x20000,
  O_NOATIME: 0x40000,
  O_CLOEXEC: 0x80000,
  O_SYNC: 0x101000,
  O_PATH: 0x200000,
  O_TMPFILE: 0x410000,
} as const satisfies Bits;

/** include/uapi/asm-generic/fcntl.h, include/uapi/linux/fcntl.h: commands of fcntl. */
export const FCNTL_COMMANDS = {
  F_DUPFD: 0,
  F_GETFD: 1,
  F_SETFD: 2,
  F_GETFL: 3,
  F_SETFL: 4,
  F_DUPFD_CLOEXEC: 1030,
  F_ADD_SEALS: 1033,
  F_GET_SEALS: 1034,
} as const satisfies Bits;
export const FD_FLAGS = { FD_CLOEXEC: 1 } as const satisfies Bits;

/** include/uapi/asm-generic/poll.h */
export const POLL_EVENTS = {
  POLLIN: 1,
  POLLPRI: 2,
  POLLOUT: 4,
  POLLERR: 8,
  POLLHUP: 0x10,
  POLLNVAL: 0x20,
  POLLRDNORM: 0x40,
  POLLRDBAND: 0x80,
  POLLWRNORM: 0x100,
  POLLWRBAND: 0x200,
} as const satisfies Bits;

/** include/uapi/linux/falloc.h */
export const FALLOCATE_MODE = {
  FALLOC_FL_KEEP_SIZE: 1,
  FALLOC_FL_PUNCH_HOLE: 2,
  FALLOC_FL_NO_HIDE_STALE: 4,
  FALLOC_FL_COLLAPSE_RANGE: 8,
  FALLOC_FL_ZERO_RANGE: 16,
  FALLOC_FL_INSERT_RANGE: 32,
  FALLOC_FL_UNSHARE_RANGE: 64,
  FALLOC_FL_WRITE_ZEROES: 128,
} as const satisfies Bits;

/** include/uapi/linux/stat.h */
export const FILE_MODE = {
  S_IXOTH: 0o1,
  S_IWOTH: 0o2,
  S_IROTH: 0o4,
  S_IXGRP: 0o10,
  S_IWGRP: 0o20,
  S_IRGRP: 0o40,
  S_IXUSR: 0o100,
  S_IWUSR: 0o200,
  S_IRUSR: 0o400,
  S_ISVTX: 0o1000,
  S_ISGID: 0o2000,
  S_ISUID: 0o4000,
} as const satisfies Bits;

/** include/uapi/asm-generic/mman-common.h */
export const PROTECTION = {
  PROT_READ: 1,
  PROT_WRITE: 2,
  PROT_EXEC: 4,
  PROT_SEM: 8,
  PROT_GROWSDOWN: 0x01000000,
  PROT_GROWSUP: 0x02000000,
} as const satisfies Bits;

/** include/uapi/linux/mman.h */
export const MREMAP_FLAGS = { MREMAP_MAYMOVE: 1, MREMAP_FIXED: 2, MREMAP_DONTUNMAP: 4 } as const satisfies Bits;

/** include/uapi/linux/iommufd.h */
export const MAP_FLAGS = {
  IOMMU_IOAS_MAP_FIXED_IOVA: 1,
  IOMMU_IOAS_MAP_WRITEABLE: 2,
  IOMMU_IOAS_MAP_READABLE: 4,
} as const satisfies Bits;
export const HWPT_ALLOC_FLAGS = {
  IOMMU_HWPT_ALLOC_NEST_PARENT: 1,
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING: 2,
  IOMMU_HWPT_FAULT_ID_VALID: 4,
  IOMMU_HWPT_ALLOC_PASID: 8,
} as const satisfies Bits;
export const HW_INFO_FLAGS = { IOMMU_HW_INFO_FLAG_INPUT_TYPE: 1 } as const satisfies Bits;
export const SET_DIRTY_TRACKING_FLAGS = { IOMMU_HWPT_DIRTY_TRACKING_ENABLE: 1 } as const satisfies Bits;
export const GET_DIRTY_BITMAP_FLAGS = { IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR: 1 } as const satisfies Bits;
export const FAULT_PERMISSIONS = {
  IOMMU_PGFAULT_PERM_READ: 1,
  IOMMU_PGFAULT_PERM_WRITE: 2,
  IOMMU_PGFAULT_PERM_EXEC: 4,
  IOMMU_PGFAULT_PERM_PRIV: 8,
} as const satisfies Bits;

/** include/uapi/linux/vfio.h */
export const DMA_MAP_FLAGS = {
  VFIO_DMA_MAP_FLAG_READ: 1,
  VFIO_DMA_MAP_FLAG_WRITE: 2,
  VFIO_DMA_MAP_FLAG_VADDR: 4,
} as const satisfies Bits;
export const DMA_UNMAP_FLAGS = {
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP: 1,
  VFIO_DMA_UNMAP_FLAG_ALL: 2,
  VFIO_DMA_UNMAP_FLAG_VADDR: 4,
} as const satisfies Bits;
export const BIND_FLAGS = { VFIO_DEVICE_BIND_FLAG_TOKEN: 1 } as const satisfies Bits;
export const ATTACH_FLAGS = { VFIO_DEVICE_ATTACH_PASID: 1 } as const satisfies Bits;
export const DETACH_FLAGS = { VFIO_DEVICE_DETACH_PASID: 1 } as const satisfies Bits;
export const REGION_INFO_FLAGS = {
  VFIO_REGION_INFO_FLAG_READ: 1,
  VFIO_REGION_INFO_FLAG_WRITE: 2,
  VFIO_REGION_INFO_FLAG_MMAP: 4,
  VFIO_REGION_INFO_FLAG_CAPS: 8,
} as const satisfies Bits;
export const IRQ_INFO_FLAGS = {
  VFIO_IRQ_INFO_EVENTFD: 1,
  VFIO_IRQ_INFO_MASKABLE: 2,
  VFIO_IRQ_INFO_AUTOMASKED: 4,
  VFIO_IRQ_INFO_NORESIZE: 8,
} as const satisfies Bits;
export const IRQ_SET_FLAGS = {
  VFIO_IRQ_SET_DATA_NONE: 1,
  VFIO_IRQ_SET_DATA_BOOL: 2,
  VFIO_IRQ_SET_DATA_EVENTFD: 4,
  VFIO_IRQ_SET_ACTION_MASK: 8,
  VFIO_IRQ_SET_ACTION_UNMASK: 16,
  VFIO_IRQ_SET_ACTION_TRIGGER: 32,
} as const satisfies Bits;
export const IOEVENTFD_FLAGS = {
  VFIO_DEVICE_IOEVENTFD_8: 1,
  VFIO_DEVICE_IOEVENTFD_16: 2,
  VFIO_DEVICE_IOEVENTFD_32: 4,
  VFIO_DEVICE_IOEVENTFD_64: 8,
} as const satisfies Bits;
export const FEATURE_FLAGS = {
  VFIO_DEVICE_FEATURE_GET: 0x10000,
  VFIO_DEVICE_FEATURE_SET: 0x20000,
  VFIO_DEVICE_FEATURE_PROBE: 0x40000,
} as const satisfies Bits;
