/** The service itself: liveness, readiness, and what its problems mean. */
import { z } from 'zod';
import { notFound } from '../answers.ts';
import { isProblemName, PROBLEMS, problemType } from '../problems.ts';
import { type Route, route } from '../route.ts';
import { strict } from '../schemas/values.ts';

const tag = 'Service';
const access = 'public';

const Health = strict({ status: z.literal('ok') }).meta({ id: 'Health' });
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
    description: 'Its store answers and has room, and it is not stopping.',
    access,
    query: ANY_QUERY,
    success: { 200: healthy },
    problems: ['method-not-allowed'],
    async handle({ directory }) {
      await directory.check();
      return { status: 'ok' };
    },
  }),
  route({
    method: 'GET',
    path: '/problems/{problem}',
    operationId: 'getProblem',
    tag,
    summary: 'What a kind of problem means',
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
