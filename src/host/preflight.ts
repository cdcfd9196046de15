/** What a kexec would do to a host now: it is done to a copy of it, so that this cannot differ from what it does. */

import type { PreflightQuery } from './command.ts';
import type { Host } from './host.ts';
import { stepsFor } from './preflight-steps.ts';
import { firstOf, leftOut } from './queries/page.ts';
import type { HandoverView, HostView, PreflightView } from './views.ts';

/** `copy` is one of the host, and of no use afterwards. A kernel runs. */
export function preflight(host: Host, copy: Host, { mode, kernel }: PreflightQuery): PreflightView {
  const frozen = copy.execute({ op: 'kexec.freeze', mode, image: 'loaded', ...(kernel && { kernel }) });
  const steps = stepsFor(host.kernel!);
  const first = { steps: firstOf(steps) };
  if (frozen.answer.kind !== 'ok') {
    const { errno, where, why, rule = null } = frozen.answer as Extract<typeof frozen.answer, { kind: 'refused' }>;
    const refusal = { errno, where, why, rule };
    return {
      refusal,
      handedOver: null,
      panic: null,
      hazards: [],
      ...first,
      ...leftOut({ hazards: 0, steps: steps.length }),
    };
  }
  const handover = frozen.records.find((record) => record.kind === 'handover')!;
  const booted = copy.execute({ op: 'kexec.boot', handover: handover.text });
  const { handedOver, panic } = (booted.answer as { value: HostView & { handedOver: HandoverView } }).value;
  const hazards = [...frozen.events, ...booted.events]
    .filter(({ kind }) => kind === 'hazard')
    .map(({ message, data }) => ({ message, data }));
  return {
    refusal: null,
    handedOver,
    panic,
    hazards: firstOf(hazards),
    ...first,
    ...leftOut({ hazards: hazards.length, steps: steps.length }),
  };
}
