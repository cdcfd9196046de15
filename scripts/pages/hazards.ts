/** docs/hazards.md: all hazards, made of the catalogue. */
import { HAZARDS } from '../../src/kernel/hazards.ts';
import { fieldsText } from './fields.ts';

const sections = (): string =>
  Object.entries(HAZARDS)
    .map(([name, { severity, about, advice, data, ...more }]) => {
      const rule = 'rule' in more ? ` ([${more.rule}](rules.md))` : '';
      return `## ${name}\n\n${about}${rule} Severity: ${severity}.\n\n**What to do**: ${advice}\n\n${fieldsText(data).replaceAll('<br>', '  \n')}\n`;
    })
    .join('\n');

export const hazardsPage = (): string => `# Hazards

<!-- Written by npm run docs. -->

A kernel answers with an errno. What no errno tells is a hazard: DMA that has ended, memory that a device writes into and that is
somebody else's by now, a device that nobody can reach any more. Each is raised when it happens, whatever the answer was:

- in the **answer** of the request that has caused it, as \`hazards\`, which is there only where there is one. An answer without a body (204)
  is 200 then, and a refusal has them beside its \`errno\`. The answer of a kexec has those of the kernel that ends and of the one that
  boots.
- in the **events** of the host, as \`kind\` \`hazard\`: \`GET …/events?kind=hazard\`, or \`?hazard=device-left-behind\` for one of them (see [events](events.md)).

\`\`\`json
{ "id": "31-2", "sequence": 31, "index": 2, "time": "31000", "kernel": 1, "kind": "hazard", "severity": "error",
  "message": "0000:01:00.0, which process 1 (vmm) has open, is left behind: its cdev is in no session; its DMA ends here",
  "data": { "hazard": "device-left-behind", "bdf": "0000:01:00.0", "pid": 1, "why": "no-session" } }
\`\`\`

\`data.hazard\` is its name, which never changes; \`GET /v1/hazards\` lists all of them as JSON. A test that asserts that there are no hazards
asserts that nothing of this has happened, even where its devices did no DMA.

${sections()}`;
