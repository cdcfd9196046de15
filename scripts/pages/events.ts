/** docs/events.md: how events are read, and all kinds of them, made of the list of kinds and of the limits. */
import { EVENTS_PAGE, MAX_EVENTS_PAGE, MAX_WAIT } from '../../src/http/schemas/events.ts';
import { HEARTBEAT_SECONDS, UNREAD_SECONDS } from '../../src/http/watchers.ts';
import type { EventField, EventFields } from '../../src/kernel/event-fields.ts';
import { EVENTS, SEVERITIES } from '../../src/kernel/events.ts';
import { HAZARDS } from '../../src/kernel/hazards.ts';
import { DEFAULTS } from '../../src/quotas.ts';
import { EVENT_LIMITS } from '../../src/store/sqlite/event-rows.ts';
import { fieldsText, fieldText } from './fields.ts';

const number = (value: number): string => value.toLocaleString('en-US');

/** Fields that many kinds have are explained once. */
const MANY = 3;

const explained = new Map<EventField, { name: string; count: number }>();
for (const fields of [...Object.values(EVENTS), ...Object.values(HAZARDS)].map(({ data }): EventFields => data))
  for (const [name, field] of Object.entries(fields))
    explained.set(field, { name, count: (explained.get(field)?.count ?? 0) + 1 });

const isCommon = (field: EventField): boolean => explained.get(field)!.count >= MANY;

const commonFields = (): string =>
  [...explained]
    .filter(([field]) => isCommon(field))
    .map(([field, { name }]) => `- ${fieldText(name, field)}`)
    .join('\n');

const row = (...cells: string[]): string => `| ${cells.join(' | ')} |`;

function kindRows(): string[] {
  return Object.entries(EVENTS).map(([kind, { severity, about, data, ...more }]) => {
    const fields =
      'variants' in more
        ? `\`${more.variants.by}\`: ${more.variants.about} See [hazards](hazards.md).`
        : fieldsText(data, isCommon);
    return row(`\`${kind}\``, 'variants' in more ? 'warning or error' : severity, about, fields);
  });
}

export const eventsPage = (): string => `# Events

<!-- Written by npm run docs. -->

What the kernels of a host and its hardware tell: boots, claims, attaches, faults, resets, hazards. An event is stored
together with the command that caused it, so whoever has the answer to a command finds its events, and a crash of the
service loses none and doubles none.

\`\`\`json
{
  "id": "12-0", "sequence": 12, "index": 0, "time": "12000", "kernel": 1,
  "kind": "dma.fault", "severity": "warning",
  "message": "0000:01:00.0: read of 0x1000 is refused: not-mapped",
  "data": { "bdf": "0000:01:00.0", "reason": "not-mapped", "op": "read", "iova": "0x1000" }
}
\`\`\`

\`id\` is \`sequence\`, which command of the host it was (0: its making), and \`index\`, which of the events of that command.
It never changes. \`time\` is simulated, in nanoseconds. \`message\` is for people and may be put better one day; programs go
by \`kind\` and \`data\`.

## Read

\`\`\`sh
holdover() { curl -sS -X "$1" "http://127.0.0.1:8080$2" -H 'authorization: Bearer dev-key' "\${@:3}"; }
H=/v1/hosts/$(holdover POST /v1/hosts -H 'content-type: application/json' -d '{"preset": "vmm-lab"}' | jq -r .id)
holdover GET "$H/events"
\`\`\`

Events come in the order in which they happened, ${EVENTS_PAGE} a page, or as many as \`limit\` says, up to ${MAX_EVENTS_PAGE}. Where a page is not
the last, its \`nextPageToken\` is the \`after\` of the next one. \`after\` is the id of an event: the page begins behind it. A
number alone stands for all events of that command, and 0, or nothing, for the oldest event that is kept.

For people, ask for text:

\`\`\`sh
holdover GET "$H/events?limit=1000" -H 'accept: text/plain'
\`\`\`

## Filter

An event has to fit all that is given. \`kind\` may be given several times.

| parameter | only events |
| --- | --- |
| \`kind\` | of this kind, or of one of these |
| \`bdf\` | about this function |
| \`kernel\` | of this kernel, by its number |
| \`severity\` | at least as severe: ${SEVERITIES.join(', ')} |
| \`from\`, \`to\` | in this range of simulated nanoseconds; both ends are in it |

\`\`\`sh
holdover GET "$H/events?kind=dma.fault&kind=hazard&bdf=0000:01:00.0"
holdover GET "$H/events?severity=warning&from=1000000000"
\`\`\`

## Wait

\`wait=10s\` (or \`500ms\`; at most \`${MAX_WAIT}s\`) holds back an empty page: the answer comes as soon as an event fits, or empty after
that time. To wait for what comes next, give the id of the last event that you have.

\`\`\`sh
LAST=$(holdover GET "$H/events?limit=1000" | jq -r '.items[-1].id')
holdover GET "$H/events?after=$LAST&kind=dma.fault&wait=1s"
\`\`\`

## Stream

With \`Accept: text/event-stream\` events come as [server-sent events](https://html.spec.whatwg.org/multipage/server-sent-events.html):
those that are there, and then those that happen, for as long as you like. Filters and \`after\` mean the same; \`limit\` and
\`wait\` nothing.

\`\`\`sh
timeout 1 curl -sN "http://127.0.0.1:8080$H/events?severity=notice" -H 'authorization: Bearer dev-key' -H 'accept: text/event-stream'
\`\`\`

Each message has the event as \`data\` and its id as \`id\`. A client that comes back with the header \`Last-Event-ID\`, as an
EventSource does by itself, goes on behind that event: it misses nothing and gets nothing twice, whatever has happened to
the connection, to the service or to the kernel of the host. Every ${HEARTBEAT_SECONDS} s of silence there is a comment. The stream ends when the
host is deleted and when the service stops, and is cut off when nobody has read it for ${UNREAD_SECONDS} s.

## Limits

- A host keeps its newest ${number(EVENT_LIMITS.events)} events, and about ${EVENT_LIMITS.bytes >> 20} MiB of them: the oldest go, up to ${number(EVENT_LIMITS.atOnce)} at a time.
- Whoever asks for events behind one that has gone is told so. A page is answered 410 (\`/problems/gone\`), with the id of the
  oldest event that is there in \`oldest\`; a stream begins with a message of the name \`gap\`, \`{"oldest": "120-3"}\`, and goes
  on from there. Without \`after\` one begins with the oldest event that is there, and nothing is missed.
- ${DEFAULTS.streams} requests of a tenant may wait or stream at the same time; the next one is answered 429 (\`/problems/too-many-waiting\`).
- A host that an earlier version of the service has made shows the events of its journal, with the same ids as any other.
  Where the beginning of its journal is gone, those that were kept have sequence 0.

## Kinds

Where a rule of the [design](rules.md) is behind an event, \`data\` has it as \`rule\`, too. Fields that many kinds have:

${commonFields()}

| kind | severity | when | data |
| --- | --- | --- | --- |
${kindRows().join('\n')}
`;
