/** Which IOMMU a machine has whose text does not say it: from its bridges, its kernel's log, and what is not PCI. */
import type { IommuKind } from '../spec.ts';
import { FIRST_VMD_DOMAIN, segmentOf } from './functions.ts';
import { unitKind } from './iommus.ts';
import type { Line, TopologyFunction } from './text.ts';

export interface Conclusion {
  kind: IommuKind;
  line: Line | null;
  /** Why, as a sentence goes on behind the unit's kind. */
  why: string;
}

/** Vendors of host bridges and root ports. */
const VENDORS: Readonly<Record<string, IommuKind>> = {
  8086: 'intel-vtd',
  // Zhaoxin
  '1d17': 'intel-vtd',
  1022: 'amd-vi',
  // Hygon
  '1d94': 'amd-vi',
  // Arm: Ampere, Cavium and Marvell, HiSilicon, Phytium, Qualcomm, NXP, AppliedMicro, Amazon, Broadcom, Rockchip, Arm, DesignWare, NVIDIA
  '1def': 'arm-smmuv3',
  '177d': 'arm-smmuv3',
  '19e5': 'arm-smmuv3',
  '1db7': 'arm-smmuv3',
  '17cb': 'arm-smmuv3',
  1957: 'arm-smmuv3',
  '10e8': 'arm-smmuv3',
  '1d0f': 'arm-smmuv3',
  '14e4': 'arm-smmuv3',
  '1d87': 'arm-smmuv3',
  '13b5': 'arm-smmuv3',
  '16c3': 'arm-smmuv3',
  '10de': 'arm-smmuv3',
};

/** What their names begin with, where there are no numbers. */
const NAMES: readonly (readonly [RegExp, string])[] = [
  [/^Intel Corp/, '8086'],
  [/^Advanced Micro Devices, Inc\. \[AMD\](?!\/ATI)/, '1022'],
  [/^Ampere Computing/, '1def'],
  [/^(?:Cavium|Marvell)/, '177d'],
  [/^Huawei/, '19e5'],
];

/** Devices that are not on a PCI bus: of a device tree (`a600000.usb`), or by their ACPI ids. */
const DEVICES: readonly (readonly [RegExp, IommuKind])[] = [
  [/arm-smmu|^[0-9a-f]{5,16}\.[a-z]/, 'arm-smmuv3'],
  [/^(?:ARMH|APMC|AMPC|HISI|QCOM|NXP|CAVA|BRCM|MRVL|PHYT|NVDA|LNRO|SCX)[0-9A-F]{3,4}:/, 'arm-smmuv3'],
  [/^AMD[I0]/, 'amd-vi'],
  [/^INT[C3]/, 'intel-vtd'],
];

const LOGS: readonly (readonly [RegExp, IommuKind])[] = [
  [/\bAMD-Vi\b|\bivhd\d/, 'amd-vi'],
  [/\bDMAR\b|\bdmar\d/, 'intel-vtd'],
  [/\barm-smmu-v3\b|\bsmmu3\./, 'arm-smmuv3'],
];

const isNetwork = ({ class: code }: TopologyFunction): boolean => code?.startsWith('02') ?? false;

/** QEMU's generic host bridge, which its x86 machines do not have. */
const isGenericHost = ({ vendor, device }: TopologyFunction): boolean => vendor === '1b36' && device === '0008';

/** NVIDIA's switches of NVLink are in x86 machines, too. */
const isNvSwitch = ({ vendor, class: code }: TopologyFunction): boolean => vendor === '10de' && code === '0680';

function vendorKind(fn: TopologyFunction): IommuKind | undefined {
  if (isGenericHost(fn)) return 'arm-smmuv3';
  if (isNvSwitch(fn)) return undefined;
  const vendor = fn.vendor ?? NAMES.find(([name]) => fn.name !== null && name.test(fn.name))?.[1];
  return vendor === undefined ? undefined : VENDORS[vendor];
}

export class Platform {
  private _said: Conclusion | null = null;
  private _device: Conclusion | null = null;

  /** A unit by its name in sysfs. */
  unit(name: string, line: Line): void {
    const kind = unitKind(name);
    this._said ??= { kind, line, why: `${name} is the name of such a unit` };
  }

  log(line: Line): void {
    const kind = LOGS.find(([words]) => words.test(line.text))?.[1];
    if (kind) this._said ??= { kind, line, why: 'the kernel’s log names it' };
  }

  /** Something in a group that is not a PCI function. */
  device(name: string, line: Line): void {
    const kind = DEVICES.find(([pattern]) => pattern.test(name))?.[1];
    if (kind) this._device ??= { kind, line, why: `machines with devices such as ${name} have it` };
  }

  /** `functions` are in the order of their addresses: the first bridges are those of the processor. */
  conclude(functions: readonly TopologyFunction[]): Conclusion {
    if (this._said) return this._said;
    const tiers: readonly ((fn: TopologyFunction) => boolean)[] = [
      ({ class: code }) => code === '0600' || code === '0806',
      ({ class: code }) => code?.startsWith('06') ?? false,
      // What is on the first bus is of the processor, or of the chipset that goes with it.
      (fn) => /^0000:00:/.test(fn.bdf) && vendorKind(fn) !== 'arm-smmuv3' && !isNetwork(fn),
    ];
    for (const tier of tiers) {
      const fn = functions.find((candidate) => tier(candidate) && vendorKind(candidate));
      if (fn) return { kind: vendorKind(fn)!, line: fn.line, why: `${fn.bdf} is of such a machine` };
    }
    // AMD's network adapters of old are in virtual machines of every make.
    const amd = functions.find((fn) => vendorKind(fn) === 'amd-vi' && !isNetwork(fn));
    if (amd) return { kind: 'amd-vi', line: amd.line, why: `${amd.bdf} is AMD’s` };
    const behind = functions.find(({ bdf }) => segmentOf(bdf) >= FIRST_VMD_DOMAIN);
    if (behind) return { kind: 'intel-vtd', line: behind.line, why: `${behind.bdf} is behind an Intel VMD` };
    return this._device ?? fromAddresses(functions) ?? UNKNOWN;
  }
}

const UNKNOWN: Conclusion = {
  kind: 'intel-vtd',
  line: null,
  why: 'nothing in the text says which IOMMU the machine has',
};

/**
 * Concludes from addresses alone: without Intel's bridge at 00:1f, 00:00.2 is AMD's IOMMU, and eight functions at 00:18
 * are its data fabric.
 */
function fromAddresses(functions: readonly TopologyFunction[]): Conclusion | null {
  if (functions.some(({ bdf }) => bdf.startsWith('0000:00:1f.'))) return null;
  const at = new Map(functions.map((fn) => [fn.bdf, fn]));
  const iommu = at.get('0000:00:00.2');
  if (iommu) return { kind: 'amd-vi', line: iommu.line, why: 'AMD’s IOMMU is the function 0000:00:00.2' };
  const fabric = [...Array(8).keys()].map((fn) => at.get(`0000:00:18.${fn}`));
  const [first] = fabric;
  return first && fabric.every((fn) => fn?.group === first.group)
    ? { kind: 'amd-vi', line: first.line, why: 'the functions of 0000:00:18, in one group, are AMD’s data fabric' }
    : null;
}
