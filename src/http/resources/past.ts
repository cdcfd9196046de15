/** What a host has done, and what it was: its commands with their answers, and what has changed in between. */
import { z } from 'zod';
import { MAX_LISTED } from '../../limits.ts';
import { passed } from '../answers.ts';
import { booleanText, integerText, limit, token } from '../parameters.ts';
import { type Route, route } from '../route.ts';
import { listOf, S32_MAX, strict } from '../schemas/values.ts';

const HOST = '/v1/hosts/{host}';
const tag = 'Hosts';
const access = 'tenant';
const PAGE = 100;

const HistoryItem = strict({
  sequence: z.int().meta({ description: 'Which command of the host it is, from 1 on: that of its events.' }),
  op: z.string(),
  command: z.record(z.string(), z.unknown()).meta({
    description:
      'What the request has given the host, without bytes that came with it. Both faces of the API give the same.',
  }),
  payload: z.int().meta({ description: 'Bytes that came with it: of a batch.' }),
  answer: z.unknown().meta({ description: 'What the host answered, where that is asked for.' }).optional(),
  events: z.int().meta({ description: 'How many events it has caused, where answers are asked for.' }).optional(),
}).meta({ id: 'HistoryItem' });

const Diff = strict({
  from: z.int(),
  to: z.int(),
  changes: z
    .array(
      strict({
        path: z.string().meta({ description: 'What has changed, as a JSON pointer: /devices/0000:01:00.0/state' }),
        change: z.enum(['added', 'removed', 'changed']),
        from: z.unknown().optional(),
        to: z.unknown().optional(),
      }).meta({ id: 'Change' }),
    )
    .meta({ description: 'A page of them.' }),
  nextPageToken: z.string().nullable().meta({
    description:
      'Where the list goes on, for the parameter `after`, with this `from` and this `to`; null: nothing is left.',
  }),
}).meta({ id: 'Diff', description: 'What has changed on a host, in the terms of its kernel.' });

const ops = z
  .preprocess((given) => (given === undefined ? given : [given].flat()), z.array(z.string().max(64)).max(64).optional())
  .meta({
    description: 'Only commands of this kind; may be given several times.',
    override: { type: 'array', items: { type: 'string' }, examples: [['kexec.freeze']] },
  })
  .optional();

export const PAST_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: `${HOST}/history`,
    operationId: 'getHistory',
    tag,
    summary: 'What a host was asked',
    description:
      'Its commands in their order, as it keeps them; `answers` has them done again on a copy, from the first of the page on, and tells what each was answered. Each `sequence` is a point to copy the host from: POST /v1/hosts with `from` and `at`.',
    access,
    versioned: false,
    problems: ['too-costly'],
    query: strict({
      after: token(
        integerText(0, S32_MAX, 'Behind which command the page begins; not given: the first that is kept.', 0),
      ).optional(),
      limit: limit(MAX_LISTED, PAGE),
      op: ops,
      answers: booleanText('Whether answers are told, too.').optional(),
    }),
    success: {
      200: {
        description: 'A page of commands.',
        schema: listOf('History', HistoryItem),
        example: {
          items: [{ sequence: 1, op: 'process.create', command: { op: 'process.create', name: 'vmm' }, payload: 0 }],
          nextPageToken: null,
        },
      },
    },
    async handle({ lanes }, { host, query: { after, limit, op, answers = false } }) {
      const asked = {
        of: 'history',
        limit,
        answers,
        ...(after !== undefined && { after }),
        ...(op && { ops: op }),
      } as const;
      return passed(await lanes.lookBack(host.id, asked));
    },
  }),
  route({
    method: 'GET',
    path: `${HOST}/diff`,
    operationId: 'getDiff',
    tag,
    summary: 'What has changed between two commands',
    description:
      'The host is looked at as it was behind one command and behind another one: devices, groups, domains, sessions, processes with what they have open.',
    access,
    versioned: false,
    problems: ['too-costly'],
    query: strict({
      from: integerText(0, S32_MAX, 'Behind which command; 0: when it was made.', 12),
      to: integerText(0, S32_MAX, 'Behind which command; as it is if not given.', 20).optional(),
      limit: limit(MAX_LISTED, MAX_LISTED),
      after: token(integerText(0, S32_MAX, 'The `nextPageToken` of the page before.', 1000)).optional(),
    }),
    success: {
      200: {
        description: 'What has changed.',
        schema: Diff,
        example: {
          from: 12,
          to: 20,
          changes: [{ path: '/devices/0000:01:00.0/state', change: 'changed', from: 'L', to: 'A' }],
          nextPageToken: null,
        },
      },
    },
    async handle({ lanes }, { host, query: { from, to, limit, after } }) {
      const range = { from, ...(to !== undefined && { to }) };
      return passed(await lanes.lookBack(host.id, { of: 'diff', ...range, limit, ...(after && { after }) }));
    },
  }),
];
