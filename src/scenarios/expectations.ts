/** What a step's expectations are, and whether they came: each function tells the differences. */
import type { Action } from './actions.ts';
import { type Difference, differences } from './matching.ts';

/** What is expected of the answer, by its parts. */
export interface Expected {
  /** Fields of the answer or the refusal, each with its path in the step. */
  readonly fields: readonly { value: unknown; path: readonly (string | number)[] }[];
  readonly noGap: boolean;
  readonly refused: boolean;
}

const ERRNO = /^E[A-Z0-9]+$/;
/** Who expects one of these fields has thought of a refusal: those of one, and those that tell it of many calls. */
const OF_REFUSALS: readonly string[] = [
  ...['errno', 'where', 'rule', 'why', 'status', 'detail', 'type', 'fault', 'ok', 'ret'],
  ...['results', 'failed', 'errors'],
];

export function readExpectation(given: unknown): Expected {
  const parts = Array.isArray(given) ? given.map((part, index) => [part, ['expect', index]]) : [[given, ['expect']]];
  const fields: { value: unknown; path: (string | number)[] }[] = [];
  let noGap = false;
  for (const [part, path] of parts as [unknown, (string | number)[]][]) {
    if (part === undefined) continue;
    if (part === 'no-gap') noGap = true;
    else if (part === 'fault') fields.push({ value: { ok: false }, path });
    else if (typeof part === 'string' && ERRNO.test(part)) fields.push({ value: { errno: part }, path });
    else if (typeof part === 'object' && part !== null) fields.push({ value: part, path });
    else fields.push({ value: { ret: part }, path });
  }
  const refused = fields.some(({ value }) => Object.keys(value as object).some((key) => OF_REFUSALS.includes(key)));
  return { fields, noGap, refused };
}

/** By its status, or, as calls, accesses and batches have it, by what the answer says of one of them. */
export function isRefusal(kind: Action['kind'], status: number, answer: Readonly<Record<string, unknown>>): boolean {
  const of = (result: Readonly<Record<string, unknown>>): boolean => result.errno !== undefined || result.ok === false;
  if (status >= 400 || kind !== 'operation') return status >= 400 || of(answer);
  const { results, failed } = answer as { results?: Record<string, unknown>[]; failed?: number };
  return (failed ?? 0) > 0 || (Array.isArray(results) && results.some(of));
}

/** A path that an expectation of one word stands for is that word's. */
export function compareAnswer(
  { fields, refused }: Expected,
  isRefused: boolean,
  answer: Readonly<Record<string, unknown>>,
): Difference[] {
  if (isRefused && !refused) return [{ path: fields[0]?.path ?? [], expected: 'success', got: refusalOf(answer) }];
  return fields.flatMap(({ value, path }) =>
    differences(value, answer).map((difference) => ({
      ...difference,
      path: [...path, ...difference.path],
      ...(isWord(value) &&
        (isRefused || difference.path[0] === 'errno') && { got: isRefused ? refusalOf(answer) : answer }),
    })),
  );
}

/** `EBUSY`, or what a call returns: what came instead is told whole. */
const isWord = (value: unknown): boolean => ['errno', 'ret'].includes(Object.keys(value as object).join());

/** What people need of a refusal: the errno, who refuses, why. */
export function refusalOf(answer: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { errno, where, why, detail, rule, status, title, errors, fault, results } = answer;
  const told =
    errno === undefined
      ? { status, title, detail, errors, fault, results }
      : { errno, where, why: why ?? detail, rule };
  return Object.fromEntries(Object.entries(told).filter(([, value]) => value !== undefined));
}

interface Event {
  readonly kind: string;
}

/** Of the kinds that the expectations name, exactly these events, in this order. */
export function compareEvents(expected: readonly unknown[], happened: readonly Event[]): Difference[] {
  const path = ['events'];
  const wanted = expected.map((item) =>
    typeof item === 'string' ? { kind: item } : (item as Partial<Event> & { no?: string }),
  );
  const kinds = new Set(wanted.map(({ kind, no }) => kind ?? no));
  const found = happened.filter(({ kind }) => kinds.has(kind));
  const places = wanted.flatMap((item, index) => (item.no === undefined ? [{ item, index }] : []));
  const wrong = places.flatMap(({ item, index }, position) =>
    differences(item, found[position], [...path, index]).length > 0
      ? [{ path: [...path, index], expected: item, got: found[position] ?? '(no further event)' }]
      : [],
  );
  const more = found.slice(places.length);
  return more.length > 0 && wrong.length === 0
    ? [{ path, expected: '(no further event)', got: more }]
    : wrong.slice(0, 1);
}

interface Hazard {
  readonly data: Readonly<Record<string, unknown>>;
  readonly message: string;
}

/** All hazards that the answer told, in order. */
export function compareHazards(expected: readonly unknown[], told: readonly Hazard[]): Difference[] {
  const path = ['hazards'];
  for (const [index, item] of expected.entries()) {
    const wanted = typeof item === 'string' ? { hazard: item } : item;
    const got = told[index];
    if (differences(wanted, got && { ...got.data, message: got.message }).length > 0)
      return [{ path: [...path, index], expected: wanted, got: got ? hazardOf(got) : '(no further hazard)' }];
  }
  const more = told.slice(expected.length);
  return more.length === 0 ? [] : [{ path, expected: '(no further hazard)', got: more.map(hazardOf) }];
}

const hazardOf = ({ data, message }: Hazard): string => `${data.hazard}: ${message}`;
