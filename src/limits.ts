/** Bounds of one request and of one answer: of this service, not of Linux. docs/support.md lists them. */

const MIB = 1 << 20;

/** The most calls of a request, and bytes that they may read together. */
export const MAX_CALLS = 10_000;
export const MAX_READ = 64 * MIB;
/** The most bytes that one peek, pread, access_rw or access of a DMA moves. */
export const MAX_TRANSFER = MIB;
/** The most characters of a path: PATH_MAX of Linux. */
export const PATH_MAX = 4096;
/** The most ranges of IOMMU_IOAS_ALLOW_IOVAS, and responses of a write to a queue of faults. */
export const MAX_RANGES = 65_536;
export const MAX_RESPONSES = 65_536;
/** The most descriptors of one poll. */
export const MAX_POLLED = 1024;
/** The most pieces of memory that come with the bytes of an ioctl. */
export const MAX_MEMORY_PIECES = 1024;
/** The most accesses of a request for DMA, and bytes of them together. */
export const MAX_DMA_ACCESSES = 1000;
export const MAX_DMA_BYTES = 16 * MIB;
/** The most bytes of a unit's hardware info, and of the buffer that IOMMU_GET_HW_INFO is given for them. */
export const MAX_UNIT_INFO = 4096;
export const MAX_HW_INFO = 65_536;
/** The most bytes behind the struct of VFIO_IOMMU_GET_INFO that an answer by names tells. */
export const MAX_INFO = 1000;
/** The most bits of a bitmap of dirty pages, which is returned in one piece: 64 GiB of pages of 4 KiB. */
export const MAX_DIRTY_BITS = 2 ** 24;
/** The most bytes whose translation one query asks for, and runs of its answer. */
export const MAX_TRANSLATED = 2n ** 34n;
export const MAX_RUNS = 65_536;
/** The most operations of a batch (longer ones are sent as lines), and those whose outcomes an answer can list. */
export const MAX_OPERATIONS = 2 ** 24;
export const MAX_RESULTS = 100_000;
/** The most refusals that the answer of a batch shows; more are only counted. */
export const MAX_BATCH_ERRORS = 100;
/** The most wrong fields, lines or functions that a problem names: more help nobody. */
export const MAX_ERRORS = 20;
/** The most functions of a host, and the least and most bytes of its memory. */
export const MAX_FUNCTIONS = 4096;
export const MIN_MEMORY = 2n ** 24n;
export const MAX_MEMORY = 2n ** 46n;
