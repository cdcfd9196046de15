/** The catalogue of hazards: what no errno tells, and what to do about it. */
import { z } from 'zod';
import { HAZARDS } from '../../kernel/hazards.ts';
import { type Route, route } from '../route.ts';
import { HazardName } from '../schemas/events.ts';
import { listOf, strict, whole } from '../schemas/values.ts';

const HazardKind = strict({
  hazard: HazardName,
  severity: z.enum(['warning', 'error']).meta({ description: '`warning`: nothing is lost.' }),
  about: z.string().meta({ description: 'What has happened.' }),
  advice: z.string().meta({ description: 'What to do, now and the next time.' }),
  rule: z.string().nullable().meta({ description: 'The rule of the design behind it, where it is always the same.' }),
}).meta({ id: 'HazardKind' });

export const HAZARD_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/v1/hazards',
    operationId: 'listHazards',
    tag: 'Live update',
    summary: 'List all hazards',
    description:
      'What no errno tells: DMA that has ended, memory that is lost or somebody else’s, what nobody can reach any more. A hazard is an event, and stands in the answer of the request that has caused it.',
    access: 'tenant',
    success: {
      200: {
        description: 'All there are.',
        schema: listOf('HazardKindList', HazardKind),
        example: whole([
          {
            hazard: 'stray-write',
            severity: 'error',
            about: HAZARDS['stray-write'].about,
            advice: HAZARDS['stray-write'].advice,
            rule: null,
          },
        ]),
      },
    },
    handle: () =>
      whole(
        Object.entries(HAZARDS).map(([hazard, { severity, about, advice, ...more }]) => {
          return { hazard, severity, about, advice, rule: 'rule' in more ? more.rule : null };
        }),
      ),
  }),
];
