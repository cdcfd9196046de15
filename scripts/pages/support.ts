/** docs/support.md: how far each request, system call and family of operations is what Linux does. Made of their rows. */
import { OPERATIONS } from '../../src/http/operations.ts';
import { TAGS } from '../../src/http/route.ts';
import { ROUTES } from '../../src/http/routes.ts';
import { CALLS } from '../../src/kernel/uapi/calls.ts';
import { REQUESTS, type RequestKind, type Support } from '../../src/kernel/uapi/index.ts';
import * as limits from '../../src/limits.ts';

export const KINDS: Record<RequestKind, string> = {
  iommufd: 'Requests of an iommufd',
  'vfio-cdev': 'Requests of a VFIO device',
  'vfio-group': 'Requests of a VFIO group',
  liveupdate: 'Requests of /dev/liveupdate',
  session: 'Requests of a session',
};

const MIB = 1 << 20;
const count = (value: number): string => value.toLocaleString('en');

const BOUNDS: readonly (readonly [of: string, most: string])[] = [
  ['calls of a request', count(limits.MAX_CALLS)],
  ['bytes that the calls of a request read together', `${limits.MAX_READ / MIB} MiB`],
  ['characters that the results of its calls have together, about', `${limits.MAX_RESULTS_SIZE / MIB} MiB`],
  ['items of a page of a list, and of a list within an answer', count(limits.MAX_LISTED)],
  ['bytes of one `peek`, `pread`, `access_rw` or access of a DMA', `${limits.MAX_TRANSFER / MIB} MiB`],
  ['ranges of `IOMMU_IOAS_ALLOW_IOVAS`', `${count(limits.MAX_RANGES)}; ${count(limits.MAX_RAW_RANGES)} as \`bytes\``],
  ['responses of one `write`', count(limits.MAX_RESPONSES)],
  ['descriptors of one `poll`', count(limits.MAX_POLLED)],
  ['pieces of `memory` of an ioctl', count(limits.MAX_MEMORY_PIECES)],
  ['accesses of a request for DMA', `${count(limits.MAX_DMA_ACCESSES)}, of ${limits.MAX_DMA_BYTES / MIB} MiB together`],
  ['bits of a bitmap of dirty pages', `${count(limits.MAX_DIRTY_BITS)}: 64 GiB of pages of 4 KiB`],
  [
    'a query of translations',
    `${limits.MAX_TRANSLATED >> 30n} GiB of IOVAs, and ${count(limits.MAX_RUNS)} runs of them`,
  ],
  ['operations of a batch', `${count(limits.MAX_OPERATIONS)} in one body; sent as lines, any number`],
  ['operations of a batch whose outcomes are told one by one', count(limits.MAX_RESULTS)],
  ['refusals that the answer of a batch shows', count(limits.MAX_BATCH_ERRORS)],
  ['errors that a problem names', count(limits.MAX_ERRORS)],
  ['functions of a host', count(limits.MAX_FUNCTIONS)],
  ['memory of a host', `${limits.MAX_MEMORY >> 40n} TiB; at least ${limits.MIN_MEMORY >> 20n} MiB`],
];

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

const said = ({ support, note = '' }: Support): [string, string] => [support, note];
const hex = (number: number): string => `0x${number.toString(16)}`;

/** Operations that perform this call or request. */
function operationsOf(name: string): string {
  const found = OPERATIONS.filter(({ call, request }) => (request ?? call) === name);
  return found.map(({ operationId }) => `\`${operationId}\``).join(', ');
}

function requests(kind: RequestKind): string {
  const known = [...REQUESTS.values()].filter((request) => request.kind === kind);
  return table(
    ['request', 'number', 'support', 'what is different', 'operations'],
    known.map((row) => [`\`${row.name}\``, hex(row.number), ...said(row), operationsOf(row.name)]),
  );
}

function families(): string {
  return table(
    ['family', 'what it is', 'operations', 'support', 'what is different'],
    Object.entries(TAGS).map(([name, { about, support }]) => [
      name,
      about,
      String(ROUTES.filter(({ tag }) => tag === name).length),
      ...(support === null ? ['', 'Of the service; no machine has it.'] : said(support)),
    ]),
  );
}

export function supportPage(): string {
  return `# What is supported

Made of the tables that the service itself works with (\`npm run docs\`): the requests and calls in \`src/kernel/uapi\`, the operations
in \`src/http\`. What is not simulated at all is said in [conformance](conformance.md), with what a real Linux answered.

- **full**: every answer is that of Linux 7.3, and of requests of the profile \`persisted-domains\` that of the design.
- **part**: but for what the sentence says.

Of all of them: a struct that is given by the names of its fields is never out of reach (EFAULT), one that is given [as bytes](structs.md)
may be; the kernel's own memory ends only where an allocation is made to fail (ENOMEM, \`POST …/faults\`); no call waits, and none is
interrupted.

${Object.entries(KINDS)
  .map(([kind, title]) => `## ${title}\n\n${requests(kind as RequestKind)}`)
  .join('\n\n')}

## System calls, and what devices and programs do

${table(
  ['call', 'what it is', 'support', 'what is different', 'operations'],
  [...CALLS.values()].map((row) => [`\`${row.name}\``, row.about, ...said(row), operationsOf(row.name)]),
)}

\`ioctl\` carries the requests above: by name with \`arg\`, or by number with the bytes of a program's own struct, in which it answers the same.
Linux knows requests of descriptors of any kind (FIOCLEX, FIONBIO); here fcntl is what there is for them.

## Families of operations

${families()}

## Bounds

What one request may ask for, and what one answer tells. Linux has other bounds, or none.

${table(['of what', 'at most'], BOUNDS)}
`;
}
