/** Reads scenario files: YAML documents, each a scenario, with the line of everything, and the setups that they use. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { type Document, isMap, isNode, LineCounter, type Pair, parseAllDocuments, type ScalarTag } from 'yaml';
import type { z } from 'zod';
import { didYouMean } from '../nearest.ts';
import { actionNamesOf, Scenario, type ScenarioInput, Setup, type SetupInput, type StepInput } from './format.ts';
import { fitting, isSize, parseSize } from './values.ts';

export type Path = readonly (string | number)[];

/** One document of a file, and where in it things are. */
export class Source {
  readonly file: string;
  readonly #text: string;
  readonly #document: Document;
  readonly #lines: LineCounter;

  constructor(file: string, text: string, document: Document, lines: LineCounter) {
    this.file = file;
    this.#text = text;
    this.#document = document;
    this.#lines = lines;
  }

  /** The line of what a path leads to, or of what is nearest above it. `key`: of its key, where it has one. */
  line(where: Path, key?: string): number {
    for (let length = where.length; length >= 0; length -= 1) {
      const node = length === 0 ? this.#document.contents : this.#document.getIn(where.slice(0, length), true);
      if (!isNode(node) || !node.range) continue;
      const pair = length === where.length && isMap(node) && key !== undefined ? pairOf(node.items, key) : undefined;
      const start = isNode(pair?.key) && pair.key.range ? pair.key.range[0] : node.range[0];
      return this.#lines.linePos(start).line;
    }
    return 1;
  }

  place(where: Path, key?: string): string {
    return `${this.file}:${this.line(where, key)}`;
  }

  /** As it is written there. */
  excerpt(where: Path): string {
    const node = this.#document.getIn(where, true);
    if (!isNode(node) || !node.range) return '';
    const lines = this.#text.slice(node.range[0], node.range[1]).trimEnd().split('\n');
    const { col } = this.#lines.linePos(node.range[0]);
    return lines
      .map((line, index) => (index > 0 && /^ *$/.test(line.slice(0, col - 1)) ? line.slice(col - 1) : line))
      .join('\n');
  }
}

const pairOf = (pairs: readonly Pair[], key: string): Pair | undefined =>
  pairs.find((pair) => String(isNode(pair.key) ? pair.key.toString() : pair.key) === key);

export interface Steps<Input> {
  readonly source: Source;
  readonly input: Input;
}

export type ReadScenario = Steps<ScenarioInput> & { readonly setups: ReadonlyMap<string, ReadSetup> };
export type ReadSetup = Steps<SetupInput>;

/** A file that cannot be used as it is; each problem begins with its place. */
export class Unreadable extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

/** `64Mi` and the like, unless in quotes. */
const SIZE: ScalarTag = {
  tag: '!size',
  default: true,
  test: /^\d+(?:Ki|Mi|Gi)$/,
  resolve: (text) => (isSize(text) ? parseSize(text) : text),
};

/** The scenarios of a file. Throws Unreadable. */
export async function readScenarios(file: string): Promise<ReadScenario[]> {
  const documents = await readDocuments(file);
  const setups = new Map<string, ReadSetup>();
  const read: ReadScenario[] = [];
  const problems: string[] = [];
  for (const { source, value } of documents) {
    const input = check(Scenario, source, value, problems);
    if (input === undefined) continue;
    await readSetups(path.join(path.dirname(file), 'setups'), { source, input }, setups, problems);
    read.push({ source, input, setups });
  }
  if (problems.length > 0) throw new Unreadable(problems);
  return read;
}

async function readDocuments(file: string): Promise<{ source: Source; value: unknown }[]> {
  const text = await readFile(file, 'utf8');
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, {
    lineCounter: lines,
    intAsBigInt: true,
    customTags: (tags) => [SIZE, ...tags],
  });
  if (!Array.isArray(documents) || documents.length === 0) throw new Unreadable([`${file}:1: there is nothing in it`]);
  const problems = documents.flatMap(({ errors }) =>
    errors.map(
      ({ message, pos }) =>
        `${file}:${lines.linePos(pos[0]).line}: ${message.split('\n')[0]!.replace(/ at line \d+.*$/, '')}`,
    ),
  );
  if (problems.length > 0) throw new Unreadable(problems);
  return documents.map((document) => ({
    source: new Source(file, text, document, lines),
    value: withNumbers(document.toJS()),
  }));
}

/** Whole numbers as the API takes them: what is not safe as hexadecimal. */
function withNumbers(value: unknown): unknown {
  if (typeof value === 'bigint') return fitting(value);
  if (Array.isArray(value)) return value.map(withNumbers);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withNumbers(item)]));
}

/** Reads the setups that the steps use, and those that these use. */
async function readSetups(
  directory: string,
  { source, input }: Steps<{ steps: StepInput[] }>,
  setups: Map<string, ReadSetup>,
  problems: string[],
): Promise<void> {
  for (const [where, name] of usesOf(input.steps)) {
    if (setups.has(name)) continue;
    const file = path.join(directory, `${name}.yaml`);
    try {
      const { source: own, value } = (await readDocuments(file))[0]!;
      const setup = check(Setup, own, value, problems);
      if (setup === undefined) continue;
      setups.set(name, { source: own, input: setup });
      await readSetups(directory, { source: own, input: setup }, setups, problems);
    } catch (error) {
      if (error instanceof Unreadable) problems.push(...error.problems);
      else problems.push(`${source.place(where)}: there is no setup \`${name}\` (${file})`);
    }
  }
}

function usesOf(steps: readonly StepInput[], above: Path = ['steps']): [Path, string][] {
  return steps.flatMap((step, index) => [
    ...(typeof step.use === 'string' ? [[[...above, index, 'use'], step.use] as [Path, string]] : []),
    ...(Array.isArray(step.steps) ? usesOf(step.steps as StepInput[], [...above, index, 'steps']) : []),
  ]);
}

function check<Input extends { steps: StepInput[] }>(
  schema: z.ZodType<Input>,
  source: Source,
  value: unknown,
  problems: string[],
): Input | undefined {
  const { data, error } = schema.safeParse(value);
  const found = error === undefined ? [] : error.issues.flatMap((issue) => explain(issue, [], source, schema));
  if (data !== undefined) found.push(...checkSteps(data.steps, source, ['steps']));
  problems.push(...new Set(found));
  return found.length === 0 ? data : undefined;
}

function checkSteps(steps: readonly StepInput[], source: Source, above: Path): string[] {
  return steps.flatMap((step, index) => {
    const where = [...above, index];
    const does = actionNamesOf(step);
    const wrong: string[] = [];
    if (does.length > 1)
      wrong.push(`${source.place(where, does[1])}: a step does one thing, not ${does.join(' and ')}`);
    if ((step.for === undefined) !== (step.steps === undefined))
      wrong.push(`${source.place(where)}: \`for\` and \`steps\` go together`);
    if (step.with !== undefined && step.use === undefined)
      wrong.push(`${source.place(where, 'with')}: \`with\` goes with \`use\``);
    const looks = step.expect !== undefined || step.states !== undefined;
    if (does.length === 0 && !looks) wrong.push(`${source.place(where)}: the step does nothing and expects nothing`);
    const within = Array.isArray(step.steps) ? (step.steps as StepInput[]) : [];
    return [...wrong, ...checkSteps(within, source, [...where, 'steps'])];
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
  return [`${source.place(where)}: ${where.length === 0 ? 'the scenario' : `\`${where.at(-1)}\``}: ${issue.message}`];
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
