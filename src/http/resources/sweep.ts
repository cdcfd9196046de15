/** Sweeps: what each failure that is possible would lead to, on copies of a host. */
import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import type { Command } from '../../host/command.ts';
import type { SweepOutcome, SweepPlan, SweepRun } from '../../host/past-views.ts';
import { LINES, prefersLines } from '../accept.ts';
import { granted } from '../answers.ts';
import { commandsOf } from '../asked-commands.ts';
import { type Context, type Route, route } from '../route.ts';
import { FaultPoint, strict, text } from '../schemas/values.ts';
import { Sweep, SweepResult } from '../schemas/views.ts';
import { invalid } from '../validation.ts';

const MOST_REQUESTS = 200;
const MOST_RUNS = 5000;
/** Failures that are tried in one turn of the lane. */
const AT_ONCE = 8;

const REQUESTS = [
  { method: 'POST', path: '/processes', body: { name: 'vmm' } },
  { method: 'POST', path: '/processes/1/iommufds' },
] as const;

const RUN_EXAMPLE = {
  point: 'iommufd.open',
  nth: 1,
  errno: 'ENOMEM',
  struck: 1,
  outcome: 'refused',
  refused: [{ request: 1, errno: 'ENOMEM', why: 'fault 1 at iommufd.open was armed' }],
  hazards: [],
  unreachable: [],
  panic: null,
  broken: null,
  explained: 'request 1 (POST /processes/1/iommufds) is refused with ENOMEM, and nothing else',
} as const;

interface Asked {
  commands: Command[];
  requests: readonly { method: string; path: string }[];
}

export const SWEEP_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: '/v1/hosts/{host}/sweep',
    operationId: 'runSweep',
    tag: 'Kexec',
    summary: 'Try each failure that is possible',
    description: `A list of requests is done to copies of the host, each time with another pass through another fault point refused, and compared with what comes of it without a failure. The host stays as it is. With \`Accept: ${LINES}\` each outcome is a line of the answer as soon as it is known.`,
    access: 'tenant',
    refusable: true,
    frees: 'use',
    problems: ['too-costly'],
    body: strict({
      requests: z
        .array(
          strict({
            method: z.enum(['POST', 'PUT', 'PATCH', 'DELETE']),
            path: text(512, 'Below the host, such as `/processes/1/iommufds`.'),
            body: z.unknown().optional(),
          }),
        )
        .min(1)
        .max(MOST_REQUESTS)
        .meta({ description: 'Requests that change the host, as they would be sent one after the other; no batches.' }),
      points: z
        .array(FaultPoint)
        .max(FaultPoint.options.length)
        .meta({ description: 'Only these fault points; all that are passed if not given.' })
        .optional(),
    }).meta({ id: 'SweepInput' }),
    bodyExample: { requests: REQUESTS.map((request) => ({ ...request })) },
    success: {
      200: {
        description: 'What comes of each failure.',
        schema: Sweep,
        example: { points: [{ point: 'iommufd.open', passes: 1 }], runs: [RUN_EXAMPLE] },
        also: { [LINES]: { schema: SweepResult, example: RUN_EXAMPLE } },
      },
    },
    async handle(context, { host, tenant, body }, reply) {
      const commands = await commandsOf(context, body.requests, { host, tenant }, reply);
      const asked = { commands, requests: body.requests };
      const plan = granted<SweepPlan>(await context.lanes.query(host.id, { view: 'sweep', commands }));
      const passed = plan.points.filter(({ point }) => body.points?.some((one) => one === point) ?? true);
      const runs = passed.flatMap(({ point, passes }) =>
        Array.from({ length: passes }, (_, index): SweepRun => ({ point, nth: index + 1 })),
      );
      if (runs.length > MOST_RUNS)
        throw invalid([
          {
            in: 'body',
            pointer: '/points',
            reason: `these requests pass fault points ${runs.length} times, and at most ${MOST_RUNS} failures are tried: name some points`,
          },
        ]);
      const outcomes = outcomesOf(context, host.id, asked, plan, runs);
      reply.header('vary', 'accept');
      if (prefersLines(reply.request.headers.accept)) return lines(outcomes, reply);
      return { points: passed, runs: await Array.fromAsync(outcomes) };
    },
  }),
];

async function* outcomesOf(
  { lanes }: Context,
  hostId: string,
  { commands, requests }: Asked,
  plan: SweepPlan,
  runs: readonly SweepRun[],
): AsyncGenerator<SweepOutcome & { explained: string }> {
  for (let at = 0; at < runs.length; at += AT_ONCE) {
    const some = runs.slice(at, at + AT_ONCE);
    const answer = await lanes.query(hostId, { view: 'sweep', commands, plan, runs: some });
    for (const outcome of granted<SweepOutcome[]>(answer)) yield { ...outcome, explained: explain(outcome, requests) };
  }
}

function lines(outcomes: AsyncIterable<object>, reply: FastifyReply): Readable {
  reply.type(LINES);
  const each = async function* (): AsyncGenerator<string> {
    for await (const outcome of outcomes) yield `${JSON.stringify(outcome)}\n`;
  };
  return Readable.from(each(), { objectMode: false });
}

/** What has come of it, in a sentence. */
function explain({ struck, refused, hazards, unreachable, panic }: SweepOutcome, requests: Asked['requests']): string {
  const named = (index: number): string => `request ${index} (${requests[index]!.method} ${requests[index]!.path})`;
  const own = refused.find(({ request }) => request === struck);
  const others = refused.length - (own ? 1 : 0);
  const first = own
    ? `${named(own.request)} is refused with ${own.errno}`
    : struck === null
      ? 'it does not strike'
      : `it strikes in ${named(struck)}, which is not refused`;
  const rest = [
    others > 0
      ? `${others} other request${others === 1 ? ' is' : 's are'} refused, the first ${named(refused.find(({ request }) => request !== struck)!.request)}`
      : null,
    panic === null ? null : `the next kernel stops: ${panic}`,
    unreachable.length > 0 ? `${unreachable.join(', ')} cannot be reached before the next reboot` : null,
    hazards.length > 0 ? `hazards: ${hazards.join(', ')}` : null,
  ].filter((part) => part !== null);
  return rest.length === 0 ? `${first}, and nothing else` : [first, ...rest].join('; ');
}
