/**
 * Bounds of this service, not of Linux: of one request and of one answer, which docs/support.md lists, and, at the end, of
 * connections and of what waits, which docs/configuration.md lists beside those that can be configured.
 */

const MIB = 1 << 20;

/** The most calls of a request, bytes that they may read together, and write together, and characters that their results may have, about. */
export const MAX_CALLS = 10_000;
export const MAX_READ = 4 * MIB;
export const MAX_WRITTEN = MIB;
export const MAX_RESULTS_SIZE = 8 * MIB;
/** The most bytes that one peek, pread, access_rw or access of a DMA moves. */
export const MAX_TRANSFER = MIB;
/** The most characters of a path: PATH_MAX of Linux. */
export const PATH_MAX = 4096;
/** The most ranges of IOMMU_IOAS_ALLOW_IOVAS, as objects and as bytes; and responses of a write to a queue of faults. */
export const MAX_RANGES = 16_384;
export const MAX_RAW_RANGES = 65_536;
export const MAX_RESPONSES = 65_536;
/** The most descriptors of one poll. */
export const MAX_POLLED = 1024;
/** The most pieces of memory that come with the bytes of an ioctl. */
export const MAX_MEMORY_PIECES = 1024;
/** The most accesses of a request for DMA, and bytes of them together. */
export const MAX_DMA_ACCESSES = 1000;
export const MAX_DMA_BYTES = 4 * MIB;
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
/**
 * The most items of a page of a list, which is what a page has if nothing is asked, and of a list within another answer; and about
 * how many bytes a page has at most, if it has more than one item.
 */
export const MAX_LISTED = 1000;
export const LIST_BYTES = MIB;
/** Keys of a tenant, and the most seconds that one may be good for, if not for ever: ten years. */
export const MAX_KEYS = 64;
export const MAX_KEY_SECONDS = 315_360_000;
/** Named snapshots of a host. */
export const MAX_SNAPSHOTS = 64;
/** Engines of a host, and pages of 4 KiB of the working sets of all of them: what is kept of a page takes 8 bytes. */
export const MAX_ENGINES = 64;
export const MAX_ENGINE_PAGES = 2 ** 20;
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
/** The most labels of a host, and for how long a host or a tenant can be asked for that ends by itself, in seconds. */
export const MAX_LABELS = 16;
export const MAX_TTL_SECONDS = 30 * 86_400;
/** How many hosts are deleted at a time, where many are. */
export const DELETED_AT_A_TIME = 16;

const SECOND = 1000;

/** The most bytes of a request's line and headers, and of its URL alone. */
export const MAX_HEAD = 16_384;
export const MAX_URL = 8192;
/** The most connections; each takes some 10 KiB, and what it sends more. Beyond them new ones are closed. */
export const MAX_CONNECTIONS = 8192;
/** How long the line and the headers of a request may take, in milliseconds. */
export const HEADERS_MS = 30 * SECOND;
/** How long idle connections are kept, in milliseconds: longer than proxies do, which would else use a closing one. */
export const KEEP_ALIVE_MS = 72 * SECOND;
/** How long an answer may wait for a client that does not read on, in milliseconds. */
export const UNREAD_MS = 60 * SECOND;
/** How long the rest of a body that nobody reads any more is taken and thrown away, in milliseconds. */
export const DRAIN_MS = 5 * SECOND;
/**
 * How many requests of all connections may wait behind the one that is answered on theirs: a connection is not read while a
 * request of it waits, but a few that arrived together have been parsed by then. Beyond the bound connections with more than FEW
 * are cut off.
 */
export const MAX_WAITING = 4096;
export const FEW = 16;
/** How many bytes may wait to be parsed, those of all connections. Beyond them connections with more than a few are cut off. */
export const MAX_HELD = 64 * MIB;
/** A thread that serves HTTP reads no body, and writes no answer, of more bytes than about this; so many threads read bodies. */
export const LARGE = 16 << 10;
export const READERS = 2;
/** The most bytes of a line of a batch sent as lines. */
export const MAX_LINE = 64 << 10;
/** How long a lane may work on one command by default, in seconds. */
export const COMMAND_SECONDS = 10;
/**
 * How long a stop waits for what has begun, until long work is given up and what waits is refused; how long then for those
 * answers, and for lanes that are in the middle of something; how long snapshots of hosts may take, and the last spans; and when the
 * service ends whatever is not done. In milliseconds.
 */
export const STOP_GRACE_MS = SECOND;
export const STOP_ANSWERS_MS = 1200;
export const STOP_LANES_MS = 800;
export const STOP_SNAPSHOTS_MS = 800;
export const STOP_SPANS_MS = 500;
export const STOP_MS = 4500;
/** How many commands may wait in a lane, and bytes of them, before hosts with more than their share are refused. */
export const LANE_COMMANDS = 4096;
export const LANE_BYTES = 128 * MIB;
