/** Events: a schema for each kind, made of the list of kinds, and the parameters by which they are asked for. */
import { z } from 'zod';
import type { HostEvent as HostEventView } from '../../host/views.ts';
import type { EventField, EventFields, EventVariants } from '../../kernel/event-fields.ts';
import { EVENT_KINDS, EVENTS, SEVERITIES } from '../../kernel/events.ts';
import { HAZARD_NAMES, type HazardSeverity } from '../../kernel/hazards.ts';
import type { EventId } from '../../store/store.ts';
import { integerText, limit, PARAMETERS } from '../parameters.ts';
import { Bdf, ErrnoName, expected, Hex64, listOf, Nanoseconds, pascal, S32_MAX, strict } from './values.ts';

export const EVENTS_PAGE = 100;
export const MAX_EVENTS_PAGE = 1000;
/** The longest wait, in seconds. */
export const MAX_WAIT = 60;

/** What a hazard is called. */
export const HazardName = z
  .enum(HAZARD_NAMES)
  .meta({ id: 'HazardName', description: 'The name of a hazard, which never changes: GET /v1/hazards tells of each.' });

export const EventKind = z.enum(EVENT_KINDS).meta({ id: 'EventKind', description: 'What an event is about.' });

const HAZARD_SEVERITIES = ['warning', 'error'] as const satisfies readonly HazardSeverity[];

const Severity = z
  .enum(SEVERITIES)
  .meta({ id: 'Severity', description: `From the least to the most severe: ${SEVERITIES.join(', ')}.` });

const TYPES = {
  bdf: Bdf,
  text: z.string(),
  hex: Hex64,
  integer: z.int(),
  flag: z.boolean(),
  errno: ErrnoName,
} as const;

function fieldSchema({ type, values, nullable, optional, about }: EventField): z.ZodType {
  const plain: z.ZodType = values === undefined ? TYPES[type] : z.enum(values);
  const told = (nullable ? plain.nullable() : plain).meta({ description: about });
  return optional ? told.optional() : told;
}

const RULE = z
  .string()
  .meta({ description: 'The rule of the design that decides, R1 to R25 and C1 to C7.' })
  .optional();

function dataSchema(fields: EventFields, more: Record<string, z.ZodType> = {}) {
  const own = Object.entries(fields).map(([name, field]) => [name, fieldSchema(field)]);
  return strict({ ...more, ...Object.fromEntries(own), rule: RULE });
}

interface Variants {
  by: string;
  of: EventVariants;
}

function variantSchema({ by, of }: Variants): z.ZodType {
  const each = Object.entries(of).map(([name, { about, data }]) =>
    dataSchema(data, { [by]: z.literal(name) }).meta({ id: pascal(`${by} ${name}`), description: about }),
  );
  return z.discriminatedUnion(by, each as unknown as [z.core.$ZodTypeDiscriminable, ...z.core.$ZodTypeDiscriminable[]]);
}

const position = {
  id: z.string().meta({
    description: 'Its `sequence` and its `index`, for the parameter `after` and the header Last-Event-ID.',
    examples: ['12-0'],
  }),
  sequence: z.int().meta({
    description: 'Which command of the host has caused it, counted from 1 on; 0: the making of the host.',
  }),
  index: z.int().meta({ description: 'Which of the events of that command it is, from 0 on.' }),
  time: Nanoseconds,
  kernel: z.int().meta({ description: 'Number of the kernel that ran.' }),
};

/** What a hazard carries. */
export const HazardData = variantSchema(EVENTS.hazard.variants).meta({ id: 'HazardData' });

const kinds = EVENT_KINDS.map((kind) => {
  const { severity, about, data, ...more } = EVENTS[kind];
  return strict({
    ...position,
    kind: z.literal(kind),
    severity: kind === 'hazard' ? z.enum(HAZARD_SEVERITIES) : z.literal(severity),
    message: z.string(),
    data: 'variants' in more ? HazardData : dataSchema(data),
  }).meta({ id: `Event${pascal(kind)}`, description: about });
});

const HostEvent = z.discriminatedUnion('kind', kinds as [(typeof kinds)[number], ...(typeof kinds)[number][]]).meta({
  id: 'HostEvent',
  description: 'What a kernel or its hardware tells.',
}) as unknown as z.ZodType<HostEventView>;

/** The hazards of an answer. */
export const Hazards = z
  .array(kinds[EVENT_KINDS.indexOf('hazard')] as unknown as z.ZodType<HostEventView>)
  .meta({ description: 'What the request has caused that no errno tells. Only there where there is any.' });

export const HostEventList = listOf('HostEventList', HostEvent);

/** Behind all events of a command. */
const LAST = Number.MAX_SAFE_INTEGER;

/** Where the log goes on; null: from the oldest event that is kept. Undefined: it is no such place. */
export function parsePlace(text: string): EventId | null | undefined {
  const found = /^(\d{1,15})(?:-(\d{1,15}))?$/.exec(text);
  if (found === null) return undefined;
  const [sequence, index] = [Number(found[1]), found[2]];
  if (index !== undefined) return { sequence, index: Number(index) };
  return sequence === 0 ? null : { sequence, index: LAST };
}

export const PLACE_RULE = 'the id of an event such as 12-0, or a whole number, the `sequence` of a command';

const after = z
  .string({ error: expected(PLACE_RULE) })
  .transform((text, context): EventId | null => {
    const place = parsePlace(text);
    if (place !== undefined) return place;
    context.addIssue({ code: 'custom', message: `expected ${PLACE_RULE}` });
    return z.NEVER;
  })
  .meta({
    description:
      'Behind which event the page begins: an `id`, such as the `nextPageToken` of the page before. A number alone ' +
      'stands for all events of that command; 0, and nothing, for the oldest one that is kept.',
    override: { type: 'string', examples: ['12-0'] },
  })
  .optional();

const kind = z
  .preprocess((given) => (given === undefined ? given : [given].flat()), z.array(EventKind).optional())
  .meta({
    description: 'Only events of this kind; may be given several times.',
    override: { type: 'array', items: { $ref: '#/components/schemas/EventKind' }, examples: [['dma.fault', 'hazard']] },
  })
  .optional();

const hazard = z
  .preprocess((given) => (given === undefined ? given : [given].flat()), z.array(HazardName).optional())
  .meta({
    description: 'Only hazards of this name; may be given several times.',
    override: { type: 'array', items: { $ref: '#/components/schemas/HazardName' }, examples: [['device-left-behind']] },
  })
  .optional();

const moment = (about: string) => {
  const error = expected('simulated nanoseconds: at most 20 decimal digits');
  return z
    .string({ error })
    .regex(/^\d{1,20}$/, { error, abort: true })
    .transform((value) => BigInt(value).toString())
    .meta({ description: about, override: { type: 'string', examples: ['1000000000'] } })
    .optional();
};

const WAIT_RULE = expected(`a time from 0s to ${MAX_WAIT}s, such as 10s or 500ms`);
const wait = z
  .string({ error: WAIT_RULE })
  .regex(/^\d{1,5}(ms|s)$/, { error: WAIT_RULE, abort: true })
  .transform((value) => (value.endsWith('ms') ? 1 : 1000) * Number.parseInt(value, 10))
  .refine((milliseconds) => milliseconds <= MAX_WAIT * 1000, { error: WAIT_RULE })
  .meta({
    description: `How long to wait where there is nothing yet, at most ${MAX_WAIT}s; the answer comes as soon as there is. Not for streams.`,
    override: { type: 'string', examples: ['10s'] },
  })
  .optional();

export const EventsQuery = strict({
  after,
  kind,
  hazard,
  bdf: PARAMETERS.bdf.meta({ description: 'Only events about this function.' }).optional(),
  kernel: integerText(1, S32_MAX, 'Only events of this kernel, by its number.', 1).optional(),
  severity: Severity.meta({ description: 'Only events at least as severe.', examples: ['warning'] }).optional(),
  from: moment('Only events from this simulated time on.'),
  to: moment('Only events up to this simulated time.'),
  limit: limit(MAX_EVENTS_PAGE, EVENTS_PAGE),
  wait,
});

export type EventsQuery = z.output<typeof EventsQuery>;
