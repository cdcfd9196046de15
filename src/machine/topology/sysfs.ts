/**
 * Reads the groups as sysfs shows them: paths (`find`, `compgen -G`), `ls` and `ls -l` of the groups, `tree`, links
 * (`…/iommu_group -> …/iommu_groups/7`), and what the kernel says of them in its log.
 */
import { MAX_GROUP, parseBdf } from './functions.ts';
import type { Platform } from './platform.ts';
import type { Line, Reader, Reading, TopologyFunction } from './text.ts';

const FORM = '/sys/kernel/iommu_groups/<group>/devices/<dddd:bb:dd.f>';
const ADDRESS = /^(?:[0-9a-f]{1,16}:)?[0-9a-f]{1,8}:[0-9a-f]{1,8}\.[0-9a-f]{1,8}@?$/i;
/** The end of a path below a group: the group, and what is there. */
const IN_GROUP = /^(?:[^ ]*\/)?(\d{1,20})\/devices(?:\/([^/ ]*))?\/?:?$/;
const GROUP = /^(?:[^ ]*iommu_groups\/|\.\/)?(\d{1,20})\/?:?$/;
const BELOW_GROUP = /^(?:[^ ]*\/)?(?:iommu_groups|devices|reserved_regions|type|name|power|uevent)\/?:?$/;
/** `ls -l` and `find -ls`; a dash in front may have been taken for a quote. */
const LISTED = /^(?:\d+ )*[ld]?[rwxst-]{9}[.+@]? /;
const LISTS_GROUP = /\bls [^|;&]{0,200}iommu_groups\/(\d{1,20})(?:\/devices)?\/?$/;
const IDS = /^pci \S+: \[([0-9a-f]{4}):([0-9a-f]{4})\] type [0-9a-f]{2} class 0x([0-9a-f]{4})/;
const LOG =
  /^(?:<\d+>|kern )|^\[ ?[\d.]+\] |^\[\w{3} \w{3} |\bkernel: ?|^(?:pci|pcieport|iommu|vfio-pci|platform|DMAR|AMD-Vi|arm-smmu\S*)\b[^/]*: /;
const ADDING = ': Adding to iommu group ';
const REMOVING = ': Removing from iommu group ';

/** Whether a line is one that only texts of sysfs, or of the kernel's log, have. */
export function looksLikeSysfs(text: string): boolean {
  return (
    /iommu_groups\/\d|^\S*iommu_groups\/?:?$|^(?:\.\/)?\d+\/devices\b/.test(text) ||
    text.includes(ADDING) ||
    text.includes('iommu: Adding device ')
  );
}

export class SysfsReader implements Reader {
  readonly expected = `${FORM}, as \`find /sys/kernel/iommu_groups -type l\` prints`;
  private readonly _platform: Platform;
  private _group: number | null = null;
  /** What the log says of functions before it says their groups. */
  private readonly _ids = new Map<string, Pick<TopologyFunction, 'vendor' | 'device' | 'class'>>();

  constructor(platform: Platform) {
    this._platform = platform;
  }

  read(line: Line): Reading {
    const { text } = line;
    const log = this._readLog(line);
    if (log !== undefined) return log;
    const arrow = text.indexOf(' -> ');
    const left = arrow < 0 ? text : text.slice(0, arrow);
    const target = arrow < 0 ? '' : text.slice(arrow + 4);
    if (/^total \d+$/i.test(text) || /^\d+ director(?:y|ies)\b/.test(text)) return null;
    // Names have no blanks: what is before them is what `ls -l` says of the link.
    const name = LISTED.test(left) ? left.slice(left.lastIndexOf(' ') + 1) : left;
    const inGroup = IN_GROUP.exec(name);
    if (inGroup) {
      const refused = this._enter(inGroup[1]!);
      if (refused) return refused;
      return inGroup[2] ? this._function(line, inGroup[2]) : null;
    }
    const linked = /(?:^|\/)([^/ ]+)\/iommu_group$/.exec(name) ?? (ADDRESS.test(name) ? [name, name] : null);
    const groupOfLink = /iommu_groups\/(\d{1,20})\/?$/.exec(target);
    if (linked && groupOfLink) {
      const refused = this._enter(groupOfLink[1]!);
      return refused ?? this._function(line, linked[1]!);
    }
    const group = GROUP.exec(name);
    if (group) return this._enter(group[1]!);
    if (BELOW_GROUP.test(name)) return null;
    if (/^[\d ]+$/.test(name)) return { passed: 'numbers of groups without their functions: passed over' };
    const names = name.split(' ');
    if (LISTED.test(left) || arrow >= 0 || names.every((word) => ADDRESS.test(word))) return this._listed(line, names);
    const pair = /^(\S+?):? .*iommu_groups\/(\d{1,20})\/?$/.exec(name);
    if (!pair) return undefined;
    const address = pair[1]!.split('/').findLast((part) => ADDRESS.test(part));
    return address === undefined ? undefined : (this._enter(pair[2]!) ?? this._function(line, address));
  }

  /** `ls -l` of one group prints its functions without it. */
  command(text: string): void {
    const group = LISTS_GROUP.exec(text);
    if (group) this._enter(group[1]!);
  }

  private _listed(line: Line, names: string[]): Reading {
    if (this._group === null) return { reason: `no group is said before it: expected ${this.expected}` };
    const found = names.map((name) => this._function(line, name));
    const other = found.find((reading) => !Array.isArray(reading));
    return other ?? (found as TopologyFunction[][]).flat();
  }

  private _enter(digits: string): { reason: string } | null {
    const group = Number(digits);
    if (group > MAX_GROUP) return { reason: `group ${digits} is out of range: 0 to ${MAX_GROUP}` };
    this._group = group;
    return null;
  }

  private _function(line: Line, shown: string): TopologyFunction[] | { reason: string } | { passed: string } {
    // `ls -F` marks links.
    const name = shown.replace(/@$/, '');
    if (!ADDRESS.test(name)) {
      this._platform.device(name, line);
      return { passed: `"${name}" is not a PCI function: passed over` };
    }
    const parsed = parseBdf(name);
    if ('reason' in parsed) return parsed;
    const ids = this._ids.get(parsed.bdf) ?? { vendor: null, device: null, class: null };
    return [{ bdf: parsed.bdf, group: this._group, ...ids, name: null, line }];
  }

  /** Reads a line of the kernel's log; undefined: it is none. */
  private _readLog(line: Line): Reading {
    const { text } = line;
    for (const [words, gone] of [
      [ADDING, false],
      [REMOVING, true],
    ] as const) {
      const at = text.indexOf(words);
      if (at < 0) continue;
      const name = text.slice(text.lastIndexOf(' ', at - 1) + 1, at);
      const refused = this._enter(/^\d{1,20}/.exec(text.slice(at + words.length))?.[0] ?? 'NaN');
      if (refused) return refused;
      const found = this._function(line, name);
      return gone && Array.isArray(found) ? { gone: found[0]!.bdf } : found;
    }
    const older = /\biommu: Adding device (\S+) to group (\d{1,20})\b/.exec(text);
    if (older) return this._enter(older[2]!) ?? this._function(line, older[1]!);
    if (!LOG.test(text)) return undefined;
    this._platform.log(line);
    const start = text.indexOf('pci ');
    const ids = start < 0 ? null : IDS.exec(text.slice(start));
    if (ids) {
      const parsed = parseBdf(text.slice(start + 4, text.indexOf(': [', start)));
      if ('bdf' in parsed) this._ids.set(parsed.bdf, { vendor: ids[1]!, device: ids[2]!, class: ids[3]! });
      return null;
    }
    return { passed: 'a line of the kernel’s log that says nothing of a group: passed over' };
  }
}
