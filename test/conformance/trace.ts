/** Golden traces as they lie on disk: JSON Lines, alone or in bundles, plain or compressed with gzip. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { CALLS } from '../../src/kernel/uapi/calls.ts';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

export interface Range {
  start: string;
  last: string;
}

/** What the simulated IOMMU must look like. */
export interface Geometry {
  aperture: Range;
  page_sizes: string[];
  /** Of all page sizes, where `page_sizes` holds only those that show. */
  page_size_bitmap?: string;
  reserved: (Range & { type: string })[];
  dirty_tracking: boolean;
  nesting: boolean;
  hw_info: {
    type: number;
    data_len: number;
    data?: string;
    capabilities: string;
    capabilities_no_dirty?: string;
  };
  page_table_type_1?: { aperture: Range; page_size_bitmap: string };
  max_pasid_log2?: number;
}

export interface TracedDevice {
  bdf: string;
  vendor: string;
  device: string;
  group: number;
  driver: string;
  cdev: string;
  info: { flags: number; num_regions: number; num_irqs: number };
  /** Six digits. What follows is there for the functions that the trace uses (suite vfio-device). */
  class?: string;
  revision?: string;
  subsystem_vendor?: string;
  subsystem_device?: string;
  bars?: JsonObject[];
  capabilities?: JsonObject[];
  extended_capabilities?: JsonObject[];
  config_size?: number;
  config?: string;
}

export interface Header {
  trace: string;
  suite: 'iommufd' | 'iommufd-extensions' | 'vfio' | 'vfio-device' | 'liveupdate' | 'memfd';
  geometry: Geometry;
  devices: TracedDevice[];
  interrupt_remapping?: boolean;
}

/** What a call answered: `arg`, `data` and so on are what the kernel wrote. */
export interface Expectation {
  ret?: number | string;
  errno?: string;
  blocked?: boolean;
  arg?: JsonObject;
  [output: string]: Json | undefined;
}

export interface TracedCall {
  n: number;
  pid: number;
  call: string;
  as?: Record<string, string>;
  expect: Expectation;
  [argument: string]: unknown;
}

export interface TraceLine {
  /** Line in the file, from 1. */
  line: number;
  call: TracedCall;
}

export interface Trace {
  file: string;
  name: string;
  header: Header;
  calls: TraceLine[];
}

/** The trace files at these paths: files as they are, folders with all below them, in order of their names. */
export function traceFiles(paths: string[]): string[] {
  return paths.flatMap((path) => {
    if (!statSync(path).isDirectory()) return [path];
    const entries = readdirSync(path, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
    return entries.flatMap((entry) => {
      const below = join(path, entry.name);
      if (entry.isDirectory()) return traceFiles([below]);
      return /\.jsonl(\.gz)?$/.test(entry.name) ? [below] : [];
    });
  });
}

/** The traces of a file; a header line begins the next one. */
export function readTraces(file: string): Trace[] {
  const bytes = readFileSync(file);
  return parseTraces(file, (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString());
}

export function parseTraces(file: string, text: string): Trace[] {
  const traces: Trace[] = [];
  for (const [index, content] of text.split('\n').entries()) {
    if (content.trim() === '') continue;
    const line = index + 1;
    const entry = parseLine(file, line, content);
    if (isHeader(entry)) traces.push({ file, name: entry.trace, header: entry, calls: [] });
    else {
      const trace = traces.at(-1);
      if (trace === undefined) throw new Error(`${file}:${line}: a call before the first header`);
      trace.calls.push({ line, call: entry });
    }
  }
  return traces;
}

function isHeader(entry: Header | TracedCall): entry is Header {
  return 'trace' in entry;
}

function parseLine(file: string, line: number, content: string): Header | TracedCall {
  try {
    return JSON.parse(content) as Header | TracedCall;
  } catch (error) {
    throw new Error(`${file}:${line}: ${(error as Error).message}`);
  }
}

/** Lines that are no system calls of the process they name. */
export const SPECIAL_CALLS: ReadonlySet<string> = new Set([
  'attach',
  'replace',
  'detach',
  'pasid_attach',
  'pasid_replace',
  'pasid_detach',
  'pasid_check',
  'check',
  'dma_write',
  'add_reserved',
  'driver_bind',
  'driver_unbind',
  'driver_unbind_wait',
  'kexec',
  'exit',
]);

/** Why the trace is passed over: a call that neither the replayer nor the service knows; null: it is not. */
export function skipReason(trace: Trace): string | null {
  const known = (name: string): boolean => name === 'ioctl' || SPECIAL_CALLS.has(name) || CALLS.has(name);
  const unknown = trace.calls.find(({ call }) => !known(call.call));
  return unknown ? `no such call: ${unknown.call.call}` : null;
}
