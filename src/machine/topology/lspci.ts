/**
 * Reads what lspci prints of functions by IOMMU group, in the forms of the usual scripts: `IOMMU Group 1:` and the
 * functions below it, or both on one line, with ids and reset marks before or behind the address; `lspci -nn`, `-n`, `-mm`
 * or without numbers, with what `-k` and `-v` add; `lspci -v`, `-vmm` themselves, which say the group of each function.
 */
import { isBridge } from '../pci/config-image.ts';
import { readClassName } from './class-names.ts';
import { MAX_GROUP, parseBdf } from './functions.ts';
import { LspciConfig } from './lspci-config.ts';
import type { Platform } from './platform.ts';
import { type Line, NO_IOMMU, type Reader, type Reading, TELLING, type TopologyFunction } from './text.ts';

const FORM = '[dddd:]bb:dd.f Class name [cccc]: Vendor and device name [vvvv:dddd] (rev xx)';
const GROUP = /^[([]?(?:iommu[ _-]?)?group[ _:#=-]*(\d{1,20})(?!\d)[ :;.)\]*=#|>`–—-]*(.*)$/i;
/** Numbers of lines and of list items, and those of groups in a column of their own. */
const NUMBERED = /^(\d{1,10})(?:[.):|;,-] ?| [|:-]? ?)(?=[^\s])(.*)$/;
const LIST = /[ ,;]+(?!$)/;
/** Scripts that print what they go through. */
const PATH = /^\S*iommu_groups\/(\d{1,20})(?:\/devices(?:\/([^/\s]*))?)?\/?:?$/;
/** The kernel's log. */
const ADDED = /(?:^| )([^ ]+): Adding to iommu group (\d{1,20})$/;
/** What lspci says below a function, with -v and with -vmm. */
const OF_FUNCTION = /^IOMMU(?: group|Group): \d+$/;
/** A script's `for` over no group at all. */
const NO_GROUP = /\bgroup[ :]+\*(?!\*)/i;
const UNIT = /^iommu(?: unit)?[ :=]+((?:dmar|ivhd|smmu|arm-smmu)[\w.:-]{0,60})$/i;
const BEFORE_ADDRESS = /^(?:(?:(?:group )?device|slot|pci)[ :=]+)?-* ?(.*)$/i;
const ADDRESS =
  /^[("']?((?:[0-9a-f]{1,16}:)?[0-9a-f]{1,8}:[0-9a-f]{1,8}\.[0-9a-f]{1,8})(?![\w.])[)"'`]?[ ,;:|-]*(.*)$/i;
const ID_MARK = /^\[([0-9a-f]{4}):([0-9a-f]{4})\] */i;
const RESET_MARK = /^\[R(?:ESET)?\] */i;
const NUMBERS = /^(?:Class )?([0-9a-f]{4}): ([0-9a-f]{4}):([0-9a-f]{4})\b/i;
/** Names have brackets of their own: the class is the first four digits in brackets with a colon, the ids are the last pair. */
const CLASS = /\[([0-9a-f]{4})\] ?[:|]/i;
const IDS = /\[([0-9a-f]{4}):([0-9a-f]{4})\]/i;
const ALL_IDS = new RegExp(IDS, 'gi');
const NUMBER_BEHIND = / ?\[([0-9a-f]{4})\]$/i;
const RECORD = /^(Class|Vendor|Device|Driver): ?(.*)$/;
/** Lines of things that hang on a function, or come with it, and are no functions themselves. */
const USB = /\bBus \d{3} Device \d{3}\b|^USB:|^\[[0-9N]{1,3}:\d+:\d+:\d+\]|^This controller is bound to vfio/i;
const DETAIL =
  /^(?:!!!|Subsystem|DeviceName|Kernel|Flags|Control|Status|Latency|Interrupt|Region|Memory|I\/O|Expansion|Capabilities|Bus|NUMA|Physical|PhySlot|Bridge|Secondary|Prefetchable|Address|SVendor|SDevice|Rev|ProgIf|Module|NUMANode|Device tree node|\[virtual\]|<access denied>)/;

/** Whether a line is one that only texts of lspci have. */
export function looksLikeLspci(text: string): boolean {
  return (
    GROUP.test(text) ||
    NO_GROUP.test(text) ||
    UNIT.test(text) ||
    (CLASS.test(text) && IDS.test(text)) ||
    (ADDRESS.test(text) && text.includes(': '))
  );
}

export class LspciReader implements Reader {
  readonly expected = `\`IOMMU Group <n>:\`, or ${FORM}`;
  private readonly _platform: Platform;
  private _group: number | null = null;
  private _unit: string | null = null;
  private _last: TopologyFunction | null = null;
  /** What the lines below each function say of its configuration space. */
  private readonly _configs = new Map<string, LspciConfig>();
  private _indent = 0;
  /** Each function names its group itself, behind its address; no header does. */
  groupsBehind = false;
  /** A line of lspci has described a function: there is more than addresses, which a text of sysfs has, too. */
  described = false;
  /** The first line that has the number of its group, and only that, before the address. */
  groupColumn: Line | null = null;
  /** The first line with the mark of functions that can be reset. */
  resetMark: Line | null = null;

  constructor(platform: Platform) {
    this._platform = platform;
  }

  read(line: Line): Reading {
    const { text, indent } = line;
    const unit = UNIT.exec(text);
    if (unit) {
      this._unit = unit[1]!;
      this._platform.unit(unit[1]!, line);
      return null;
    }
    const header = GROUP.exec(text);
    if (header) {
      const refused = OF_FUNCTION.test(text) ? this._groupIsOfLast(header[1]!) : this._groupIs(header[1]!);
      if (refused) return refused;
      const rest = header[2]!;
      if (rest === '' || /^\([^()]*\)[ :]*$/.test(rest)) return null;
      const behind = this._readList(line, rest) ?? this._readFunction(line, rest);
      if (behind !== undefined) return behind;
      return TELLING.test(rest) || readClassName(rest)
        ? { reason: `no address of a function behind the group: expected ${FORM}` }
        : { passed: 'words behind a group: passed over' };
    }
    if (NO_GROUP.test(line.raw)) return { reason: NO_IOMMU };
    const path = PATH.exec(text);
    if (path) return path[2] ? this._readMember(line, path[2], path[1]!) : this._groupIs(path[1]!);
    const added = ADDED.exec(text);
    if (added) return this._readMember(line, added[1]!, added[2]!);
    if (USB.test(text)) return { passed: 'what hangs on a controller is no function: passed over' };
    const found = this._readList(line, text) ?? this._readFunction(line, text);
    if (found !== undefined) return found;
    const numbered = this._readNumbered(line);
    if (numbered !== undefined) return numbered;
    return this._readRest(line) ?? this._readDetail(text, indent);
  }

  /** Reads a line of addresses and nothing else, as scripts print that list a group. */
  private _readList(line: Line, text: string): Exclude<Reading, null> {
    const names = text.split(LIST);
    if (names.length === 1 || !names.every((name) => ADDRESS.exec(name)?.[2] === '')) return undefined;
    const found = names.map((name) => this._readFunction(line, name));
    return found.find((reading) => !Array.isArray(reading)) ?? (found as TopologyFunction[][]).flat();
  }

  /** What has a number before it: of the line or of a list's item or, where no header says any group, that of the group. */
  private _readNumbered(line: Line): Reading {
    const [, number, text] = NUMBERED.exec(line.text) ?? [];
    if (number === undefined || text === undefined) return undefined;
    if (GROUP.test(text) || DETAIL.test(text)) return this.read({ ...line, text });
    const isGroup = this.groupColumn !== null || this._group === null;
    const refused = isGroup && ADDRESS.test(text) ? this._groupIs(number) : null;
    if (refused) return refused;
    const found = this._readFunction(line, text);
    if (isGroup && Array.isArray(found)) this.groupColumn ??= line;
    return found;
  }

  /** The second half of a line that a mail program has wrapped: it has the ids that the first has not. */
  private _readRest(line: Line): Reading {
    const last = this._last;
    if (!last || last.vendor !== null || last.class === null || line.number !== last.line.number + 1) return undefined;
    if (!IDS.test(line.text) || /^Subsystem:/.test(line.text)) return undefined;
    const said = describe(`${last.name ?? ''} ${line.text}`, true);
    if ('reason' in said) return said;
    Object.assign(last, { vendor: said.vendor, device: said.device, name: said.name });
    return { passed: 'taken for the rest of the line before it, which has no ids' };
  }

  /** Another command begins: what it prints does not belong to the group before it. */
  command(): void {
    if (this._group === null) return;
    this._group = null;
    this.groupsBehind = true;
  }

  private _groupIs(digits: string): { reason: string } | null {
    const group = Number(digits);
    if (group > MAX_GROUP) return { reason: `group ${digits} is out of range: 0 to ${MAX_GROUP}` };
    this._group = group;
    return null;
  }

  /**
   * A line with a function and its group. The group is that of this function only, which lspci may describe much later.
   */
  private _readMember(line: Line, name: string, digits: string): Reading {
    const refused = this._groupIs(digits);
    if (refused) return refused;
    const found = this._readFunction(line, name);
    this._group = null;
    this.groupsBehind = true;
    return found ?? { passed: `"${name}" is not a PCI function: passed over` };
  }

  /** The group of the function before; where its header has said it this says nothing new. */
  private _groupIsOfLast(digits: string): { reason: string } | null {
    const before = this._group;
    const refused = this._groupIs(digits);
    if (refused || this._last?.group !== null) return refused;
    this._last.group = this._group;
    this._group = before;
    this.groupsBehind = true;
    return null;
  }

  private _readFunction(line: Line, text: string): Exclude<Reading, null> {
    const before = this._marks(line, BEFORE_ADDRESS.exec(text)![1]!);
    const address = ADDRESS.exec(before.rest);
    if (!address) return undefined;
    const parsed = parseBdf(address[1]!);
    if ('reason' in parsed) return parsed;
    const behind = this._marks(line, address[2]!);
    if (USB.test(behind.rest)) return { passed: 'what hangs on a controller is no function: passed over' };
    const said = describe(behind.rest, before.ids !== null || behind.ids !== null);
    if ('reason' in said) return said;
    const [, vendor, device] = before.ids ?? behind.ids ?? [null, said.vendor, said.device];
    this.described ||= !PATH.test(line.text) && !ADDED.test(line.text);
    this._last = {
      bdf: parsed.bdf,
      group: this._group,
      class: said.class,
      vendor: vendor?.toLowerCase() ?? null,
      device: device?.toLowerCase() ?? null,
      name: said.name,
      ...((before.reset || behind.reset) && { reset: true }),
      ...(this._unit !== null && { iommu: this._unit }),
      line,
    };
    this._indent = line.indent;
    if (behind.rest !== '' && !this._configs.has(parsed.bdf))
      this._configs.set(parsed.bdf, new LspciConfig(behind.rest));
    return [this._last];
  }

  /** Reads ids and marks in brackets, in any order. */
  private _marks(line: Line, text: string): { ids: RegExpExecArray | null; reset: boolean; rest: string } {
    let [ids, reset, rest]: [RegExpExecArray | null, boolean, string] = [null, false, text];
    for (let found: RegExpExecArray | null; rest.startsWith('['); rest = rest.slice(found[0].length)) {
      found = RESET_MARK.exec(rest);
      if (found) {
        this.resetMark ??= line;
        reset = true;
        continue;
      }
      found = ID_MARK.exec(rest);
      if (!found) break;
      ids = found;
    }
    return { ids, reset, rest };
  }

  /** Adds what was said of their configuration spaces to functions. */
  describe(functions: readonly TopologyFunction[]): void {
    for (const fn of functions) {
      // Bridges have registers of their own, and no VFIO driver takes them.
      const said = isBridge(fn.class) ? undefined : this._configs.get(fn.bdf)?.said;
      if (said) fn.said = said;
    }
  }

  /** Reads a line that lspci prints below a function. */
  private _readDetail(text: string, indent: number): Reading {
    const last = this._last;
    const driver = /^Kernel driver in use ?: (\S+)/.exec(text)?.[1];
    if (driver && last) {
      last.driver = driver;
      return null;
    }
    const record = last && RECORD.exec(text);
    if (record) return this._readRecord(last, record[1]!, record[2]!);
    if (text.startsWith('Flags: ')) {
      const group = /\bIOMMU group (\d{1,20})/.exec(text)?.[1];
      if (group) return this._groupIsOfLast(group);
    }
    if (last && this._configs.get(last.bdf)?.read(text)) return null;
    if (text.startsWith('!!!')) return { passed: 'lspci could not read the function: its line stands as it is' };
    if (/^Kernel modules:/.test(text))
      return { passed: 'modules that could drive a function: passed over, as none is bound by that' };
    if (/^(?:Subsystem|DeviceName):/.test(text)) return { passed: 'names of the board: passed over' };
    if (DETAIL.test(text) || (last && indent > this._indent))
      return { passed: 'what lspci adds below a function: passed over' };
    return undefined;
  }

  /** Reads a line of `lspci -vmm`. */
  private _readRecord(fn: TopologyFunction, key: string, value: string): Reading {
    const { name, number } = named(value);
    if (key === 'Class') fn.class = number ?? readClassName(value)?.class ?? null;
    else if (key === 'Vendor') [fn.vendor, fn.name] = [number, name];
    else if (key === 'Device') [fn.device, fn.name] = [number, `${fn.name ?? ''} ${name}`.trim()];
    else fn.driver = value;
    return null;
  }
}

type Said = Pick<TopologyFunction, 'class' | 'vendor' | 'device' | 'name'>;

/** Splits `Name [1234]`. */
function named(text: string): { name: string; number: string | null } {
  const number = NUMBER_BEHIND.exec(text);
  return { name: number ? text.slice(0, number.index) : text, number: number?.[1]?.toLowerCase() ?? null };
}

/** Reads what stands behind the address of a function. */
function describe(text: string, hasIds: boolean): Said | { reason: string } {
  if (text === '') return { class: null, vendor: null, device: null, name: null };
  const numbers = NUMBERS.exec(text);
  if (numbers) {
    const [code, vendor, device] = numbers.slice(1).map((digits) => digits.toLowerCase());
    return { class: code!, vendor: vendor!, device: device!, name: null };
  }
  // lspci -mm: "class" "vendor" "device" …
  if (text.startsWith('"')) {
    const [kind, vendor, device] = text
      .split('"')
      .filter((_, index) => index % 2 === 1)
      .map(named);
    return {
      class: kind!.number ?? readClassName(kind!.name)?.class ?? null,
      vendor: vendor?.number ?? null,
      device: device?.number ?? null,
      name: `${vendor?.name ?? ''} ${device?.name ?? ''}`.trim() || null,
    };
  }
  const coded = CLASS.exec(text);
  const byName = coded ? null : readClassName(text);
  const colon = text.indexOf(': ');
  const code = coded?.[1]?.toLowerCase() ?? byName?.class ?? null;
  if (code === null && colon < 0 && !hasIds && !IDS.test(text))
    return { reason: `no class, such as [0108]: expected ${FORM}, which \`lspci -nn\` prints` };
  const rest = coded
    ? text.slice(coded.index + coded[0].length)
    : (byName?.rest ?? (hasIds || colon < 0 ? text : text.slice(colon + 2)));
  const ids = [...rest.matchAll(ALL_IDS)].at(-1);
  const [vendor = null, device = null] = ids?.slice(1).map((digits) => digits.toLowerCase()) ?? [];
  return {
    class: code,
    vendor,
    device,
    name: withoutRevision(ids ? rest.slice(0, ids.index) : rest).trim() || null,
  };
}

function withoutRevision(text: string): string {
  const at = Math.max(text.lastIndexOf(' (rev '), text.lastIndexOf(' (prog-if '));
  const first = at < 0 ? -1 : text.lastIndexOf(' (rev ', at);
  return at < 0 ? text : text.slice(0, first < 0 ? at : first);
}
