/**
 * What a failure somewhere would lead to: a list of commands is done to a copy of a host again and again, each time with another pass
 * through another fault point refused, and what came of it is compared with what comes of it without.
 */
import { FAULT_POINTS, type FaultPoint } from '../kernel/faults.ts';
import type { Answer, Command, Execution } from './command.ts';
import type { Host } from './host.ts';
import { findings, sentenceOf } from './invariants/walk.ts';
import type { SweepOutcome, SweepPlan, SweepRun } from './past-views.ts';

/** It would end the service. */
const NEVER: FaultPoint = 'service.death';

/** What comes of the commands on a host, which is of no use afterwards. */
interface Trial {
  /** The refusal of each command; null: it was done. */
  readonly refusals: readonly ({ errno: string; why: string } | null)[];
  readonly hazards: readonly string[];
  /** The command in which a fault has struck first; null: in none. */
  readonly struck: number | null;
}

/** Which passes there are, each of which can be refused. `copy` is one of the host. */
export function sweepPlan(copy: Host, commands: readonly Command[]): SweepPlan {
  const counts = new Map<FaultPoint, number>();
  copy.faults.tally(counts);
  const { refusals, hazards } = trial(copy, commands);
  const points = [...counts].map(([point, passes]) => ({ point, passes }));
  return {
    points: points.filter(({ point }) => point !== NEVER),
    refusals,
    hazards,
  };
}

/** One pass is refused. `copy` is another copy of the host, and `plan` what comes of it without. */
export function sweepRun(copy: Host, commands: readonly Command[], run: SweepRun, plan: SweepPlan): SweepOutcome {
  const point = run.point as FaultPoint;
  const { errno } = FAULT_POINTS[point];
  copy.faults.arm(point, run.nth, errno);
  const { refusals, hazards, struck } = trial(copy, commands);
  const more = [...new Set(hazards)].filter((hazard) => !plan.hazards.includes(hazard));
  const unreachable = unreachableIn(copy);
  const { panic } = copy;
  const broken = firstFinding(copy) ?? firstFindingBehindAll(copy);
  const refused = refusals.flatMap((refusal, request) =>
    refusal !== null && plan.refusals[request] === null ? [{ request, ...refusal }] : [],
  );
  const outcome =
    panic !== null
      ? 'panic'
      : unreachable.length > 0
        ? 'device-lost'
        : more.length > 0
          ? 'hazard'
          : refused.length > 0
            ? 'refused'
            : 'absorbed';
  return { ...run, errno, struck, outcome, refused, hazards: more, unreachable, panic, broken };
}

function trial(host: Host, commands: readonly Command[]): Trial {
  const refusals: Trial['refusals'][number][] = [];
  const hazards: string[] = [];
  let struck: number | null = null;
  for (const [index, command] of commands.entries()) {
    let answer: Answer = { kind: 'ok', value: {} };
    for (const execution of executed(host, command)) {
      answer = execution.answer;
      for (const { kind, data } of execution.events) {
        if (kind === 'hazard') hazards.push(String(data.hazard));
        if (kind === 'fault.injected') struck ??= index;
      }
    }
    refusals.push(refusalIn(answer));
  }
  return { refusals, hazards, struck };
}

/** A freeze goes on to the boot of the next kernel. */
function* executed(host: Host, command: Command): Generator<Pick<Execution, 'answer' | 'events'>> {
  const execution = host.execute(command);
  yield execution;
  if (!host.pendingBoot) return;
  const handover = execution.records.find((record) => record.kind === 'handover');
  yield host.execute({ op: 'kexec.boot', handover: handover?.text ?? null });
}

/** Why a command was refused, or the first of its calls that was. */
function refusalIn(answer: Answer): { errno: string; why: string } | null {
  if (answer.kind === 'refused') return { errno: answer.errno, why: answer.why };
  if (answer.kind === 'not-found') return { errno: 'not-found', why: `there is no ${answer.what}` };
  if (answer.kind !== 'ok') return { errno: answer.kind, why: 'the request is not valid in this state' };
  const { results = [] } = answer.value as { results?: readonly { errno?: string; why?: string }[] };
  const first = Array.isArray(results) ? results.find(({ errno }) => errno !== undefined) : undefined;
  return first ? { errno: first.errno!, why: first.why ?? '' } : null;
}

/** Devices that stay where nobody can reach them before the next reboot. */
function unreachableIn({ kernel }: Host): string[] {
  const devices = kernel?.restored.devices ?? new Map();
  return [...devices].flatMap(([bdf, device]) =>
    device.state === 'waiting' && device.owner.lost !== null ? [bdf] : [],
  );
}

function firstFinding(host: Host): string | null {
  for (const finding of findings(host)) if (finding !== null) return sentenceOf(finding);
  return null;
}

/** What is left when all processes have ended has to be somebody's, too. */
function firstFindingBehindAll(host: Host): string | null {
  for (const pid of [...(host.kernel?.processes.keys() ?? [])]) host.execute({ op: 'process.kill', pid });
  return firstFinding(host);
}
