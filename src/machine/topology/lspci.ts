/**
 * Reads `lspci -nn` grouped by IOMMU group, as the usual scripts print it: a line `IOMMU Group 1:` and the functions
 * below it, or group and function on one line (`IOMMU Group 1 00:01.0 …`). What `-k` adds is passed over.
 */
import { MAX_GROUP, parseBdf, readLines, type Topology, type TopologyFunction } from './functions.ts';

const FORM = '[dddd:]bb:dd.f Class name [cccc]: Vendor and device name [vvvv:dddd] (rev xx)';
const GROUP = /^IOMMU group (\d{1,20})\b:?\s*(.*)$/i;
const ADDRESS = /^((?:[0-9a-f]+:)?[0-9a-f]+:[0-9a-f]+\.[0-9a-f]+)\s+(\S.*)$/i;
/** Names have brackets of their own: the class is the first four digits in brackets, the ids are the last pair. */
const CLASS = /\[([0-9a-f]{4})\]:\s*(.*)$/i;
const IDS = /^(.*)\[([0-9a-f]{4}):([0-9a-f]{4})\](?:\s*\(rev [0-9a-f]{2}\))?(?:\s*\(prog-if .*\))?$/i;
const KERNEL_LINE = /^(?:DeviceName|Subsystem|Kernel driver in use|Kernel modules):/;

function readFunction(line: string, group: number | null): TopologyFunction | { reason: string } {
  const address = ADDRESS.exec(line);
  if (!address) return { reason: `neither \`IOMMU Group <n>:\` nor of the form ${FORM}` };
  const parsed = parseBdf(address[1]!);
  if ('reason' in parsed) return parsed;
  const kind = CLASS.exec(address[2]!);
  if (!kind) return { reason: `no class in brackets, such as [0108]: expected ${FORM}, which \`lspci -nn\` prints` };
  const ids = IDS.exec(kind[2]!);
  if (!ids) return { reason: `no vendor and device in brackets, such as [8086:7ae2]: expected ${FORM}` };
  if (group === null) return { reason: 'a function before the first line `IOMMU Group <n>:`' };
  const [, name, vendor, device] = ids;
  return {
    bdf: parsed.bdf,
    group,
    class: kind[1]!.toLowerCase(),
    vendor: vendor!.toLowerCase(),
    device: device!.toLowerCase(),
    name: name!.trim() || null,
  };
}

/** The functions with their groups, classes, ids and names, by address. */
export function parseLspciGroups(text: string): Topology {
  let group: number | null = null;
  return readLines(
    text,
    (line) => {
      const header = GROUP.exec(line);
      if (!header) return KERNEL_LINE.test(line) ? null : readFunction(line, group);
      const number = Number(header[1]);
      if (number > MAX_GROUP) return { reason: `group ${header[1]} is out of range: 0 to ${MAX_GROUP}` };
      group = number;
      return header[2] === '' ? null : readFunction(header[2]!, group);
    },
    `\`IOMMU Group <n>:\`, then lines of the form ${FORM}`,
  );
}
