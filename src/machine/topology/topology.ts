/** A machine from the text that it printed: which form it is in, its functions, and what was concluded. */
import type { IommuKind } from '../spec.ts';
import { findVirtualFunctions, findVmds } from './conclusions.ts';
import { LspciReader, looksLikeLspci } from './lspci.ts';
import { Platform } from './platform.ts';
import { looksLikeSysfs, SysfsReader } from './sysfs.ts';
import { eachLine, type Line, type Notes, quoted, readText, type TopologyFunction, type TopologyNote } from './text.ts';

export const TOPOLOGY_FORMATS = ['sysfs-iommu-groups', 'lspci-by-group'] as const;
export type TopologyFormat = (typeof TOPOLOGY_FORMATS)[number];

/** A line that cannot be read, as it is shown. */
export interface QuotedError {
  /** Number of the line, from 1. */
  line: number;
  text: string | null;
  reason: string;
}

export interface Topology {
  /** By address. */
  functions: TopologyFunction[];
  /** Its IOMMU, why it is taken for that, and the line that this is from. */
  platform: { kind: IommuKind; why: string; from: Pick<TopologyNote, 'line' | 'text'> };
  notes: TopologyNote[];
}

const LOOKS_LIKE: Readonly<Record<TopologyFormat, (text: string) => boolean>> = {
  'sysfs-iommu-groups': looksLikeSysfs,
  'lspci-by-group': looksLikeLspci,
};

/**
 * Reads a text. Without a `format` the first line that has the looks of one decides. `groupless`: the functions are those
 * of a machine without an IOMMU, so that none needs a group.
 */
export function parseTopology(
  text: string,
  format: TopologyFormat | undefined,
  groupless = false,
): Topology | { errors: QuotedError[] } {
  if (format) return parseAs(text, format, groupless);
  const likely = formatOf(text);
  const first = parseAs(text, likely ?? 'lspci-by-group', groupless);
  if ('functions' in first || likely === undefined) return first;
  const second = parseAs(text, otherThan(likely), groupless);
  return 'functions' in second ? second : first;
}

const otherThan = (format: TopologyFormat) => TOPOLOGY_FORMATS.find((candidate) => candidate !== format)!;

function parseAs(text: string, format: TopologyFormat, groupless: boolean): Topology | { errors: QuotedError[] } {
  const platform = new Platform();
  const lspci = format === 'lspci-by-group' ? new LspciReader(platform) : null;
  const reader = lspci ?? new SysfsReader(platform);
  const { functions: read, notes, errors } = readText(text, reader);
  let first: Line | null = null;
  eachLine(text, (line) => {
    first = line;
    return false;
  });
  const [ungrouped] = read.filter(({ group }) => group === null);
  const left = lspci?.groupsBehind && !groupless ? grouped(read, notes) : read;
  const other = otherThan(format);
  const foreign =
    lspci && !lspci.described && read[0] ? read[0] : errors.find(({ line }) => LOOKS_LIKE[other](line.text));
  if (foreign)
    return refused(foreign.line, `this looks like \`${other}\`, and \`format\` is \`${format}\`: give the other`);
  if (errors.length > 0) return { errors: errors.map(({ line, reason }) => quotedError(line, reason)) };
  if (left.length === 0) return refused(first, `no functions: expected ${reader.expected}; ${WITHOUT_IOMMU}`);
  if (ungrouped && !groupless && left.includes(ungrouped))
    return refused(ungrouped.line, `no line before it says its group: expected ${reader.expected}; ${WITHOUT_IOMMU}`);
  if (lspci?.resetMark) {
    for (const fn of left) fn.reset ??= false;
    notes.add('functions with this mark can be reset, all others cannot', lspci.resetMark);
  }
  if (lspci?.groupColumn) notes.add('the number before the address is taken for that of the group', lspci.groupColumn);
  for (const { vendor, name, line } of left)
    if (vendor === null && name !== null)
      notes.add('no vendor and device in numbers, which `lspci -nn` prints: both are unknown', line);
  lspci?.describe(left);
  findVirtualFunctions(left, notes);
  if (!groupless) findVmds(left, notes);
  const { kind, line, why } = platform.conclude(left);
  const from = { line: line?.number ?? null, text: line && quoted(line.raw) };
  return { functions: left, platform: { kind, why, from }, notes: notes.list() };
}

const WITHOUT_IOMMU = 'a machine without an IOMMU has `iommus: []`';

const quotedError = (line: Line | null, reason: string): QuotedError => ({
  line: line?.number ?? 1,
  text: line && quoted(line.raw),
  reason,
});
const refused = (line: Line | null, reason: string) => ({ errors: [quotedError(line, reason)] });

/** Where lines behind functions say their groups, those of which none does are left out: Linux has such ones. */
function grouped(functions: TopologyFunction[], notes: Notes): TopologyFunction[] {
  return functions.filter(({ group, line }) => {
    if (group === null) notes.add('a function without an IOMMU group: left out', line);
    return group !== null;
  });
}

const LINES_THAT_DECIDE = 5000;

function formatOf(text: string): TopologyFormat | undefined {
  let found: TopologyFormat | undefined;
  eachLine(text, (line, count) => {
    found = TOPOLOGY_FORMATS.find((format) => LOOKS_LIKE[format](line.text));
    return found === undefined && count < LINES_THAT_DECIDE;
  });
  return found;
}
