/** Bounds of one request and of one answer: of this service, not of Linux. docs/support.md lists them. */

const MIB = 1 << 20;

/** Calls of a request, and bytes that they may read together. */
export const MAX_CALLS = 10_000;
export const MAX_READ = 64 * MIB;
/** Bytes that one peek, pread, access_rw or access of a DMA moves. */
export const MAX_TRANSFER = MIB;
/** Characters of a path: PATH_MAX, that of Linux. */
export const PATH_MAX = 4096;
/** Ranges of IOMMU_IOAS_ALLOW_IOVAS, and responses of a write to a queue of faults. */
export const MAX_RANGES = 65_536;
export const MAX_RESPONSES = 65_536;
/** Accesses of a request for DMA, and their bytes together. */
export const MAX_DMA_ACCESSES = 1000;
export const MAX_DMA_BYTES = 16 * MIB;
/** Bytes that a unit can tell of itself, and bytes of the buffer that a caller has for them. */
export const MAX_UNIT_INFO = 4096;
export const MAX_HW_INFO = 65_536;
/** Bits of a bitmap of dirty pages, which is answered in one piece: 64 GiB of pages of 4 KiB. */
export const MAX_DIRTY_BITS = 2 ** 24;
/** Bytes whose translation is asked for, and runs of an answer. */
export const MAX_TRANSLATED = 2n ** 34n;
export const MAX_RUNS = 65_536;
/** Operations of a batch (what is longer is sent as lines), and those whose outcomes can be answered one by one. */
export const MAX_OPERATIONS = 2 ** 24;
export const MAX_RESULTS = 100_000;
/** Refusals that the answer of a batch shows; more are only counted. */
export const MAX_BATCH_ERRORS = 100;
/** Fields in error, lines or functions that a problem names: more help nobody. */
export const MAX_ERRORS = 20;
/** Functions of a host, and bytes of its memory. */
export const MAX_FUNCTIONS = 4096;
export const MIN_MEMORY = 2n ** 24n;
export const MAX_MEMORY = 2n ** 46n;
