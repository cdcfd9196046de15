/** The machines that sequences run on: what the host is told, and what the model is told. */
import type { Range } from './model/base.ts';
import type { Format } from './model/ioas.ts';
import type { PciFunction, Unit } from './model/objects.ts';

interface FunctionPlan {
  group: number;
  dirtyTracking?: boolean;
  reserved?: Range[];
}

export interface MachinePlan {
  name: string;
  kind: Unit['kind'];
  formats: readonly [Format, Format | null];
  dirtyTracking: boolean;
  nesting: boolean;
  /** Reserved for every function. */
  reserved: readonly Range[];
  functions: readonly FunctionPlan[];
}

const powers = (from: number, to: number): bigint[] =>
  Array.from({ length: to - from + 1 }, (_, i) => 1n << BigInt(from + i));

const MOCK: Format = { aperture: { start: 0x1000000n, last: 0x7fffffffn }, sizes: powers(11, 36) };
const MOCK_TYPE_1: Format = { aperture: { start: 0n, last: 0x3fffffffffn }, sizes: [0x1000n, 0x100000n] };
const vtd = (bits: bigint): Format => ({
  aperture: { start: 0n, last: (1n << bits) - 1n },
  sizes: [0x1000n, 0x200000n, 0x40000000n],
});
const MSI = { start: 0xfee00000n, last: 0xfeefffffn };

/** The kernel's mock IOMMU, with groups of one and of two; the same with reserved ranges; two of VT-d. */
export const MACHINES: readonly MachinePlan[] = [
  {
    name: 'mock',
    kind: 'generic',
    formats: [MOCK, MOCK_TYPE_1],
    dirtyTracking: true,
    nesting: true,
    reserved: [],
    functions: [{ group: 0 }, { group: 1 }, { group: 2, dirtyTracking: false }, { group: 3 }, { group: 3 }],
  },
  {
    name: 'mock with reserved ranges',
    kind: 'generic',
    formats: [MOCK, MOCK_TYPE_1],
    dirtyTracking: true,
    nesting: false,
    reserved: [{ start: 0x1010000n, last: 0x1011fffn }],
    functions: [
      { group: 0, reserved: [{ start: 0x1004000n, last: 0x1004fffn }] },
      { group: 1 },
      { group: 2, reserved: [{ start: 0x1005000n, last: 0x10057ffn }] },
      { group: 2, dirtyTracking: false },
    ],
  },
  {
    name: 'vtd',
    kind: 'intel-vtd',
    formats: [vtd(48n), null],
    dirtyTracking: false,
    nesting: false,
    reserved: [MSI],
    functions: [{ group: 0 }, { group: 1 }, { group: 1 }, { group: 2 }],
  },
  {
    name: 'vtd, nesting and dirty tracking',
    kind: 'intel-vtd',
    formats: [vtd(39n), null],
    dirtyTracking: true,
    nesting: true,
    reserved: [MSI],
    functions: [{ group: 0 }, { group: 1, dirtyTracking: false }, { group: 2 }],
  },
];

const HW_INFO = { type: 0xfeedbeef, data: Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]) };
const UNIT = 'unit0';
const hex = (value: bigint): string => `0x${value.toString(16)}`;
const hexRange = ({ start, last }: Range): { start: string; last: string } => ({ start: hex(start), last: hex(last) });
const bdf = (index: number): string => `0000:0${index + 1}:00.0`;

export function modelMachine(plan: MachinePlan): { unit: Unit; functions: PciFunction[] } {
  const { kind, formats, dirtyTracking, nesting } = plan;
  return {
    unit: { kind, formats, dirtyTracking, nesting, hwInfo: HW_INFO },
    functions: plan.functions.map(({ group, dirtyTracking: tracks = true, reserved = [] }, index) => ({
      bdf: bdf(index),
      group,
      cdev: `/dev/vfio/devices/vfio${index}`,
      dirtyTracking: tracks,
      reserved: [...plan.reserved, ...reserved],
    })),
  };
}

/** The body of `POST /v1/hosts`. */
export function hostBody(plan: MachinePlan): Record<string, unknown> {
  const table = ({ aperture, sizes }: Format) => ({ aperture: hexRange(aperture), pageSizes: sizes.map(hex) });
  const reserved = (ranges: readonly Range[]) => ranges.map((range) => ({ ...hexRange(range), type: 'reserved' }));
  const [first, second] = plan.formats;
  return {
    memory: hex(2n ** 34n),
    profile: 'linux-7.3',
    iommus: [
      {
        id: UNIT,
        kind: plan.kind,
        ...table(first),
        ...(second && { table1: table(second) }),
        reserved: reserved(plan.reserved),
        dirtyTracking: plan.dirtyTracking,
        nesting: plan.nesting,
        hwInfo: { type: HW_INFO.type, length: HW_INFO.data.length, data: HW_INFO.data.toBase64() },
      },
    ],
    devices: plan.functions.map(({ group, dirtyTracking = true, reserved: own = [] }, index) => ({
      bdf: bdf(index),
      iommu: UNIT,
      group,
      driver: 'vfio-pci',
      ats: false,
      dirtyTracking,
      reserved: reserved(own),
    })),
  };
}
