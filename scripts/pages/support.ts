/** docs/support.md: how far each request, system call and family of operations is what Linux does. Made of their rows. */
import { OPERATIONS } from '../../src/http/operations.ts';
import { TAGS } from '../../src/http/route.ts';
import { ROUTES } from '../../src/http/routes.ts';
import { ABSENT_REQUESTS } from '../../src/kernel/uapi/absent.ts';
import { CALLS } from '../../src/kernel/uapi/calls.ts';
import { REQUESTS, type RequestKind, type Support } from '../../src/kernel/uapi/index.ts';

const KINDS: Record<RequestKind, string> = {
  iommufd: 'Requests of an iommufd',
  'vfio-cdev': 'Requests of a VFIO device',
  'vfio-group': 'Requests of a VFIO group',
  liveupdate: 'Requests of /dev/liveupdate',
  session: 'Requests of a session',
};

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
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
  const absent = Object.entries(ABSENT_REQUESTS).filter(([, request]) => request.kind === kind);
  return table(
    ['request', 'number', 'support', 'what is different', 'operations'],
    [
      ...known.map((row) => [`\`${row.name}\``, hex(row.number), ...said(row), operationsOf(row.name)]),
      ...absent.map(([name, row]) => [`\`${name}\``, hex(row.number), ...said(row), '']),
    ],
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
- **errno**: never anything else than this errno.

Of all of them: arguments are JSON, so no struct is out of reach (EFAULT); the kernel's own memory ends only where an allocation
is made to fail (ENOMEM, \`POST …/faults\`); no call waits, and none is interrupted.

${Object.entries(KINDS)
  .map(([kind, title]) => `## ${title}\n\n${requests(kind as RequestKind)}`)
  .join('\n\n')}

## System calls, and what devices and programs do

${table(
  ['call', 'what it is', 'support', 'what is different', 'operations'],
  [...CALLS.values()].map((row) => [`\`${row.name}\``, row.about, ...said(row), operationsOf(row.name)]),
)}

\`ioctl\` carries the requests above.

## Families of operations

${families()}
`;
}
