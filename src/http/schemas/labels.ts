/** What hosts of tests are known by, and how long they are kept: labels, as a body and as parameters, and their end. */
import { z } from 'zod';
import { MAX_LABELS, MAX_TTL_SECONDS } from '../../limits.ts';
import type { Labels as KeptLabels } from '../../store/store.ts';
import { integerText } from '../parameters.ts';
import { expected, integer, Time, text } from './values.ts';

const KEY = /^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$/;
const KEY_RULE = 'a key of 1 to 63 of A-Z a-z 0-9 . _ / -, the first and the last a letter or a digit';
const MOST_VALUE = 63;

const value = text(MOST_VALUE, 'Any text.');

export const Labels = z
  .record(z.string(), value, { error: expected('an object of texts, such as {"suite": "nightly"}') })
  .superRefine((labels, context) => {
    const keys = Object.keys(labels);
    for (const key of keys)
      if (!KEY.test(key)) context.addIssue({ code: 'custom', path: [key], message: `expected ${KEY_RULE}` });
    if (keys.length > MAX_LABELS)
      context.addIssue({ code: 'custom', message: `expected at most ${MAX_LABELS} labels` });
  })
  .meta({
    id: 'Labels',
    description: `By what hosts are found: up to ${MAX_LABELS} keys of up to 63 of the characters A-Z a-z 0-9 . _ / -, with values of up to ${MOST_VALUE} characters.`,
    override: ({ jsonSchema }: { jsonSchema: Record<string, unknown> }) => {
      Object.assign(jsonSchema, { maxProperties: MAX_LABELS, propertyNames: { pattern: KEY.source } });
    },
    examples: [{ suite: 'nightly', 'ci/job': '4711' }],
  });

/** A label as a parameter has it. */
function pair(given: string, rule: string, context: z.RefinementCtx): { key: string; value: string | null } {
  const at = given.indexOf('=');
  const [key, value] = at < 0 ? [given, null] : [given.slice(0, at), given.slice(at + 1)];
  if (!KEY.test(key) || (value?.length ?? 0) > MOST_VALUE)
    context.addIssue({ code: 'custom', message: `expected ${rule}` });
  return { key, value };
}

const several = (about: string, example: string) => ({
  description: about,
  override: { type: 'array', items: { type: 'string' }, maxItems: MAX_LABELS, examples: [[example]] } as never,
});

const listed = z.preprocess(
  (given) => (given === undefined ? [] : [given].flat()),
  z.array(z.string()).max(MAX_LABELS, `expected at most ${MAX_LABELS} labels`),
);

const FILTER_RULE = 'a label such as suite=nightly, or a key alone, such as suite';

/** One label that hosts are asked for by. */
export const LabelFilter = z
  .string({ error: expected(FILTER_RULE) })
  .transform((given, context) => pair(given, FILTER_RULE, context))
  .meta({
    description: '`key=value`; a key alone stands for any value.',
    override: { type: 'string' },
    examples: ['suite=nightly'],
  });

/** Of a query: all labels must hold. */
export const labelFilters = listed
  .transform((all, context) => all.map((given) => pair(given, FILTER_RULE, context)))
  .meta(
    several(
      'Only hosts with this label: `key=value`, or a key alone. May be given several times: all must hold.',
      'suite=nightly',
    ),
  )
  .optional();

const GIVEN_RULE = 'a label such as suite=nightly';

/** Of a query: the labels that a host gets. */
export const givenLabels = listed
  .transform((all, context): KeptLabels => {
    const labels: Record<string, string> = {};
    for (const given of all) {
      const { key, value } = pair(given, GIVEN_RULE, context);
      if (value === null) context.addIssue({ code: 'custom', message: `expected ${GIVEN_RULE}` });
      else labels[key] = value;
    }
    return labels;
  })
  .meta(several('A label that the host gets, `key=value`. May be given several times.', 'suite=nightly'))
  .optional();

const TTL = `How long it is kept, in seconds of real time from now on, whether it is used or not: 1 to ${MAX_TTL_SECONDS}, which is 30 days.`;

export const ttlSeconds = integer(1, MAX_TTL_SECONDS).meta({ description: `${TTL} For ever if not given.` });
export const requiredTtl = integer(1, MAX_TTL_SECONDS).meta({ description: TTL });
export const ttlText = integerText(1, MAX_TTL_SECONDS, `${TTL} For ever if not given.`, 3600).optional();

export const ExpiresAt = Time.nullable().meta({
  description: 'When it is deleted, with all that it has; null: when that is asked.',
});
