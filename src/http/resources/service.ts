/** The service itself: liveness, readiness, and what its problems mean. */
import { z } from 'zod';
import { notFound } from '../answers.ts';
import { isAdmin } from '../auth.ts';
import { isProblemName, PROBLEMS, problemType } from '../problems.ts';
import { type Route, route } from '../route.ts';
import { DamageItem } from '../schemas/host.ts';
import { strict } from '../schemas/values.ts';

const tag = 'Service';
const access = 'public';

const Health = strict({ status: z.literal('ok') }).meta({ id: 'Health' });
/** The most damage that is listed; more is only counted. */
const MOST_DAMAGE = 100;

const Readiness = strict({
  status: z.enum(['ok', 'damaged']).meta({
    description: '`damaged`: some of what is stored is. All that is not goes on.',
  }),
  inspected: z.boolean().meta({
    description:
      'Whether all that was stored has been looked at since the start, which takes some time where it is much.',
  }),
  damage: z
    .array(
      strict({
        host: z.string().nullable().meta({ description: 'The host concerned; null: not one alone.' }),
        ...DamageItem,
      }),
    )
    .max(MOST_DAMAGE),
  more: z.int().meta({ description: 'How much more damage is known that is not listed.' }),
}).meta({ id: 'Readiness' });

/** Probes may add parameters that keep answers out of caches. */
const ANY_QUERY = z.looseObject({});
const healthy = { description: 'Yes.', schema: Health, example: { status: 'ok' } };

export const SERVICE_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/livez',
    operationId: 'getLiveness',
    tag,
    summary: 'Is the service alive?',
    description: 'It answers as long as it can answer at all; nothing else is looked at.',
    access,
    query: ANY_QUERY,
    success: { 200: healthy },
    problems: ['method-not-allowed'],
    handle: () => ({ status: 'ok' }),
  }),
  route({
    method: 'GET',
    path: '/readyz',
    operationId: 'getReadiness',
    tag,
    summary: 'Can the service be used?',
    description:
      'Its store answers and has room, and it is not stopping. What is known to be damaged of what is stored is listed; hosts that are not concerned go on. Of single hosts it is listed for those who send the admin key, and counted for others.',
    access,
    query: ANY_QUERY,
    success: {
      200: {
        description: 'Yes.',
        schema: Readiness,
        example: { status: 'ok', inspected: true, damage: [], more: 0 },
      },
    },
    problems: ['method-not-allowed', 'damaged'],
    async handle(context, _input, { request }) {
      const { check, damage } = context.directory;
      await check();
      const all = damage.all.map(({ hostId: host, kind, what, since }) => ({ host, kind, what, since }));
      const status = all.length === 0 ? 'ok' : 'damaged';
      // Anybody can ask, and hosts are their tenants' own.
      const told = isAdmin(context, request) ? all : all.filter(({ host }) => host === null);
      const listed = told.slice(0, MOST_DAMAGE);
      return { status, inspected: damage.inspected, damage: listed, more: all.length - listed.length };
    },
  }),
  route({
    method: 'GET',
    path: '/problems/{problem}',
    operationId: 'getProblem',
    tag,
    summary: 'What a kind of problem means',
    description: 'The page that `type` of problem details names.',
    access,
    success: {
      200: {
        description: 'The kind of problem.',
        schema: strict({ type: z.string(), title: z.string(), status: z.int(), about: z.string() }).meta({
          id: 'ProblemKind',
        }),
        example: { type: '/problems/not-found', ...PROBLEMS['not-found'] },
      },
    },
    problems: ['not-found'],
    handle(_context, { params: { problem } }) {
      if (!isProblemName(problem))
        throw notFound(`There is no such problem: one of ${Object.keys(PROBLEMS).join(', ')}.`);
      return { type: problemType(problem), ...PROBLEMS[problem] };
    },
  }),
];
