/** Reads what comes in by zod schemas; what they find wrong becomes JSON pointers with sentences. */
import type { z } from 'zod';
import { UNKNOWN_FIELD } from '../host/request-values.ts';
import { MAX_ERRORS } from '../limits.ts';
import { didYouMean } from '../nearest.ts';
import { type FieldError, Problem } from './problems.ts';

/** Returns the value that the schema makes. Throws `invalid-request`, which names up to MAX_ERRORS wrong fields. */
export function read<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  part: FieldError['in'],
): z.output<Schema> {
  const parsed = schema.safeParse(value, { error: reasonOf, reportInput: true });
  if (parsed.success) return parsed.data;
  throw invalid(fieldErrors(parsed.error.issues, part));
}

/**
 * A wrong field, with what "did you mean" needs. That is looked for only in errors that are shown, as it takes time.
 */
interface Found extends FieldError {
  given?: unknown;
  /** The texts that are allowed. */
  among?: readonly string[];
}

/** Makes the problem about wrong fields, whoever has found them. */
export function invalid(errors: readonly Found[]): Problem {
  const shown = errors.slice(0, MAX_ERRORS).map(advised);
  const first = shown[0]!;
  const place = first.pointer === '' ? `the ${first.in}` : `${first.in} ${first.pointer}`;
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more, see errors)` : '';
  return new Problem('invalid-request', `${place}: ${first.reason}${more}`, { errors: shown });
}

function advised({ in: part, pointer, reason, given, among = [] }: Found): FieldError {
  if (!reason.startsWith(UNKNOWN_FIELD)) return { in: part, pointer, reason: reason + didYouMean(given, among) };
  const name = pointer.slice(pointer.lastIndexOf('/') + 1);
  const advice = didYouMean(name, reason.slice(UNKNOWN_FIELD.length).split(', '));
  return { in: part, pointer, reason: advice === '' ? reason : reason.replace(';', `${advice}`) };
}

type Issue = z.core.$ZodIssue;

function fieldErrors(issues: readonly Issue[], part: FieldError['in']): Found[] {
  const errors = issues.flatMap((issue) => errorsOf(issue, [], part));
  const seen = new Set<string>();
  return errors.filter(({ pointer, reason }) => seen.size !== seen.add(`${pointer} ${reason}`).size);
}

function errorsOf(issue: Issue, prefix: readonly PropertyKey[], part: FieldError['in']): Found[] {
  const path = [...prefix, ...issue.path];
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => ({ in: part, pointer: pointerTo([...path, key]), reason: issue.message }));
  if (issue.code === 'invalid_union' && issue.message === UNSAID) {
    const branch = meantBranch(issue.errors);
    if (branch !== undefined) return branch.flatMap((inner) => errorsOf(inner, path, part));
  }
  return [{ in: part, pointer: pointerTo(path), reason: issue.message, ...choiceOf(issue) }];
}

/** What was given, and which texts are allowed, where one of several is expected. */
function choiceOf(issue: Issue): Pick<Found, 'given' | 'among'> {
  if (issue.code === 'invalid_value') return { given: issue.input, among: issue.values.map(String) };
  if (issue.code !== 'invalid_union' || !('options' in issue) || issue.discriminator === undefined) return {};
  const { input, discriminator, options = [] } = issue;
  return { given: (input as Record<string, unknown>)[discriminator], among: options.map(String) };
}

/**
 * Returns the errors of the alternative that was meant: its discriminators agree, and, if possible, the input's type.
 */
function meantBranch(branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  const tells = ({ path }: Issue): boolean => path.length === 1 && DISCRIMINATORS.includes(String(path[0]));
  const agreeing = branches.filter((branch) => !branch.some(tells));
  return agreeing.find((branch) => branch.every(({ path }) => path.length > 0)) ?? agreeing[0] ?? branches[0];
}

const DISCRIMINATORS = ['call', 'request', 'op'];

function pointerTo(path: readonly PropertyKey[]): string {
  return path.map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

const UNSAID = 'not one of the forms that are allowed here';

const NOUNS: Record<string, string> = {
  object: 'a JSON object',
  record: 'a JSON object',
  array: 'a JSON array',
  string: 'a string',
  int: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
};

/** Says what is allowed, where the schema has no message of its own. */
function reasonOf(issue: z.core.$ZodRawIssue): string {
  const verb = issue.input === undefined ? 'required:' : 'expected';
  switch (issue.code) {
    case 'invalid_type':
      return `${verb} ${NOUNS[issue.expected] ?? issue.expected}`;
    case 'invalid_value':
      return `${verb} ${issue.values.length === 1 ? '' : 'one of '}${issue.values.map(String).join(', ')}`;
    case 'too_big':
      return `at most ${issue.maximum} ${unit(issue.origin)}`.trimEnd();
    case 'too_small':
      return `at least ${issue.minimum} ${unit(issue.origin)}`.trimEnd();
    default:
      return UNSAID;
  }
}

function unit(origin: string): string {
  return origin === 'array' ? 'items' : origin === 'string' ? 'characters' : '';
}
