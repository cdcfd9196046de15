/**
 * Hazards in answers: what a request has caused that no errno tells stands in its own answer, as `hazards`, and only where there
 * is any. An answer without a body, 204, becomes one with nothing but these, 200.
 */
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import type { CausedEvent } from '../host/command.ts';
import { isPacked } from '../threads/packed.ts';
import { withFields } from './answers.ts';
import { eventView } from './event-view.ts';
import { Problem } from './problems.ts';
import type { Route, Success } from './route.ts';
import { Hazards } from './schemas/events.ts';
import { strict } from './schemas/values.ts';

/** The answer with the hazards; a stream stays as it is. */
export function toldWith(reply: FastifyReply, answer: unknown, caused: readonly CausedEvent[]): unknown {
  const hazards = caused.map(eventView);
  if (answer === undefined) {
    reply.code(200);
    return { hazards };
  }
  return isPacked(answer) || isRecord(answer) ? withFields(answer, { hazards }) : answer;
}

/** A refusal with the hazards, if it is one. */
export function withHazards(error: unknown, caused: readonly CausedEvent[]): unknown {
  if (caused.length === 0 || !(error instanceof Problem)) return error;
  return new Problem(error.kind, error.message, { ...error.extras, hazards: caused.map(eventView) });
}

const isRecord = (answer: unknown): answer is object =>
  typeof answer === 'object' && answer !== null && Object.getPrototypeOf(answer) === Object.prototype;

/** The entry of a route that may cause hazards, with what its answers are then. */
export function mayCauseHazards(entry: Route): Route {
  if (entry.access !== 'tenant' || entry.method === 'GET' || !entry.path.startsWith('/v1/hosts/{host}/')) return entry;
  const success = Object.entries(entry.success).map(([status, answer]): [string, Success] => [
    status,
    withField(answer),
  ]);
  const all: Record<number, Success> = Object.fromEntries(success);
  return { ...entry, success: all[204] ? { 200: ONLY_HAZARDS, ...all } : all };
}

const extended = new Map<z.ZodType, z.ZodType>();

function withField(answer: Success): Success {
  const { schema } = answer;
  if (!(schema instanceof z.ZodObject)) return answer;
  let more = extended.get(schema);
  if (more === undefined) {
    const { id, ...meta } = schema.meta() ?? {};
    more = schema
      .extend({ hazards: Hazards.optional() })
      .meta({ ...meta, ...(id !== undefined && { id: `${id}AndHazards` }) });
    extended.set(schema, more);
  }
  return { ...answer, schema: more };
}

const ONLY_HAZARDS: Success = {
  description: 'Done as well, and it has caused hazards.',
  schema: strict({ hazards: Hazards }).meta({ id: 'OnlyHazards' }),
  example: {
    hazards: [
      {
        id: '31-1',
        sequence: 31,
        index: 1,
        time: '31000',
        kernel: 2,
        kind: 'hazard',
        severity: 'error',
        message: 'session "vm1" was closed but cannot finish: nobody can reach it before the next reboot',
        data: { hazard: 'session-stuck', session: 'vm1', rule: 'R4' },
      },
    ],
  },
};
