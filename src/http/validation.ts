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
  const { errors, more } = fieldErrors(parsed.error.issues, part);
  throw invalid(errors, more);
}

/**
 * A wrong field, with what "did you mean" needs. That is looked for only in errors that are shown, as it takes time.
 */
interface Found extends FieldError {
  given?: unknown;
  /** The texts that are allowed. */
  among?: readonly string[];
}

/** Makes the problem about wrong fields, whoever has found them; `others`: how many there are besides. */
export function invalid(errors: readonly Found[], others = 0): Problem {
  const shown = errors.slice(0, MAX_ERRORS).map(advised);
  const first = shown[0]!;
  const place = first.pointer === '' ? `the ${first.in}` : `${first.in} ${first.pointer}`;
  const left = errors.length - 1 + others;
  const more = left > 0 ? ` (and ${left} more, see errors)` : '';
  return new Problem('invalid-request', `${place}: ${first.reason}${more}`, { errors: shown });
}

function advised({ in: part, pointer, reason, given, among = [] }: Found): FieldError {
  if (!reason.startsWith(UNKNOWN_FIELD)) return { in: part, pointer, reason: reason + didYouMean(given, among) };
  const name = pointer.slice(pointer.lastIndexOf('/') + 1);
  const advice = didYouMean(name, reason.slice(UNKNOWN_FIELD.length).split(', '));
  return { in: part, pointer, reason: advice === '' ? reason : reason.replace(';', `${advice}`) };
}

type Issue = z.core.$ZodIssue;

/** So many errors are looked at, for what is said of them and for whether two say the same; of more each one counts. */
const MOST_FOUND = 1000;

/** `more`: how many there are beyond those. */
function fieldErrors(issues: readonly Issue[], part: FieldError['in']): { errors: Found[]; more: number } {
  const seen = new Set<string>();
  const errors: Found[] = [];
  let more = 0;
  for (const issue of issues) {
    if (seen.size >= MOST_FOUND) more += countOf(issue);
    else
      for (const error of errorsOf(issue, [], part)) {
        if (seen.size >= MOST_FOUND) more += 1;
        else if (seen.size !== seen.add(`${error.pointer} ${error.reason}`).size) errors.push(error);
      }
  }
  return { errors, more };
}

const branchOf = (issue: Issue): readonly Issue[] | undefined =>
  issue.code === 'invalid_union' && issue.message === UNSAID ? meantBranch(issue.errors) : undefined;

function countOf(issue: Issue): number {
  if (issue.code === 'unrecognized_keys') return issue.keys.length;
  return branchOf(issue)?.reduce((sum, inner) => sum + countOf(inner), 0) ?? 1;
}

function* errorsOf(issue: Issue, prefix: readonly PropertyKey[], part: FieldError['in']): Generator<Found> {
  const path = [...prefix, ...issue.path];
  if (issue.code === 'unrecognized_keys') {
    const { keys, message: reason } = issue;
    for (const key of keys) yield { in: part, pointer: pointerTo([...path, key]), reason };
    return;
  }
  const branch = branchOf(issue);
  if (branch === undefined) yield { in: part, pointer: pointerTo(path), reason: issue.message, ...choiceOf(issue) };
  else for (const inner of branch) yield* errorsOf(inner, path, part);
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
