/** Reads scenario files, and the setups that they use. */
import path from 'node:path';
import { didYouMean } from '../nearest.ts';
import { check } from './checks.ts';
import { Scenario, type ScenarioInput, Setup, type SetupInput, type StepInput } from './format.ts';
import { type Path, readDocuments, type Source, Unreadable } from './source.ts';

export interface Steps<Input> {
  readonly source: Source;
  readonly input: Input;
}

export type ReadScenario = Steps<ScenarioInput> & { readonly setups: ReadonlyMap<string, ReadSetup> };
export type ReadSetup = Steps<SetupInput>;

/** The scenarios of a file. Throws Unreadable. */
export async function readScenarios(file: string): Promise<ReadScenario[]> {
  const documents = await readDocuments(file);
  const setups = new Map<string, ReadSetup>();
  const read: ReadScenario[] = [];
  const problems: string[] = [];
  for (const { source, value } of documents) {
    const input = check(Scenario, source, value, problems);
    if (input === undefined) continue;
    if (input.host !== undefined && input.hosts !== undefined)
      problems.push(`${source.place([], 'hosts')}: \`hosts\` is there in place of \`host\``);
    await readSetups(path.join(path.dirname(file), 'setups'), { source, input }, setups, problems);
    read.push({ source, input, setups });
  }
  if (problems.length > 0) throw new Unreadable(problems);
  return read;
}

/** Reads the setups that the steps use, and those that these use. */
async function readSetups(
  directory: string,
  { source, input }: Steps<{ steps: StepInput[] }>,
  setups: Map<string, ReadSetup>,
  problems: string[],
): Promise<void> {
  for (const { where, name, given } of usesOf(input.steps)) {
    if (!setups.has(name)) await readSetup(directory, { source, where }, name, setups, problems);
    const known = setups.get(name)?.source.symbols();
    for (const key of given)
      if (known !== undefined && !known.includes(key))
        problems.push(
          `${source.place([...where, 'with'], key)}: setup \`${name}\` has no symbol \`${key}\`${didYouMean(key, known)}`,
        );
  }
}

async function readSetup(
  directory: string,
  { source, where }: { source: Source; where: Path },
  name: string,
  setups: Map<string, ReadSetup>,
  problems: string[],
): Promise<void> {
  const file = path.join(directory, `${name}.yaml`);
  try {
    const { source: own, value } = (await readDocuments(file))[0]!;
    const input = check(Setup, own, value, problems);
    if (input === undefined) return;
    setups.set(name, { source: own, input });
    await readSetups(directory, { source: own, input }, setups, problems);
  } catch (error) {
    if (error instanceof Unreadable) problems.push(...error.problems);
    else problems.push(`${source.place(where)}: there is no setup \`${name}\` (${file})`);
  }
}

interface Use {
  readonly where: Path;
  readonly name: string;
  /** Symbols that it is given. */
  readonly given: readonly string[];
}

function usesOf(steps: readonly StepInput[], above: Path = ['steps']): Use[] {
  return steps.flatMap((step, index) => {
    const where = [...above, index];
    if (typeof step.use === 'string') return [{ where, name: step.use, given: Object.keys(step.with ?? {}) }];
    return Array.isArray(step.steps) ? usesOf(step.steps as StepInput[], [...where, 'steps']) : [];
  });
}
