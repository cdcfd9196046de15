/**
 * How glibc is to keep memory, as variables that it reads when a process begins. Every buffer of 128 KiB and more goes back to the
 * system when it is free: otherwise it begins to keep them, of some MiB each, among what is small: they leave holes, memory grows by
 * half, and a thread that frees one gives back much at once, for a tenth of a second. What is smaller is fetched from the system in
 * large pieces, and given back when 2 MiB are free: a thread that loads its program would fetch and give back a thousand times.
 */
module.exports = {
  MALLOC_MMAP_THRESHOLD_: `${128 << 10}`,
  MALLOC_TRIM_THRESHOLD_: `${2 << 20}`,
  MALLOC_TOP_PAD_: `${256 << 10}`,
};
