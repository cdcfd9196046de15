/** Armed faults: failures of the simulated kernel on demand. */
import { z } from 'zod';
import { MAX_LISTED } from '../../limits.ts';
import { granted } from '../answers.ts';
import { type OfHost, type Route, route } from '../route.ts';
import { ErrnoName, FaultPoint, integer, S32_MAX, strict } from '../schemas/values.ts';
import { Fault } from '../schemas/views.ts';

const FAULTS = '/v1/hosts/{host}/faults';
const tag = 'Kexec';
const access = 'tenant';

const FAULT_EXAMPLE = { id: 1, point: 'memfd.freeze', nth: 2, times: 1, struck: 0, errno: 'EIO' };

export const FAULT_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: FAULTS,
    operationId: 'listFaults',
    tag,
    summary: 'List what can fail, and what is armed',
    description: 'All points that can be armed, with what each is in the kernel, and the faults of this host.',
    access,
    success: {
      200: {
        description: 'All points, all faults that may strike yet, and the newest of those that are over.',
        schema: strict({
          points: z.array(strict({ name: FaultPoint, about: z.string() })),
          armed: z.array(Fault),
          over: z.array(Fault),
          more: strict({ armed: z.int() })
            .meta({ description: `How many are armed besides the first ${MAX_LISTED}, which are shown here.` })
            .optional(),
        }).meta({ id: 'Faults' }),
        example: {
          points: [{ name: 'memfd.freeze', about: 'the freeze of a memfd during reboot()' }],
          armed: [FAULT_EXAMPLE],
          over: [],
        },
      },
    },
    handle: async ({ lanes }, { host }) => granted(await lanes.query(host.id, { view: 'faults' })),
  }),
  route({
    method: 'POST',
    path: FAULTS,
    operationId: 'armFault',
    tag,
    summary: 'Let something fail',
    description:
      'At the nth pass from now on, and so many times as `times` says. What a fault has refused names it, as `fault`. The point `allocation` is passed with each point that is of it. `service.death` kills the whole service between freeze and boot, and only where HOLDOVER_ALLOW_SERVICE_DEATH is 1.',
    access,
    refusable: true,
    body: strict({
      point: FaultPoint,
      nth: integer(1, S32_MAX).meta({ description: '1 if not given: the next pass.' }).optional(),
      times: integer(1, S32_MAX)
        .meta({ description: 'How many passes in a row fail, from that one on; 1 if not given.' })
        .optional(),
      errno: ErrnoName.meta({ description: 'What it fails with; depends on the point if not given.' }).optional(),
    }),
    bodyExample: { point: 'memfd.freeze', nth: 2, errno: 'EIO' },
    success: {
      201: {
        description: 'It is armed.',
        schema: Fault,
        example: FAULT_EXAMPLE,
        location: ({ id }: { id: number }, { params: { host } }: OfHost) => `/v1/hosts/${host}/faults/${id}`,
      },
    },
    handle: async ({ lanes }, { host, body }) => granted(await lanes.execute(host.id, { op: 'fault.arm', ...body })),
  }),
  route({
    method: 'DELETE',
    path: `${FAULTS}/{fault}`,
    operationId: 'disarmFault',
    tag,
    summary: 'Disarm a fault',
    description: 'One that is over is no longer told of.',
    access,
    refusable: true,
    success: { 204: { description: 'It will not strike any more, and is not told of.' } },
    async handle({ lanes }, { host, params: { fault } }) {
      granted(await lanes.execute(host.id, { op: 'fault.disarm', id: fault }));
    },
  }),
];
