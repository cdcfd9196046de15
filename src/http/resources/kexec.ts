/** The end of a kernel: live update, plain kexec, crash, power cycle; and simulated time. */
import { z } from 'zod';
import { granted, passed } from '../answers.ts';
import { type Route, route } from '../route.ts';
import { HostState, NextKernelInput } from '../schemas/host.ts';
import { expected, integer, Nanoseconds, S32_MAX, strict } from '../schemas/values.ts';
import { Handover, Preflight } from '../schemas/views.ts';
import { HOST_STATE_EXAMPLE } from './hosts.ts';

const HOST = '/v1/hosts/{host}';
const tag = 'Kexec';
const access = 'tenant';

const stateAnswer = {
  description: 'The host with the kernel that runs now.',
  schema: HostState,
  example: HOST_STATE_EXAMPLE,
};

const KexecResult = HostState.extend({ handedOver: Handover }).meta({ id: 'KexecResult' });

const HANDOVER_EXAMPLE = {
  mode: 'live-update',
  taken: true,
  blackout: '1000001000',
  devices: [
    {
      bdf: '0000:01:00.0',
      fate: 'kept',
      state: 'L',
      domain: 1,
      liveupdate: { session: 'vm1', token: '0x3', hwptToken: '0x7' },
      why: null,
    },
  ],
  sessions: [{ name: 'vm1', files: 1 }],
  files: [
    {
      session: 'vm1',
      token: '0x3',
      handler: 'vfio-pci-v1',
      kept: true,
      device: '0000:01:00.0',
      size: null,
      hwpts: null,
    },
  ],
  domains: [{ id: 1, kept: true, devices: ['0000:01:00.0'] }],
};

const ADVANCE_RULE = expected(
  'nanoseconds: a decimal string of at most 18 digits, or a whole number from 0 to 9007199254740991',
);
const Advance = z
  .union(
    [
      z.string().regex(/^\d{1,18}$/, { error: ADVANCE_RULE }),
      z.int({ error: ADVANCE_RULE }).min(0, { error: ADVANCE_RULE }),
    ],
    {
      error: ADVANCE_RULE,
    },
  )
  .transform(String)
  .meta({ description: 'Nanoseconds, as a decimal string or a safe non-negative integer.' });

const NEXT_RULE = expected('the next kernel as JSON, as in the body of a kexec');

const next = z
  .string({ error: NEXT_RULE })
  .transform((text, context): unknown => {
    try {
      return JSON.parse(text);
    } catch {
      context.addIssue({ code: 'custom', message: 'expected the next kernel as JSON, as in the body of a kexec' });
      return z.NEVER;
    }
  })
  .pipe(NextKernelInput)
  .meta({
    description: 'How the next kernel differs from this one: `kernel` of the body of a kexec, as JSON.',
    override: { type: 'string', examples: ['{"profile":"linux-7.3"}'] },
  })
  .optional();

export const KEXEC_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: `${HOST}/preflight`,
    operationId: 'getPreflight',
    tag,
    summary: 'What a kexec would do now',
    description:
      'Device by device, session by session: what would survive, and in which state; what reboot() would be refused with; the hazards that would follow; and what to do first. It is found out by updating a copy of the host: nothing changes.',
    access,
    refusable: true,
    query: strict({
      mode: z
        .enum(['live-update', 'plain'])
        .meta({ description: '`plain` hands nothing over; `live-update` if not given.' })
        .optional(),
      next,
    }),
    success: {
      200: {
        description: 'What would happen.',
        schema: Preflight,
        example: {
          refusal: null,
          handedOver: HANDOVER_EXAMPLE,
          panic: null,
          hazards: [],
          steps: [],
        },
      },
    },
    async handle({ lanes }, { host, query: { mode = 'live-update', next: kernel } }) {
      return passed(await lanes.query(host.id, { view: 'preflight', mode, ...(kernel && { kernel }) }));
    },
  }),
  route({
    method: 'POST',
    path: `${HOST}/kexec`,
    operationId: 'kexecHost',
    tag,
    summary: 'Reboot into the next kernel',
    description:
      'What is preserved is frozen and handed over, the kernel ends, and the next one has booted when this answers: `handedOver` tells what has become of each device, session and file. A refused reboot changes nothing.',
    access,
    refusable: true,
    frees: 'use',
    body: strict({
      mode: z.enum(['live-update', 'plain']).meta({ description: '`plain` hands nothing over.' }),
      image: z
        .enum(['loaded', 'none', 'loading'])
        .meta({ description: 'The kexec image; it is loaded if not given.' })
        .optional(),
      kernel: NextKernelInput.optional(),
      pid: integer(0, S32_MAX)
        .meta({ description: 'The process that calls reboot(), with its capabilities.' })
        .optional(),
    }).meta({ id: 'KexecInput' }),
    bodyExample: { mode: 'live-update' },
    success: {
      200: {
        description: 'The host with the kernel that runs now, and what was handed over.',
        schema: KexecResult,
        example: { ...HOST_STATE_EXAMPLE, handedOver: HANDOVER_EXAMPLE },
      },
    },
    async handle({ lanes }, { host, body: { image = 'loaded', ...body } }) {
      return granted(await lanes.execute(host.id, { op: 'kexec.freeze', image, ...body }));
    },
  }),
  route({
    method: 'POST',
    path: `${HOST}/crash`,
    operationId: 'crashHost',
    tag,
    summary: 'Let the kernel crash',
    description: 'The crash kernel boots: nothing is handed over, devices go on.',
    access,
    refusable: true,
    frees: 'use',
    body: strict({}).optional(),
    success: { 200: stateAnswer },
    handle: async ({ lanes }, { host }) => granted(await lanes.execute(host.id, { op: 'crash' })),
  }),
  route({
    method: 'POST',
    path: `${HOST}/reset`,
    operationId: 'resetHost',
    tag,
    summary: 'Cycle the power',
    description: 'A cold boot; all that helps in state panic.',
    access,
    refusable: true,
    frees: 'use',
    body: strict({}).optional(),
    success: { 200: stateAnswer },
    handle: async ({ lanes }, { host }) => granted(await lanes.execute(host.id, { op: 'reset' })),
  }),
  route({
    method: 'POST',
    path: `${HOST}/clock`,
    operationId: 'advanceClock',
    tag,
    summary: 'Let time pass',
    description: 'Simulated time alone: engines go on doing DMA meanwhile, and nothing else happens.',
    access,
    refusable: true,
    body: strict({ advance: Advance }),
    bodyExample: { advance: '1000000000' },
    success: {
      200: {
        description: 'The time that it is now.',
        schema: strict({ now: Nanoseconds }).meta({ id: 'Clock' }),
        example: { now: '1000000000' },
      },
    },
    handle: async ({ lanes }, { host, body }) =>
      granted(await lanes.execute(host.id, { op: 'clock.advance', nanoseconds: body.advance })),
  }),
];
