/** Checks what was read against the format: each problem is a sentence that begins with its place. */
import type { z } from 'zod';
import { didYouMean } from '../nearest.ts';
import { actionNamesOf, type StepInput } from './format.ts';
import type { Path, Source } from './source.ts';

/** What was read, if nothing is wrong with it. */
export function check<Input extends { steps: StepInput[] }>(
  schema: z.ZodType<Input>,
  source: Source,
  value: unknown,
  problems: string[],
): Input | undefined {
  const { error } = schema.safeParse(value);
  // What zod gives back has its keys in another order.
  const input = value as Input;
  const found =
    error === undefined
      ? checkSteps(input.steps, source, ['steps'])
      : error.issues.flatMap((issue) => explain(issue, [], source, schema));
  problems.push(...[...new Set(found)].sort((a, b) => lineOf(a) - lineOf(b)));
  return found.length === 0 ? input : undefined;
}

/** The line that a sentence begins with. */
const lineOf = (problem: string): number => Number(/:(\d+): /.exec(problem)?.[1]);

/** What goes with what, beside the step's action. */
const GOES_WITH: Readonly<Record<string, readonly string[]>> = {
  use: ['by', 'host', 'with'],
  for: ['by', 'host', 'steps'],
  look: ['host', 'expect', 'states'],
};

function checkSteps(steps: readonly StepInput[], source: Source, above: Path): string[] {
  return steps.flatMap((step, index) => {
    const where = [...above, index];
    const [does, other] = actionNamesOf(step);
    if (other !== undefined) return [`${source.place(where, other)}: a step does one thing, not ${does} and ${other}`];
    if (Object.keys(step).length === 0) return [`${source.place(where)}: the step does nothing`];
    const goes = GOES_WITH[does ?? 'look'];
    const wrong = Object.keys(step).filter((key) =>
      goes === undefined ? key === 'with' || key === 'steps' : key !== does && !goes.includes(key),
    );
    const found = wrong.map(
      (key) =>
        `${source.place(where, key)}: \`${key}\` does not go with ${does === undefined ? 'a step that does nothing' : `\`${does}\``}`,
    );
    if (does === 'for' && step.steps === undefined) found.push(`${source.place(where)}: \`for\` has no \`steps\``);
    const within = Array.isArray(step.steps) ? (step.steps as StepInput[]) : [];
    return [...found, ...checkSteps(within, source, [...where, 'steps'])];
  });
}

/** The sentences about an issue of zod, each with its place. */
function explain(issue: z.core.$ZodIssue, above: Path, source: Source, schema: z.ZodType): string[] {
  const where = [...above, ...(issue.path as (string | number)[])];
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => {
      const known = knownKeys(schema, where);
      return `${source.place(where, key)}: \`${key}\` is not known here${didYouMean(key, known)}`;
    });
  if (issue.code === 'invalid_union') {
    // The kind of value that was given has got furthest: its problem is a field of it, not its type.
    const branches = issue.errors.filter(
      (errors) => !errors.some(({ code, path: at }) => code === 'invalid_type' && at.length === 0),
    );
    if (branches.length > 0) return branches[0]!.flatMap((inner) => explain(inner, where, source, schema));
    return [`${source.place(where)}: \`${where.at(-1)}\` cannot be of this form`];
  }
  const what = where.length === 0 ? 'the scenario' : `\`${where.at(-1)}\``;
  const isMissing = issue.code === 'invalid_type' && issue.message.endsWith('received undefined');
  return [`${source.place(where)}: ${what} ${isMissing ? 'is missing' : `cannot be so: ${issue.message}`}`];
}

/** The keys that a schema takes where the path leads to. */
function knownKeys(schema: z.ZodType, where: Path): string[] {
  let found: unknown = schema;
  const shapes = (given: unknown): unknown[] => {
    const type = given as {
      _zod: { def: { type: string; innerType?: unknown; options?: unknown[]; getter?: () => unknown } };
    };
    const { def } = type._zod;
    if (def.innerType !== undefined) return shapes(def.innerType);
    if (def.getter !== undefined) return shapes(def.getter());
    return def.options?.flatMap(shapes) ?? [given];
  };
  for (const key of where) {
    const next = shapes(found)
      .map((shape) => {
        const { def } = (
          shape as { _zod: { def: { shape?: Record<string, unknown>; element?: unknown; valueType?: unknown } } }
        )._zod;
        return def.shape?.[key] ?? def.element ?? def.valueType;
      })
      .find((inner) => inner !== undefined);
    if (next === undefined) return [];
    found = next;
  }
  return shapes(found).flatMap((shape) =>
    Object.keys((shape as { _zod: { def: { shape?: object } } })._zod.def.shape ?? {}),
  );
}
