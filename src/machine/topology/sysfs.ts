/** Reads what `find /sys/kernel/iommu_groups -type l` or `compgen -G` of its links prints. */
import { MAX_GROUP, parseBdf, readLines, type Topology, type TopologyFunction } from './functions.ts';

const FORM = '/sys/kernel/iommu_groups/<group>/devices/<dddd:bb:dd.f>';
const LINE = /^\/sys\/kernel\/iommu_groups\/(\d{1,20})\/devices\/([^/\s]+)$/;
const ADDRESS_OF_A_FUNCTION = /^[0-9a-f]+:[0-9a-f]+:[0-9a-f]+\.[0-9a-f]+$/i;

function readLine(line: string): TopologyFunction | { reason: string } {
  const match = LINE.exec(line);
  if (!match) return { reason: `not of the form ${FORM}` };
  const group = Number(match[1]);
  if (group > MAX_GROUP) return { reason: `group ${match[1]} is out of range: 0 to ${MAX_GROUP}` };
  const address = match[2]!;
  if (!ADDRESS_OF_A_FUNCTION.test(address))
    return { reason: `"${address}" is not a PCI function (dddd:bb:dd.f); leave out the lines of other devices` };
  const parsed = parseBdf(address);
  if ('reason' in parsed) return parsed;
  return { bdf: parsed.bdf, group, class: null, vendor: null, device: null, name: null };
}

/** The functions and their groups, by address. The text says nothing of their kind. */
export function parseSysfsGroups(text: string): Topology {
  return readLines(text, readLine, `lines of the form ${FORM}`);
}
