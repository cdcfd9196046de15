/** Adversarial descriptions of hosts, and what is made of them. */
import { Batch } from '../../src/host/batch/batch.ts';
import { buildHostSpec, type HostRequest } from '../../src/host/host-spec.ts';
import { parseTopology } from '../../src/machine/topology/topology.ts';
import { functions, hex, makeHost, PAGE, type Shape, times, Vmm } from './tenant.ts';

const segment = (index: number): string => (index + 1).toString(16).padStart(4, '0');

/** Kinds of machines with `count` functions. */
const MACHINES: [string, (count: number) => Record<string, unknown>][] = [
  ['on as few buses as can be', (count) => ({ devices: functions(count) })],
  ['all in one group', (count) => ({ devices: functions(count, () => ({ group: 7 })) })],
  [
    'each in a PCI domain and behind a unit of its own',
    (count) => ({
      devices: times(count, (index) => ({ bdf: `${segment(index)}:01:00.0`, driver: 'vfio-pci' })),
      iommus: times(count, () => ({ kind: 'intel-vtd' })),
    }),
  ],
  [
    'each in a PCI domain of its own, units by default',
    (count) => ({ devices: times(count, (index) => ({ bdf: `${segment(index)}:01:00.0`, driver: 'vfio-pci' })) }),
  ],
  [
    'each with 16 reserved ranges',
    (count) => ({
      devices: functions(count, () => ({
        reserved: times(16, (index) => ({
          start: hex(2 ** 33 + index * 2 * PAGE),
          last: hex(2 ** 33 + index * 2 * PAGE + PAGE - 1),
          type: 'reserved',
        })),
      })),
    }),
  ],
  [
    'half of them physical functions, half virtual ones',
    (count) => {
      const bdfs = addresses(count);
      const of = (index: number) =>
        index % 2 ? { sriov: 'vf', physicalFunction: bdfs[index - 1] } : { sriov: 'pf', driver: null };
      return { devices: functions(count, of) };
    },
  ],
];

const addresses = (count: number): string[] => functions(count).map(({ bdf }) => bdf);

const TEXTS: [string, number, (count: number) => string][] = [
  ['n ends of lines', 2 ** 20, (count) => '\n'.repeat(count)],
  ['lines of 900 blanks', 1000, (count) => `${' '.repeat(900)}x\n`.repeat(count)],
  [
    'n groups of a function',
    1000,
    (count) =>
      addresses(count)
        .map((bdf, index) => `/sys/kernel/iommu_groups/${index}/devices/${bdf}`)
        .join('\n'),
  ],
  [
    'n functions as lspci -v tells them',
    1000,
    (count) =>
      addresses(count)
        .map((bdf, index) => lspci(bdf, index))
        .join('\n'),
  ],
  [
    'n functions with bytes, as lspci -xxx tells them',
    250,
    (count) =>
      addresses(count)
        .map((bdf, index) => lspci(bdf, index) + bytes())
        .join('\n'),
  ],
  [
    'n functions, half of them virtual by their names',
    1000,
    (count) =>
      addresses(count)
        .map((bdf, index) => lspci(bdf, index, index % 2 ? ' Virtual Function' : ''))
        .join('\n'),
  ],
];

const lspci = (bdf: string, index: number, what = ''): string =>
  `${bdf} Ethernet controller [0200]: Intel Corporation Ethernet Controller${what} [8086:1572] (rev 01)\n\tIOMMU group: ${index}\n\tFlags: bus master, fast devsel, latency 0\n\tMemory at 90000000 (64-bit, prefetchable) [size=8M]\n\tCapabilities: [40] Power Management version 3\n\tKernel driver in use: i40e\n`;

const bytes = (): string =>
  times(
    16,
    (row) =>
      `${(row * 16).toString(16).padStart(2, '0')}: ${row === 0 ? '86 80 72 15 06 04 10 00 01 00 00 02 10 00 80 00' : '00 '.repeat(16).trim()}`,
  ).join('\n');

export const HOSTS: Shape[] = [
  ...MACHINES.flatMap(([how, request]): Shape[] => [
    {
      name: `the description of n functions, ${how}`,
      n: 1000,
      make(n) {
        const body = request(n) as HostRequest;
        return () => buildHostSpec(body);
      },
    },
    {
      name: `a host of n functions, ${how}`,
      n: how.includes('unit') ? 250 : 500,
      make(n) {
        const body = request(n);
        return () => makeHost(body);
      },
    },
  ]),
  ...TEXTS.map(
    ([what, n, text]): Shape => ({
      name: `a topology's text: ${what}`,
      n,
      make(size) {
        const given = text(size);
        return () => parseTopology(given, undefined, false);
      },
    }),
  ),
  {
    name: 'a batch of n maps as JSON, read and checked',
    n: 10_000,
    make(n) {
      const vmm = new Vmm();
      vmm.memory(n);
      const operations = times(n, (index) => ({
        op: 'map',
        iova: hex(2 ** 32 + index * PAGE),
        length: PAGE,
        userVa: hex(2 ** 40 + index * PAGE),
      }));
      const body = Buffer.from(JSON.stringify({ operations }));
      const { pid, fd, ioas } = vmm;
      return () => {
        const batch = new Batch(vmm.host, { op: 'batch', pid, fd, ioas, format: 'json' }, body);
        while (!batch.step(4096));
      };
    },
  },
];
